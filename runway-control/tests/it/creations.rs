//! Tests of create requests: late or lost responses, failed requests, and callers that disconnect.

use crate::harness::{Harness, long_running, sleep_seconds, start_on};
use futures::future::BoxFuture;
use runway_control::backend::{CreateError, CreateRequest};
use runway_control::fake::{EventFault, FakeBackend, FakeCluster, Fault, Response};
use runway_control::{JobSnapshot, Settings, SubmitError, Submitted};
use runway_core::status::Phase;
use runway_testing::backends::{BackendWrapper, WrappedBackend};
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::faults::response_fault;
use runway_testing::jobs::spec;
use std::time::Duration;

#[test]
fn lost_create_response_is_retried() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running().with_creates([response_fault(Response::Lost)])).await;
        let job = harness.plane.submit(spec("a", "train", 1).into(), None).await.unwrap();
        assert!(matches!(job, Submitted::Created { .. }));
        assert_eq!((harness.cluster.created_jobs().len(), harness.held_count()), (1, 1));
    });
}

#[test]
fn lost_create_request_keeps_its_hold_until_it_expires() {
    in_virtual_time(async {
        let lost = [response_fault(Response::RequestLost); 50];
        let harness = Harness::ready(long_running().with_creates(lost)).await;
        let result = harness.plane.submit(spec("a", "train", 4).into(), None).await;
        assert!(
            matches!(result, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{result:?}"
        );
        assert_eq!(harness.plane.cluster_usage().1, 1);
        sleep_seconds(64).await;
        assert_eq!(harness.held_count(), 1, "the request can still arrive");
        sleep_seconds(10).await;
        assert_eq!((harness.held_count(), harness.plane.cluster_usage().1), (0, 0));
        let freed = harness.plane.submit(spec("b", "train", 4).into(), None).await;
        assert!(
            matches!(freed, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "the job was not admitted: {freed:?}"
        );
    });
}

#[test]
fn late_create_is_found_by_polling() {
    in_virtual_time(async {
        let delayed =
            Fault { request_delay: Duration::from_secs(50), response: Response::Lost, ..Fault::default() };
        let lost = [response_fault(Response::RequestLost); 10];
        let faults = long_running().with_creates([delayed]).with_creates(lost);
        // The watch event of the job arrives too late, so only the polling can find the job.
        faults.events.push(EventFault::Late(Duration::from_secs(500)));
        let harness = Harness::ready(faults).await;
        let result = harness.plane.submit(spec("a", "train", 1).into(), None).await;
        let Err(SubmitError::Create { id, error: CreateError::Uncertain(_) }) = result else {
            panic!("{result:?}")
        };
        sleep_seconds(60).await;
        assert_eq!(harness.plane.job(id).unwrap().snapshot.name.as_str(), "train");
        assert_eq!((harness.held_count(), harness.plane.cluster_usage().1), (1, 0));
    });
}

#[test]
fn failed_create_releases_its_hold() {
    in_virtual_time(async {
        for fault in [Response::Rejected, Response::Unreachable] {
            let harness = Harness::ready(long_running().with_creates([response_fault(fault)])).await;
            let result = harness.plane.submit(spec("a", "train", 4).into(), None).await;
            match fault {
                Response::Rejected => assert!(
                    matches!(result, Err(SubmitError::Create { error: CreateError::Rejected { .. }, .. })),
                    "{result:?}"
                ),
                _ => assert!(
                    matches!(result, Err(SubmitError::Create { error: CreateError::Unavailable(_), .. })),
                    "{result:?}"
                ),
            }
            assert_eq!((harness.held_count(), harness.plane.cluster_usage().1), (0, 0));
            harness.plane.submit(spec("a", "train", 4).into(), None).await.unwrap();
        }
    });
}

#[test]
fn creation_completes_after_the_caller_disconnects() {
    in_virtual_time(async {
        let slow = Fault {
            request_delay: Duration::from_secs(2),
            response_delay: Duration::from_secs(1),
            ..Fault::default()
        };
        let harness = Harness::ready(long_running().with_creates([slow])).await;
        let submission = harness.plane.submit(spec("a", "train", 1).into(), None);
        assert!(tokio::time::timeout(Duration::from_secs(1), submission).await.is_err());
        assert_eq!((harness.held_count(), harness.plane.cluster_usage().1), (1, 1));
        sleep_seconds(5).await;
        assert_eq!(
            (harness.held_count(), harness.plane.cluster_usage().1, harness.cluster.created_jobs().len()),
            (1, 0, 1)
        );
    });
}

#[test]
fn late_duplicate_job_is_cancelled() {
    in_virtual_time(async {
        let delayed =
            Fault { request_delay: Duration::from_secs(40), response: Response::Lost, ..Fault::default() };
        let harness = Harness::ready(long_running().with_creates([delayed])).await;
        let job = harness.submit(spec("a", "train", 1)).await;
        assert_eq!(harness.cluster.created_jobs().len(), 1);
        harness.cluster.delete(job, Duration::ZERO);
        sleep_seconds(20).await;
        assert_eq!(harness.held_count(), 0);
        // The cancel request for the duplicate job is lost once. The control plane must retry it.
        harness.faults.cancels.push(response_fault(Response::RequestLost));
        sleep_seconds(30).await;
        assert_eq!(harness.cluster.created_jobs().len(), 2, "the first request arrived");
        assert_eq!(harness.plane.job(job).unwrap().snapshot.status.phase, Phase::Cancelled);
        sleep_seconds(60).await;
        assert_eq!((harness.held_count(), harness.cluster.jobs().len()), (0, 0));
    });
}

#[test]
fn job_removed_during_retries_is_not_created_again() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running().with_creates([response_fault(Response::Lost)])).await;
        let plane = harness.plane.clone();
        let submission = tokio::spawn(async move { plane.submit(spec("a", "train", 1).into(), None).await });
        sleep_seconds(1).await;
        harness.cluster.delete(harness.cluster.created_jobs()[0].id, Duration::ZERO);
        let answer = submission.await.unwrap().unwrap();
        assert!(answer.job().gone && answer.job().snapshot.status.phase == Phase::Unknown);
        assert_eq!(
            (harness.cluster.created_jobs().len(), harness.held_count(), harness.plane.cluster_usage().1),
            (1, 0, 0)
        );
    });
}

