//! One thing at a time.

use crate::virtual_time::{POLICY, Virtual, in_virtual_time, policy, spec};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runway_control::backend::{
    Backend, Cancelled, CreateError, JobRef, LogError, LogOptions, LogStream, Order, Unavailable, WatchEvent,
};
use runway_control::fake::{Answer, Call, Chaos, EventFault, FakeBackend, FakeCluster, Fault, Life};
use runway_control::{
    CancelError, ControlPlane, IdempotencyKey, LogsError, Observation, Selection, Settings, SubmitError,
    Submitted,
};
use runway_core::policy::RateOverrides;
use runway_core::status::Phase;
use runway_core::{JobId, Policy};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults as they are written down, one after the other; then none.
#[derive(Clone, Default)]
struct Script {
    creates: Arc<Mutex<VecDeque<Fault>>>,
    finds: Arc<Mutex<VecDeque<Fault>>>,
    cancels: Arc<Mutex<VecDeque<Fault>>>,
    lists: Arc<Mutex<VecDeque<Fault>>>,
    events: Arc<Mutex<VecDeque<EventFault>>>,
    life: Option<Life>,
}

impl Chaos for Script {
    fn call(&mut self, call: Call) -> Fault {
        let faults = match call {
            Call::Create(_) => &self.creates,
            Call::Find(_) => &self.finds,
            Call::Cancel(_) => &self.cancels,
            Call::List => &self.lists,
        };
        faults.lock().unwrap().pop_front().unwrap_or_default()
    }

    fn event(&mut self) -> EventFault {
        self.events.lock().unwrap().pop_front().unwrap_or_default()
    }

    fn life(&mut self, _: JobId) -> Life {
        self.life.unwrap_or_default()
    }
}

struct Set {
    script: Script,
    cluster: FakeCluster,
    backend: FakeBackend,
    plane: ControlPlane,
}

impl Set {
    async fn ready(script: Script) -> Self {
        Self::with(script, Settings::default()).await
    }

    async fn with(script: Script, settings: Settings) -> Self {
        let cluster = FakeCluster::with_chaos(Virtual::new(1), Box::new(script.clone()));
        let (backend, plane) = start(&cluster, settings);
        plane.ready().await;
        Self { script, cluster, backend, plane }
    }

    fn held(&self) -> usize {
        self.plane.held().len()
    }
}

fn start(cluster: &FakeCluster, settings: Settings) -> (FakeBackend, ControlPlane) {
    let backend = cluster.connect();
    let plane = ControlPlane::new(Arc::new(backend.clone()), policy(), Virtual::new(2), settings);
    tokio::spawn(plane.clone().run());
    (backend, plane)
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn answer(answer: Answer) -> Fault {
    Fault { answer, ..Fault::default() }
}

fn long() -> Script {
    Script { life: Some(Life { runs: Duration::from_secs(3000), ..Life::default() }), ..Script::default() }
}

fn all(faults: usize, fault: Fault) -> Arc<Mutex<VecDeque<Fault>>> {
    Arc::new(Mutex::new(vec![fault; faults].into()))
}

#[test]
fn nothing_is_taken_before_the_jobs_that_run_have_been_counted() {
    in_virtual_time(async {
        let cluster = FakeCluster::new(Virtual::new(1));
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
        seconds(12).await; // 1 to start, 10 to run
        assert_eq!(set.plane.job(job).unwrap().seen.status.phase, Phase::Succeeded);
        assert_eq!(set.held(), 1, "its pod has not ended");
        seconds(7).await;
        assert_eq!(set.held(), 0);
        // Ten seconds were paid for.
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
        let fourth = set.plane.submit(spec("a", "job-4", 0).into(), None).await;
        assert!(matches!(fourth, Err(SubmitError::Refused(_))), "{fourth:?}");
        assert_eq!((set.held(), set.cluster.landed().len()), (3, 3));
    });
}

#[test]
fn a_key_makes_one_job_and_no_other() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let submit = |gpus| {
            let plane = set.plane.clone();
            async move { plane.submit(spec("a", "train", gpus).into(), Some(&key("k"))).await }
        };
        let first = submit(1).await.unwrap();
        assert!(matches!(first, Submitted::Created { decision: Some(_), .. }));
        let again = submit(1).await.unwrap();
        assert!(matches!(&again, Submitted::Replayed { job } if job.seen.id == first.job().seen.id));
        let other = submit(2).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        // A body of which something could not be read is another one.
        let mut faulty = runway_core::Submission::from(spec("a", "train", 1));
        faulty.faults = set.plane.preview(&spec("a", "Big", 1).into()).violations().to_vec();
        let faulty = set.plane.submit(faulty, Some(&key("k"))).await;
        assert!(matches!(faulty, Err(SubmitError::KeyReused { .. })), "{faulty:?}");
        // Another tenant's key is another key.
        set.plane.submit(spec("b", "train", 1).into(), Some(&key("k"))).await.unwrap();
        assert_eq!(set.cluster.landed().len(), 2);
    });
}

