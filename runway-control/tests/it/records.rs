//! Tests of holds and job records.

use crate::harness::{Harness, long_running, sleep_seconds, start};
use runway_control::backend::LogOptions;
use runway_control::fake::{EventFault, FakeCluster, Fault, JobTimings};
use runway_control::{CancelError, JobFilter, LogsError, Settings, SubmitError};
use runway_core::JobId;
use runway_core::status::Phase;
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::faults::ScriptedFaults;
use runway_testing::jobs::spec;
use runway_testing::policies;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn submit_fails_before_the_first_list() {
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
fn hold_is_released_when_the_pod_has_terminated() {
    in_virtual_time(async {
        let timings = JobTimings { termination_time: Duration::from_secs(7), ..JobTimings::default() };
        let harness = Harness::ready(ScriptedFaults::with_timings(timings)).await;
        let job = harness.submit(spec("a", "train", 2)).await;
        assert_eq!((harness.plane.usage("a").held.gpus, harness.plane.cluster_usage().1), (2, 0));
        // The job starts after 1 s and runs for 10 s.
        sleep_seconds(12).await;
        assert_eq!(harness.plane.job(job).unwrap().snapshot.status.phase, Phase::Succeeded);
        assert_eq!(harness.held_count(), 1, "the pod has not terminated");
        sleep_seconds(7).await;
        assert_eq!(harness.held_count(), 0);
        // The bill covers the run time of 10 s. It does not cover the termination of the pod.
        let record = harness.plane.job(job).unwrap();
        let (bill, quote) =
            (record.bill(record.observed_at).unwrap(), record.snapshot.quote.clone().unwrap());
        assert_eq!(bill, quote.bill(runway_core::units::Seconds::new(10)));
    });
}

#[test]
fn refused_submission_has_violations_and_no_hold() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let refused = harness.plane.submit(spec("a", "Big", 5).into(), None).await;
        let Err(SubmitError::Refused(decision)) = refused else { panic!("{refused:?}") };
        assert_eq!(decision.violations().len(), 2);
        for number in 0..3 {
            harness.plane.submit(spec("a", &format!("job-{number}"), 0).into(), None).await.unwrap();
        }
        let preview = harness.plane.preview(&spec("a", "job-4", 0).into());
        let fourth = harness.plane.submit(spec("a", "job-4", 0).into(), None).await;
        let Err(SubmitError::Refused(decision)) = fourth else { panic!("{fourth:?}") };
        assert_eq!((decision.inputs.holds.len(), &preview), (1, &*decision));
        assert_eq!((harness.held_count(), harness.cluster.created_jobs().len()), (3, 3));
    });
}

#[test]
fn cancelled_job_releases_its_hold_and_stays_cancelled() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let job = harness.submit(spec("a", "train", 1)).await;
        harness.plane.cancel(job).await.unwrap();
        sleep_seconds(1).await;
        harness.plane.cancel(job).await.unwrap();
        assert_eq!(
            (harness.plane.job(job).unwrap().snapshot.status.phase, harness.held_count()),
            (Phase::Cancelled, 1)
        );
        sleep_seconds(31).await;
        let record = harness.plane.job(job).unwrap();
        assert!(record.gone && record.snapshot.status.phase == Phase::Cancelled);
        assert_eq!(harness.held_count(), 0);
        assert!(matches!(harness.plane.cancel(job).await, Err(CancelError::AlreadyFinished(_))));
        assert_eq!(harness.plane.cancel(JobId::from_random(7)).await, Err(CancelError::NotFound));
        let other = "b".parse().unwrap();
        let foreign = harness.plane.cancel_in_scope(job, Some(&other)).await;
        assert_eq!(foreign, Err(CancelError::NotFound));
        let logs = harness.plane.logs(job, LogOptions::default()).await;
        assert!(matches!(logs, Err(LogsError::Log(_))));
    });
}

#[test]
fn externally_deleted_job_is_unknown_and_releases_its_hold() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let job = harness.submit(spec("a", "train", 1)).await;
        sleep_seconds(5).await;
        harness.cluster.delete(job, Duration::from_secs(3));
        sleep_seconds(2).await;
        assert_eq!(harness.held_count(), 1);
        sleep_seconds(2).await;
        let record = harness.plane.job(job).unwrap();
        assert_eq!(
            (record.snapshot.status.phase, record.snapshot.status.attempts, record.gone),
            (Phase::Unknown, 1, true)
        );
        assert_eq!(harness.held_count(), 0);
        assert_eq!(harness.plane.watch_state().drift, 0);
    });
}

#[test]
fn list_corrects_the_holds_after_a_lost_event() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let job = harness.submit(spec("a", "train", 1)).await;
        sleep_seconds(5).await;
        harness.faults.events.push(EventFault::Expired);
        harness.cluster.delete(job, Duration::ZERO);
        sleep_seconds(5).await;
        let watch = harness.plane.watch_state();
        assert_eq!((harness.held_count(), watch.drift, watch.lists, watch.interruptions), (0, 1, 2, 1));
        assert!(watch.connected && harness.plane.is_ready());
        assert_eq!(harness.plane.job(job).unwrap().snapshot.status.phase, Phase::Unknown);
    });
}

