//! Create requests with late, lost or negative responses, and callers that disconnect.

use crate::set::{Script, Set, all, answer, long, seconds};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runway_control::backend::{
    Backend, BackendTiming, Cancelled, CreateError, JobRef, LogError, LogOptions, LogStream, Order,
    Unavailable, WatchEvent,
};
use runway_control::fake::{Answer, EventFault, FakeBackend, FakeCluster, Fault};
use runway_control::{ControlPlane, Observation, Settings, SubmitError, Submitted};
use runway_core::capability::Capabilities;
use runway_core::status::Phase;
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::jobs::spec;
use runway_testing::policies;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
        assert!(
            matches!(told, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{told:?}"
        );
        assert_eq!(set.plane.cluster_usage().1, 1);
        seconds(64).await;
        assert_eq!(set.held(), 1, "the request can still arrive");
        seconds(10).await;
        assert_eq!((set.held(), set.plane.cluster_usage().1), (0, 0));
        let freed = set.plane.submit(spec("b", "train", 4).into(), None).await;
        assert!(
            matches!(freed, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "the job was not admitted: {freed:?}"
        );
    });
}

#[test]
fn a_job_that_came_after_all_is_found() {
    in_virtual_time(async {
        let late = Fault { there: Duration::from_secs(50), answer: Answer::Lost, ..Fault::default() };
        let mut creates = VecDeque::from([late]);
        creates.extend([answer(Answer::NeverArrived); 10]);
        let script = Script { creates: Arc::new(Mutex::new(creates)), ..long() };
        // The watch must not settle the creation.
        script.events.lock().unwrap().push_back(EventFault::Late(Duration::from_secs(500)));
        let set = Set::ready(script).await;
        let told = set.plane.submit(spec("a", "train", 1).into(), None).await;
        let Err(SubmitError::Create { id, error: CreateError::Uncertain(_) }) = told else {
            panic!("{told:?}")
        };
        seconds(60).await;
        assert_eq!(set.plane.job(id).unwrap().seen.name.as_str(), "train");
        assert_eq!((set.held(), set.plane.cluster_usage().1), (1, 0));
    });
}

#[test]
fn what_was_definitely_not_made_holds_nothing() {
    in_virtual_time(async {
        for fault in [Answer::Rejected, Answer::Unreachable] {
            let set = Set::ready(Script { creates: all(1, answer(fault)), ..long() }).await;
            let told = set.plane.submit(spec("a", "train", 4).into(), None).await;
            match fault {
                Answer::Rejected => assert!(
                    matches!(told, Err(SubmitError::Create { error: CreateError::Rejected { .. }, .. })),
                    "{told:?}"
                ),
                _ => assert!(
                    matches!(told, Err(SubmitError::Create { error: CreateError::Unavailable(_), .. })),
                    "{told:?}"
                ),
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
        // The first cancel request is lost.
        set.script.cancels.lock().unwrap().push_back(answer(Answer::NeverArrived));
        seconds(30).await;
        assert_eq!(set.cluster.landed().len(), 2, "the first request arrived");
        assert_eq!(set.plane.job(job).unwrap().seen.status.phase, Phase::Cancelled);
        seconds(60).await;
        assert_eq!((set.held(), set.cluster.jobs().len()), (0, 0));
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
        assert!(
            matches!(told, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{told:?}"
        );
        seconds(15).await;
        assert_eq!((set.held(), set.plane.cluster_usage().1), (1, 0));
    });
}

/// A backend whose `create` panics. The other methods work.
struct Panics(FakeBackend);

impl Backend for Panics {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn timing(&self) -> BackendTiming {
        self.0.timing()
    }

    fn create<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        Box::pin(async { panic!("the backend panics") })
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
        let backend = Arc::new(Panics(FakeCluster::new(VirtualEnv::new(1)).connect()));
        let plane = ControlPlane::new(
            backend,
            policies::parse(policies::SMALL),
            VirtualEnv::new(2),
            Settings::default(),
        );
        tokio::spawn(plane.clone().run());
        plane.ready().await;
        let told = plane.submit(spec("a", "train", 1).into(), None).await;
        assert!(
            matches!(told, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{told:?}"
        );
        assert_eq!((plane.held().len(), plane.cluster_usage().1), (1, 1));
        seconds(80).await;
        assert_eq!((plane.held().len(), plane.cluster_usage().1), (0, 0));
    });
}
