//! Idempotency keys: repeated submissions, other specs with the same key, and restarts.

use crate::set::{Script, Set, all, answer, key, long, seconds, start};
use runway_control::backend::CreateError;
use runway_control::fake::{Answer, EventFault, Fault};
use runway_control::{Settings, SubmitError, Submitted};
use runway_testing::env::in_virtual_time;
use runway_testing::jobs::spec;
use std::time::Duration;

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
        // A submission with parse violations is not equal to the admitted one.
        let mut faulty = runway_core::Submission::from(spec("a", "train", 1));
        faulty.faults = set.plane.preview(&spec("a", "Big", 1).into()).violations().to_vec();
        let faulty = set.plane.submit(faulty, Some(&key("k"))).await;
        assert!(matches!(faulty, Err(SubmitError::KeyReused { .. })), "{faulty:?}");
        // The same key of another tenant is another key.
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
fn the_same_request_again_takes_the_search_over() {
    in_virtual_time(async {
        // For ten seconds no request arrives.
        let set = Set::ready(Script { creates: all(2, answer(Answer::NeverArrived)), ..long() }).await;
        let submit = |gpus| {
            let plane = set.plane.clone();
            async move { plane.submit(spec("a", "train", gpus).into(), Some(&key("k"))).await }
        };
        let told = submit(1).await;
        assert!(
            matches!(told, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{told:?}"
        );
        let other = submit(2).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        let created = submit(1).await.unwrap();
        assert!(matches!(created, Submitted::Created { decision: None, .. }));
        seconds(100).await;
        assert_eq!((set.cluster.landed().len(), set.held()), (1, 1));
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
        // The next process lists the jobs before the request arrives, and its watch is late.
        let (_, plane) = start(&set.cluster, Settings::default());
        plane.ready().await;
        set.script.events.lock().unwrap().push_back(EventFault::Late(Duration::from_secs(500)));
        seconds(6).await;
        assert_eq!((set.cluster.landed().len(), plane.held().len()), (1, 0));
        let other = plane.submit(spec("a", "train", 2).into(), Some(&key("k"))).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        assert_eq!((plane.usage("a").held.gpus, plane.cluster_usage().1), (1, 0));
        // The same spec is the same job.
        let same = plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await.unwrap();
        assert!(matches!(same, Submitted::Replayed { .. }));
    });
}
