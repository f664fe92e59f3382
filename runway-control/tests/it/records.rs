//! Tests of holds and job records.

use crate::set::{Script, Set, long, seconds, start};
use runway_control::backend::LogOptions;
use runway_control::fake::{EventFault, FakeCluster, Fault, Life};
use runway_control::{CancelError, LogsError, Selection, Settings, SubmitError};
use runway_core::JobId;
use runway_core::status::Phase;
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::jobs::spec;
use runway_testing::policies;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn nothing_is_taken_before_the_jobs_that_run_have_been_counted() {
    in_virtual_time(async {
        let cluster = FakeCluster::new(VirtualEnv::new(1));
        let (_, plane) = start(&cluster, Settings::default());
        assert!(!plane.is_ready());
        let early = plane.submit(spec("a", "early", 0).into(), None).await;
        assert!(matches!(early, Err(SubmitError::NotReady)), "{early:?}");
        plane.ready().await;
        plane.submit(spec("a", "later", 0).into(), None).await.unwrap();
    });
}

#[test]
fn a_job_holds_until_nothing_of_it_runs() {
    in_virtual_time(async {
        let life = Life { lingers: Duration::from_secs(7), ..Life::default() };
        let set = Set::ready(Script { life: Some(life), ..Script::default() }).await;
        let job = set.plane.submit(spec("a", "train", 2).into(), None).await.unwrap().job().seen.id;
        assert_eq!((set.plane.usage("a").held.gpus, set.plane.cluster_usage().1), (2, 0));
        seconds(12).await; // 1 s until the start, 10 s of run time
        assert_eq!(set.plane.job(job).unwrap().seen.status.phase, Phase::Succeeded);
        assert_eq!(set.held(), 1, "the pod has not terminated");
        seconds(7).await;
        assert_eq!(set.held(), 0);
        // The bill covers ten seconds.
        let record = set.plane.job(job).unwrap();
        let (bill, quote) = (record.bill(record.observed_at).unwrap(), record.seen.quote.clone().unwrap());
        assert_eq!(bill, quote.bill(runway_core::units::Seconds::new(10)));
    });
}

#[test]
fn what_the_gate_refuses_is_told_with_its_reasons_and_holds_nothing() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let refused = set.plane.submit(spec("a", "Big", 5).into(), None).await;
        let Err(SubmitError::Refused(decision)) = refused else { panic!("{refused:?}") };
        assert_eq!(decision.violations().len(), 2);
        for number in 0..3 {
            set.plane.submit(spec("a", &format!("job-{number}"), 0).into(), None).await.unwrap();
        }
        let preview = set.plane.preview(&spec("a", "job-4", 0).into());
        let fourth = set.plane.submit(spec("a", "job-4", 0).into(), None).await;
        let Err(SubmitError::Refused(decision)) = fourth else { panic!("{fourth:?}") };
        assert_eq!((decision.basis.holds.len(), &preview), (1, &*decision));
        assert_eq!((set.held(), set.cluster.landed().len()), (3, 3));
    });
}

#[test]
fn a_cancelled_job_ends_and_a_finished_one_has() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap().job().seen.id;
        set.plane.cancel(job).await.unwrap();
        seconds(1).await;
        set.plane.cancel(job).await.unwrap();
        assert_eq!((set.plane.job(job).unwrap().seen.status.phase, set.held()), (Phase::Cancelled, 1));
        seconds(31).await;
        let record = set.plane.job(job).unwrap();
        assert!(record.gone && record.seen.status.phase == Phase::Cancelled);
        assert_eq!(set.held(), 0);
        assert!(matches!(set.plane.cancel(job).await, Err(CancelError::Finished(_))));
        assert_eq!(set.plane.cancel(JobId::from_random(7)).await, Err(CancelError::NotFound));
        let logs = set.plane.logs(job, LogOptions::default()).await;
        assert!(matches!(logs, Err(LogsError::Log(_))));
    });
}

#[test]
fn a_job_that_is_deleted_behind_runways_back_is_unknown_and_lets_go() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap().job().seen.id;
        seconds(5).await;
        set.cluster.delete(job, Duration::from_secs(3));
        seconds(2).await;
        assert_eq!(set.held(), 1);
        seconds(2).await;
        let record = set.plane.job(job).unwrap();
        assert_eq!(
            (record.seen.status.phase, record.seen.status.attempts, record.gone),
            (Phase::Unknown, 1, true)
        );
        assert_eq!(set.held(), 0);
        assert_eq!(set.plane.watch_state().drift, 0);
    });
}

#[test]
fn a_listing_sets_right_what_the_watch_lost() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap().job().seen.id;
        seconds(5).await;
        set.script.events.lock().unwrap().push_back(EventFault::Expired);
        set.cluster.delete(job, Duration::ZERO);
        seconds(5).await;
        let watch = set.plane.watch_state();
        assert_eq!((set.held(), watch.drift, watch.listings, watch.interruptions), (0, 1, 2, 1));
        assert!(watch.connected && set.plane.is_ready());
        assert_eq!(set.plane.job(job).unwrap().seen.status.phase, Phase::Unknown);
    });
}

