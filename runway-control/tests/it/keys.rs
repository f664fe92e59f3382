//! Tests of idempotency keys: repeated submissions, other specs with the same key, and restarts.

use crate::harness::{Harness, key, long_running, sleep_seconds, start};
use runway_control::backend::CreateError;
use runway_control::fake::{EventFault, Fault, Response};
use runway_control::{Settings, SubmitError, Submitted};
use runway_testing::env::in_virtual_time;
use runway_testing::faults::response_fault;
use runway_testing::jobs::spec;
use std::time::Duration;

#[test]
fn repeated_key_replays_its_job_or_conflicts() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let submit = |gpus| {
            let plane = harness.plane.clone();
            async move { plane.submit(spec("a", "train", gpus).into(), Some(&key("k"))).await }
        };
        let first = submit(1).await.unwrap();
        assert!(matches!(first, Submitted::Created { decision: Some(_), .. }));
        let again = submit(1).await.unwrap();
        assert!(matches!(&again, Submitted::Replayed { job } if job.snapshot.id == first.job().snapshot.id));
        let other = submit(2).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        // A submission with parse violations never equals the admitted one. Its key therefore conflicts.
        let mut faulty = runway_core::Submission::from(spec("a", "train", 1));
        faulty.parse_violations = harness.plane.preview(&spec("a", "Big", 1).into()).violations().to_vec();
        let faulty = harness.plane.submit(faulty, Some(&key("k"))).await;
        assert!(matches!(faulty, Err(SubmitError::KeyReused { .. })), "{faulty:?}");
        // Each tenant has its own keys. Tenant `b` has not used this key, so its submission creates a job.
        harness.plane.submit(spec("b", "train", 1).into(), Some(&key("k"))).await.unwrap();
        assert_eq!(harness.cluster.created_jobs().len(), 2);
    });
}

#[test]
fn refused_submission_leaves_its_key_unused() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let big = harness.plane.submit(spec("a", "train", 9).into(), Some(&key("k"))).await;
        assert!(matches!(big, Err(SubmitError::Refused(_))), "{big:?}");
        harness.plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await.unwrap();
    });
}

#[test]
fn concurrent_submission_with_the_same_key_is_in_flight() {
    in_virtual_time(async {
        let slow = Fault { response_delay: Duration::from_secs(2), ..Fault::default() };
        let harness = Harness::ready(long_running().with_creates([slow])).await;
        let plane = harness.plane.clone();
        let first =
            tokio::spawn(async move { plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await });
        sleep_seconds(1).await;
        let second = harness.plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await;
        assert!(matches!(second, Err(SubmitError::InFlight { .. })), "{second:?}");
        assert!(first.await.unwrap().is_ok());
        assert_eq!(harness.cluster.created_jobs().len(), 1);
    });
}

#[test]
fn restarted_plane_restores_holds_and_keys() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let first = harness.plane.submit(spec("a", "train", 3).into(), Some(&key("k"))).await.unwrap();
        harness.backend.kill();
        let (_, plane) = start(&harness.cluster, Settings::default());
        plane.ready().await;
        assert_eq!(plane.held_job_ids(), [first.job().snapshot.id]);
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
fn repeated_submission_resumes_an_uncertain_creation() {
    in_virtual_time(async {
        // The first two create requests are lost. The control plane waits 5 s for each response, so the
        // `create_timeout` of 10 s allows no third attempt.
        let harness =
            Harness::ready(long_running().with_creates([response_fault(Response::RequestLost); 2])).await;
        let submit = |gpus| {
            let plane = harness.plane.clone();
            async move { plane.submit(spec("a", "train", gpus).into(), Some(&key("k"))).await }
        };
        let result = submit(1).await;
        assert!(
            matches!(result, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{result:?}"
        );
        let other = submit(2).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        let created = submit(1).await.unwrap();
        assert!(matches!(created, Submitted::Created { decision: None, .. }));
        sleep_seconds(100).await;
        assert_eq!((harness.cluster.created_jobs().len(), harness.held_count()), (1, 1));
    });
}

#[test]
fn key_used_before_a_restart_rejects_another_spec() {
    in_virtual_time(async {
        let dying = Fault {
            request_delay: Duration::from_secs(5),
            crash: Some(runway_control::fake::CrashPoint::WhileSent),
            ..Fault::default()
        };
        let harness = Harness::ready(long_running().with_creates([dying])).await;
        let plane = harness.plane.clone();
        tokio::spawn(async move { plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await });
        sleep_seconds(1).await;
        assert!(!harness.backend.is_alive());
        // The next process lists the jobs before the request arrives, and its watch is late. It therefore
        // does not know the job when the key is used again.
        let (_, plane) = start(&harness.cluster, Settings::default());
        plane.ready().await;
        harness.faults.events.push(EventFault::Late(Duration::from_secs(500)));
        sleep_seconds(6).await;
        assert_eq!((harness.cluster.created_jobs().len(), plane.held_job_ids().len()), (1, 0));
        let other = plane.submit(spec("a", "train", 2).into(), Some(&key("k"))).await;
        assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
        assert_eq!((plane.usage("a").held.gpus, plane.cluster_usage().1), (1, 0));
        // A submission with the same key and the same spec returns the existing job.
        let same = plane.submit(spec("a", "train", 1).into(), Some(&key("k"))).await.unwrap();
        assert!(matches!(same, Submitted::Replayed { .. }));
    });
}