#[test]
fn a_refusal_is_not_kept_under_its_key() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let big = set.plane.submit(spec("a", "train", 9).into(), Some(&key("k"))).await;
        assert!(matches!(big, Err(SubmitError::Refused(_))), "{big:?}");
        set.plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await.unwrap();
    });
}

#[test]
fn of_two_equal_requests_at_once_one_waits() {
    in_virtual_time(async {
        let slow = Fault { back: Duration::from_secs(2), ..Fault::default() };
        let set = Set::ready(Script { creates: all(1, slow), ..long() }).await;
        let plane = set.plane.clone();
        let first =
            tokio::spawn(async move { plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await });
        seconds(1).await;
        let second = set.plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await;
        assert!(matches!(second, Err(SubmitError::InFlight { .. })), "{second:?}");
        assert!(first.await.unwrap().is_ok());
        assert_eq!(set.cluster.landed().len(), 1);
    });
}

#[test]
fn a_restart_knows_its_jobs_and_their_keys() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        let first = set.plane.submit(spec("a", "train", 3).into(), Some(&key("k"))).await.unwrap();
        set.backend.kill();
        let (_, plane) = start(&set.cluster, Settings::default());
        plane.ready().await;
        assert_eq!(plane.held(), [first.job().seen.id]);
        assert_eq!(plane.usage("a").held.gpus, 3);
        let again = plane.submit(spec("a", "train", 3).into(), Some(&key("k"))).await.unwrap();
        assert!(matches!(again, Submitted::Replayed { .. }));
        let other = plane.submit(spec("a", "train", 2).into(), Some(&key("k"))).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        let beyond = plane.submit(spec("a", "more", 2).into(), None).await;
        assert!(matches!(beyond, Err(SubmitError::Refused(_))), "{beyond:?}");
    });
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    in_virtual_time(async {
        let set = Set::ready(Script { creates: all(1, answer(Answer::Lost)), ..long() }).await;
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap();
        assert!(matches!(job, Submitted::Created { .. }));
        assert_eq!((set.cluster.landed().len(), set.held()), (1, 1));
    });
}

#[test]
fn a_request_that_never_arrived_keeps_its_hold_until_it_cannot_come_any_more() {
    in_virtual_time(async {
        let lost = all(50, answer(Answer::NeverArrived));
        let set = Set::ready(Script { creates: lost, ..long() }).await;
        let told = set.plane.submit(spec("a", "train", 4).into(), None).await;
        assert!(matches!(told, Err(SubmitError::Uncertain { .. })), "{told:?}");
        assert_eq!(set.plane.cluster_usage().1, 1);
        seconds(64).await;
        assert_eq!(set.held(), 1, "it might still come");
        seconds(10).await;
        assert_eq!((set.held(), set.plane.cluster_usage().1), (0, 0));
        let freed = set.plane.submit(spec("b", "train", 4).into(), None).await;
        assert!(matches!(freed, Err(SubmitError::Uncertain { .. })), "it was admitted: {freed:?}");
    });
}

#[test]
fn a_job_that_came_after_all_is_found() {
    in_virtual_time(async {
        let late = Fault { there: Duration::from_secs(50), answer: Answer::Lost, ..Fault::default() };
        let mut creates = VecDeque::from([late]);
        creates.extend([answer(Answer::NeverArrived); 10]);
        let script = Script { creates: Arc::new(Mutex::new(creates)), ..long() };
        // The watch is of no help.
        script.events.lock().unwrap().push_back(EventFault::Late(Duration::from_secs(500)));
        let set = Set::ready(script).await;
        let told = set.plane.submit(spec("a", "train", 1).into(), None).await;
        let Err(SubmitError::Uncertain { id, .. }) = told else { panic!("{told:?}") };
        seconds(60).await;
        assert_eq!(set.plane.job(id).unwrap().seen.name.as_str(), "train");
        assert_eq!((set.held(), set.plane.cluster_usage().1), (1, 0));
    });
}

