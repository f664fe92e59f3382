//! Tests of the backend with a client that is connected to a socket.

use super::*;
use crate::test_server::{ReceivedRequest, TestResponse, TestServer};
use runway_control::{ControlPlane, Settings, SubmitError, Submitted, SystemEnv};
use runway_core::policy::PriceOverrides;
use runway_core::{JobSpec, Tenant};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

fn policy() -> Arc<Policy> {
    let text = include_bytes!("../../../fixtures/policies/default.yaml");
    Arc::new(Policy::parse(text, PriceOverrides::default()).unwrap())
}

async fn backend(server: &TestServer) -> KubernetesBackend {
    let policy = policy();
    let settings = KubernetesSettings::new(&policy);
    KubernetesBackend::new(server.client().await, &policy, settings, Arc::new(SystemEnv))
}

/// Starts a control plane and waits until it is ready.
async fn plane(server: &TestServer) -> ControlPlane {
    let backend = Arc::new(backend(server).await);
    let plane = ControlPlane::new(backend, policy(), Arc::new(SystemEnv), Settings::default());
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    plane
}

fn job() -> JobSpec {
    JobSpec {
        name: Some("train".into()),
        tenant: Some("search".into()),
        image: Some("registry.internal/embed:1.8.0".into()),
        ..JobSpec::default()
    }
}

fn job_ref() -> JobRef {
    let tenant: Tenant = "search".parse().unwrap();
    JobRef { id: JobId::from_random(1), name: "train".parse().unwrap(), tenant }
}

#[tokio::test]
async fn busy_api_server_gets_one_create_request() {
    for retry_after in [None, Some(7)] {
        let server = TestServer::start(move |request| match request.is_create() {
            true => TestResponse::busy(retry_after),
            false => TestResponse::without_objects(request),
        })
        .await;
        let plane = plane(&server).await;
        let started = Instant::now();
        let result = plane.submit(job().into(), None).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        let Err(SubmitError::Create { error: CreateError::Unavailable(cause), .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(cause.to_string(), "creating a Job: the API server is busy: Too many requests");
        assert_eq!(cause.retry_after, retry_after.map(|seconds| Duration::from_secs(seconds.into())));
        assert_eq!(server.count(ReceivedRequest::is_create), 1);
        assert_eq!((plane.held_job_ids(), plane.cluster_usage().1), (vec![], 0));
    }
}

#[tokio::test]
async fn create_with_a_gateway_timeout_is_repeated_once() {
    // The first request creates the Job, but its response is an error.
    let created = Mutex::new(None);
    let server = TestServer::start(move |request| {
        let mut created = created.lock().unwrap();
        match &*created {
            None if request.is_create() => {
                *created = Some(request.body.clone());
                TestResponse::failure(504, "Timeout")
            }
            Some(_) if request.is_create() => TestResponse::failure(409, "AlreadyExists"),
            Some(job) if request.line.contains("/jobs/train-") => TestResponse::ok(job.clone()),
            _ => TestResponse::without_objects(request),
        }
    })
    .await;
    let plane = plane(&server).await;
    let result = plane.submit(job().into(), None).await;
    assert!(matches!(result, Ok(Submitted::Created { decision: Some(_), .. })), "{result:?}");
    assert_eq!(server.count(ReceivedRequest::is_create), 2);
}

#[tokio::test]
async fn read_is_repeated_after_the_time_that_the_server_returned() {
    let reads = AtomicUsize::new(0);
    let server = TestServer::start(move |_| match reads.fetch_add(1, Ordering::Relaxed) {
        0 => TestResponse::busy(Some(1)),
        _ => TestResponse::failure(404, "NotFound"),
    })
    .await;
    let backend = backend(&server).await;
    let started = Instant::now();
    assert_eq!(backend.find(&job_ref()).await, Ok(None));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(server.count(|_| true), 2);
}

#[tokio::test]
async fn read_with_a_long_retry_after_is_not_repeated() {
    let server = TestServer::start(|_| TestResponse::busy(Some(3600))).await;
    let error = backend(&server).await.find(&job_ref()).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(server.count(|_| true), 1);
}

#[tokio::test]
async fn failed_read_is_repeated_twice() {
    for status in [503, 504] {
        let server = TestServer::start(move |_| TestResponse::failure(status, "X")).await;
        let error = backend(&server).await.find(&job_ref()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("reading a Job: the API server returned {status}: no"));
        assert_eq!(server.count(|_| true), 3);
    }
}