#[test]
fn watch_event_settles_an_uncertain_creation() {
    in_virtual_time(async {
        let delayed =
            Fault { request_delay: Duration::from_secs(20), response: Response::Lost, ..Fault::default() };
        let lost = [response_fault(Response::RequestLost); 10];
        let faults = long_running().with_creates([delayed]).with_creates(lost);
        faults.finds.extend([response_fault(Response::Unreachable); 50]);
        let harness = Harness::ready(faults).await;
        let result = harness.plane.submit(spec("a", "train", 1).into(), None).await;
        assert!(
            matches!(result, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{result:?}"
        );
        sleep_seconds(15).await;
        assert_eq!((harness.held_count(), harness.plane.cluster_usage().1), (1, 0));
    });
}

/// A backend whose `create` panics. The other methods work.
struct PanickingBackend(FakeBackend);

impl BackendWrapper for PanickingBackend {
    type Inner = FakeBackend;

    fn inner(&self) -> &FakeBackend {
        &self.0
    }

    fn create<'a>(&'a self, _: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        Box::pin(async { panic!("the backend panics") })
    }
}

#[test]
fn backend_panic_releases_the_hold_after_expiry() {
    in_virtual_time(async {
        let backend = PanickingBackend(FakeCluster::new(VirtualEnv::new(1)).connect());
        let plane = start_on(WrappedBackend(backend), VirtualEnv::new(2), Settings::default());
        plane.ready().await;
        let result = plane.submit(spec("a", "train", 1).into(), None).await;
        assert!(
            matches!(result, Err(SubmitError::Create { error: CreateError::Uncertain(_), .. })),
            "{result:?}"
        );
        assert_eq!((plane.held_job_ids().len(), plane.cluster_usage().1), (1, 1));
        sleep_seconds(80).await;
        assert_eq!((plane.held_job_ids().len(), plane.cluster_usage().1), (0, 0));
    });
}