#[test]
fn the_same_request_again_takes_the_search_over() {
    in_virtual_time(async {
        // For ten seconds nothing arrives.
        let set = Set::ready(Script { creates: all(2, answer(Answer::NeverArrived)), ..long() }).await;
        let submit = |gpus| {
            let plane = set.plane.clone();
            async move { plane.submit(spec("a", "train", gpus).into(), Some(&key("k"))).await }
        };
        let told = submit(1).await;
        assert!(matches!(told, Err(SubmitError::Uncertain { .. })), "{told:?}");
        let other = submit(2).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        let created = submit(1).await.unwrap();
        assert!(matches!(created, Submitted::Created { decision: None, .. }));
        seconds(100).await;
        assert_eq!((set.cluster.landed().len(), set.held()), (1, 1));
    });
}

#[test]
fn what_was_definitely_not_made_holds_nothing() {
    in_virtual_time(async {
        for fault in [Answer::Rejected, Answer::Unreachable] {
            let set = Set::ready(Script { creates: all(1, answer(fault)), ..long() }).await;
            let told = set.plane.submit(spec("a", "train", 4).into(), None).await;
            match fault {
                Answer::Rejected => assert!(matches!(told, Err(SubmitError::Rejected { .. })), "{told:?}"),
                _ => assert!(matches!(told, Err(SubmitError::Unreachable { .. })), "{told:?}"),
            }
            assert_eq!((set.held(), set.plane.cluster_usage().1), (0, 0));
            set.plane.submit(spec("a", "train", 4).into(), None).await.unwrap();
        }
    });
}

#[test]
fn a_caller_that_goes_away_leaves_nothing_half_done() {
    in_virtual_time(async {
        let slow = Fault { there: Duration::from_secs(2), back: Duration::from_secs(1), ..Fault::default() };
        let set = Set::ready(Script { creates: all(1, slow), ..long() }).await;
        let submission = set.plane.submit(spec("a", "train", 1).into(), None);
        assert!(tokio::time::timeout(Duration::from_secs(1), submission).await.is_err());
        assert_eq!((set.held(), set.plane.cluster_usage().1), (1, 1));
        seconds(5).await;
        assert_eq!((set.held(), set.plane.cluster_usage().1, set.cluster.landed().len()), (1, 0, 1));
    });
}

#[test]
fn a_request_that_comes_after_its_job_has_left_makes_no_second_one() {
    in_virtual_time(async {
        let late = Fault { there: Duration::from_secs(40), answer: Answer::Lost, ..Fault::default() };
        let set = Set::ready(Script { creates: all(1, late), ..long() }).await;
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap().job().seen.id;
        assert_eq!(set.cluster.landed().len(), 1);
        set.cluster.delete(job, Duration::ZERO);
        seconds(20).await;
        assert_eq!(set.held(), 0);
        // Ending it takes a second try.
        set.script.cancels.lock().unwrap().push_back(answer(Answer::NeverArrived));
        seconds(30).await;
        assert_eq!(set.cluster.landed().len(), 2, "the first request came");
        assert_eq!(set.plane.job(job).unwrap().seen.status.phase, Phase::Cancelled);
        seconds(60).await;
        assert_eq!((set.held(), set.cluster.jobs().len()), (0, 0));
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
        let narrower = POLICY.replace("quota: {gpus: 4", "quota: {gpus: 1");
        let narrower = Arc::new(Policy::parse(narrower.as_bytes(), RateOverrides::default()).unwrap());
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
        // The watch is cut before the first it would tell, and lists again.
        set.script.events.lock().unwrap().push_back(EventFault::Expired);
        let job = set.plane.submit(spec("a", "train", 1).into(), None).await.unwrap().job().seen.id;
        set.cluster.delete(job, Duration::ZERO);
        seconds(10).await;
        assert_eq!((set.held(), set.plane.watch_state().listings), (0, 2));
        assert!(set.plane.job(job).unwrap().gone);
    });
}