#[test]
fn so_many_are_remembered_and_no_more() {
    in_virtual_time(async {
        let life = Life { ttl: Duration::ZERO, runs: Duration::ZERO, ..Life::default() };
        let settings = Settings { remembered: 3, ..Settings::default() };
        let set = Set::with(Script { life: Some(life), ..Script::default() }, settings).await;
        let mut ids = Vec::new();
        for number in 0..5 {
            let job = set.plane.submit(spec("a", &format!("job-{number}"), 0).into(), None).await.unwrap();
            ids.push(job.job().seen.id);
            seconds(5).await;
        }
        let known: Vec<_> = ids.iter().map(|id| set.plane.job(*id).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true]);
        let listed: Vec<_> =
            set.plane.jobs(&Selection::default()).items.iter().map(|job| job.seen.id).collect();
        assert_eq!(listed, [ids[4], ids[3], ids[2]]);
    });
}

#[test]
fn pages_go_on_where_they_ended_whatever_comes() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let submit = |tenant, name: &str| {
            let (plane, spec) = (set.plane.clone(), spec(tenant, name, 0));
            async move { plane.submit(spec.into(), None).await.unwrap() }
        };
        for number in 0..3 {
            submit("a", &format!("a-{number}")).await;
            seconds(1).await;
            submit("b", &format!("b-{number}")).await;
            seconds(1).await;
        }
        let names = |page: &runway_control::Page| {
            page.items.iter().map(|job| job.seen.name.to_string()).collect::<Vec<_>>()
        };
        let two = Selection { limit: Some(2), ..Selection::default() };
        let first = set.plane.jobs(&two);
        assert_eq!(names(&first), ["b-2", "a-2"]);
        set.cluster.delete(first.items[1].seen.id, Duration::ZERO);
        seconds(1).await;
        let second = set.plane.jobs(&Selection { after: first.next, ..two.clone() });
        assert_eq!(names(&second), ["b-1", "a-1"]);
        let third = set.plane.jobs(&Selection { after: second.next, ..two });
        assert_eq!((names(&third), third.next), (vec!["b-0".to_owned(), "a-0".to_owned()], None));
        let of_b = Selection { tenant: Some("b".parse().unwrap()), ..Selection::default() };
        assert_eq!(names(&set.plane.jobs(&of_b)), ["b-2", "b-1", "b-0"]);
        let gone = Selection { phase: Some(Phase::Unknown), ..Selection::default() };
        assert_eq!(names(&set.plane.jobs(&gone)), ["a-2"]);
    });
}

#[test]
fn another_policy_leaves_the_holds_as_they_are() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        set.plane.submit(spec("a", "train", 4).into(), None).await.unwrap();
        let narrower = policies::SMALL.replace("quota: {gpus: 4", "quota: {gpus: 1");
        let narrower = policies::parse(&narrower);
        set.plane.set_policy(Arc::clone(&narrower)).unwrap();
        let usage = set.plane.usage("a");
        assert_eq!((usage.held.gpus, usage.gpus), (4, 1));
        assert_eq!(set.plane.policy().digest(), narrower.digest());
    });
}

#[test]
fn a_job_that_left_before_the_watch_had_seen_it_lets_go() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        // The watch is interrupted before its first event, and relists.
        set.script.events.lock().unwrap().push_back(EventFault::Expired);
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap().job().seen.id;
        set.cluster.delete(job, Duration::ZERO);
        seconds(10).await;
        assert_eq!((set.held(), set.plane.watch_state().listings), (0, 2));
        assert!(set.plane.job(job).unwrap().gone);
    });
}

#[test]
fn a_job_that_is_younger_than_a_listing_is_not_taken_for_gone() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        set.plane.submit(spec("a", "first", 0).into(), None).await.unwrap();
        seconds(5).await;
        // The response of the list takes a long time, and the watch after it is late.
        let slow = Fault { back: Duration::from_secs(4), ..Fault::default() };
        set.script.lists.lock().unwrap().push_back(slow);
        set.script
            .events
            .lock()
            .unwrap()
            .extend([EventFault::Expired, EventFault::Late(Duration::from_secs(500))]);
        set.cluster.delete(set.cluster.landed()[0].id, Duration::ZERO);
        seconds(2).await;
        let job = set.plane.submit(spec("a", "second", 1).into(), None).await.unwrap().job().seen.id;
        seconds(5).await;
        assert_eq!(set.plane.watch_state().listings, 2);
        assert!(!set.plane.job(job).unwrap().gone);
        assert_eq!(set.plane.held(), [job]);
    });
}