#[test]
fn history_keeps_only_the_newest_jobs() {
    in_virtual_time(async {
        let timings = JobTimings { ttl: Duration::ZERO, run_time: Duration::ZERO, ..JobTimings::default() };
        let settings = Settings { history_limit: 3, ..Settings::default() };
        let harness = Harness::with_settings(ScriptedFaults::with_timings(timings), settings).await;
        let mut ids = Vec::new();
        for number in 0..5 {
            let job =
                harness.plane.submit(spec("a", &format!("job-{number}"), 0).into(), None).await.unwrap();
            ids.push(job.job().snapshot.id);
            sleep_seconds(5).await;
        }
        let known: Vec<_> = ids.iter().map(|id| harness.plane.job(*id).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true]);
        let listed: Vec<_> =
            harness.plane.jobs(&JobFilter::default()).items.iter().map(|job| job.snapshot.id).collect();
        assert_eq!(listed, [ids[4], ids[3], ids[2]]);
    });
}

#[test]
fn pages_continue_after_a_job_is_deleted() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let submit = |tenant, name: &str| {
            let (plane, spec) = (harness.plane.clone(), spec(tenant, name, 0));
            async move { plane.submit(spec.into(), None).await.unwrap() }
        };
        for number in 0..3 {
            submit("a", &format!("a-{number}")).await;
            sleep_seconds(1).await;
            submit("b", &format!("b-{number}")).await;
            sleep_seconds(1).await;
        }
        let names = |page: &runway_control::Page| {
            page.items.iter().map(|job| job.snapshot.name.to_string()).collect::<Vec<_>>()
        };
        let two = JobFilter { limit: Some(2), ..JobFilter::default() };
        let first = harness.plane.jobs(&two);
        assert_eq!(names(&first), ["b-2", "a-2"]);
        harness.cluster.delete(first.items[1].snapshot.id, Duration::ZERO);
        sleep_seconds(1).await;
        let second = harness.plane.jobs(&JobFilter { after: first.next, ..two.clone() });
        assert_eq!(names(&second), ["b-1", "a-1"]);
        let third = harness.plane.jobs(&JobFilter { after: second.next, ..two });
        assert_eq!((names(&third), third.next), (vec!["b-0".to_owned(), "a-0".to_owned()], None));
        let of_b = JobFilter { tenant: Some("b".parse().unwrap()), ..JobFilter::default() };
        assert_eq!(names(&harness.plane.jobs(&of_b)), ["b-2", "b-1", "b-0"]);
        let gone = JobFilter { phase: Some(Phase::Unknown), ..JobFilter::default() };
        assert_eq!(names(&harness.plane.jobs(&gone)), ["a-2"]);
    });
}

#[test]
fn policy_change_keeps_existing_holds() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        harness.plane.submit(spec("a", "train", 4).into(), None).await.unwrap();
        let narrower = policies::SMALL.replace("quota: {gpus: 4", "quota: {gpus: 1");
        let narrower = policies::parse(&narrower);
        harness.plane.set_policy(Arc::clone(&narrower)).unwrap();
        let usage = harness.plane.usage("a");
        assert_eq!((usage.held.gpus, usage.max_gpus), (4, 1));
        assert_eq!(harness.plane.policy().digest(), narrower.digest());
    });
}

#[test]
fn job_removed_before_the_watch_saw_it_releases_its_hold() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        // The watch is interrupted before its first event, and relists. The relist is later than the removal
        // of the job, so no event and no list contains the job.
        harness.faults.events.push(EventFault::Expired);
        let job = harness.submit(spec("a", "train", 1)).await;
        harness.cluster.delete(job, Duration::ZERO);
        sleep_seconds(10).await;
        assert_eq!((harness.held_count(), harness.plane.watch_state().lists), (0, 2));
        assert!(harness.plane.job(job).unwrap().gone);
    });
}

#[test]
fn job_created_during_a_list_is_not_marked_gone() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        harness.plane.submit(spec("a", "first", 0).into(), None).await.unwrap();
        sleep_seconds(5).await;
        // The watch relists because of the deletion below. The cluster reads the list before the second job
        // exists, but the response arrives after the creation. Later events arrive too late to help.
        let slow = Fault { response_delay: Duration::from_secs(4), ..Fault::default() };
        harness.faults.lists.push(slow);
        harness.faults.events.extend([EventFault::Expired, EventFault::Late(Duration::from_secs(500))]);
        harness.cluster.delete(harness.cluster.created_jobs()[0].id, Duration::ZERO);
        sleep_seconds(2).await;
        let job = harness.submit(spec("a", "second", 1)).await;
        sleep_seconds(5).await;
        assert_eq!(harness.plane.watch_state().lists, 2);
        assert!(!harness.plane.job(job).unwrap().gone);
        assert_eq!(harness.plane.held_job_ids(), [job]);
    });
}