#[test]
fn what_the_watch_has_seen_the_end_of_is_not_made_again() {
    in_virtual_time(async {
        let set = Set::ready(Script { creates: all(1, answer(Answer::Lost)), ..long() }).await;
        let plane = set.plane.clone();
        let submission = tokio::spawn(async move { plane.submit(spec("a", "train", 1).into(), None).await });
        seconds(1).await;
        set.cluster.delete(set.cluster.landed()[0].id, Duration::ZERO);
        let answer = submission.await.unwrap().unwrap();
        assert!(answer.job().gone && answer.job().seen.status.phase == Phase::Unknown);
        assert_eq!((set.cluster.landed().len(), set.held(), set.plane.cluster_usage().1), (1, 0, 0));
    });
}

#[test]
fn a_job_that_is_younger_than_a_listing_is_not_taken_for_gone() {
    in_virtual_time(async {
        let set = Set::ready(long()).await;
        set.plane.submit(spec("a", "first", 0).into(), None).await.unwrap();
        seconds(5).await;
        // A listing that is long on its way back, and after it a watch that is late.
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

#[test]
fn the_watch_settles_what_is_searched_for() {
    in_virtual_time(async {
        let mut creates = VecDeque::from([Fault {
            there: Duration::from_secs(20),
            answer: Answer::Lost,
            ..Fault::default()
        }]);
        creates.extend([answer(Answer::NeverArrived); 10]);
        let finds = all(50, answer(Answer::Unreachable));
        let set = Set::ready(Script { creates: Arc::new(Mutex::new(creates)), finds, ..long() }).await;
        let told = set.plane.submit(spec("a", "train", 1).into(), None).await;
        assert!(matches!(told, Err(SubmitError::Uncertain { .. })), "{told:?}");
        seconds(15).await;
        assert_eq!((set.held(), set.plane.cluster_usage().1), (1, 0));
    });
}

#[test]
fn another_body_under_a_key_that_a_dead_process_has_used_is_refused() {
    in_virtual_time(async {
        let dying = Fault {
            there: Duration::from_secs(5),
            crash: Some(runway_control::fake::CrashPoint::WhileSent),
            ..Fault::default()
        };
        let set = Set::ready(Script { creates: all(1, dying), ..long() }).await;
        let plane = set.plane.clone();
        tokio::spawn(async move { plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await });
        seconds(1).await;
        assert!(!set.backend.is_alive());
        // The next process has counted before the request lands, and hears of it late.
        let (_, plane) = start(&set.cluster, Settings::default());
        plane.ready().await;
        set.script.events.lock().unwrap().push_back(EventFault::Late(Duration::from_secs(500)));
        seconds(6).await;
        assert_eq!((set.cluster.landed().len(), plane.held().len()), (1, 0));
        let other = plane.submit(spec("a", "train", 2).into(), Some(&key("k"))).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        assert_eq!((plane.usage("a").held.gpus, plane.cluster_usage().1), (1, 0));
        // The same body is the same job.
        let same = plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await.unwrap();
        assert!(matches!(same, Submitted::Replayed { .. }));
    });
}

/// A backend whose creation panics, over one that works.
struct Panics(FakeBackend);

impl Backend for Panics {
    fn create<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        Box::pin(async { panic!("a fault of the backend") })
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        self.0.find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        self.0.list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.0.watch()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        self.0.cancel(job)
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.0.logs(job, options)
    }
}

#[test]
fn a_backend_that_panics_leaves_no_hold_behind() {
    in_virtual_time(async {
        let backend = Arc::new(Panics(FakeCluster::new(Virtual::new(1)).connect()));
        let plane = ControlPlane::new(backend, policy(), Virtual::new(2), Settings::default());
        tokio::spawn(plane.clone().run());
        plane.ready().await;
        let told = plane.submit(spec("a", "train", 1).into(), None).await;
        assert!(matches!(told, Err(SubmitError::Uncertain { .. })), "{told:?}");
        assert_eq!((plane.held().len(), plane.cluster_usage().1), (1, 1));
        seconds(80).await;
        assert_eq!((plane.held().len(), plane.cluster_usage().1), (0, 0));
    });
}
