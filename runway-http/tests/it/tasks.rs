//! The background tasks that the server needs.

use crate::harness::POLICY;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runway_control::backend::{
    BackendTiming, CancelOutcome, CreateError, CreateRequest, JobRef, LogError, LogOptions, LogStream,
    Unavailable, WatchEvent,
};
use runway_control::fake::{FakeBackend, FakeCluster};
use runway_control::{Backend, ControlPlane, JobSnapshot, Settings};
use runway_core::capability::Capabilities;
use runway_http::metrics::Metrics;
use runway_http::tasks::EssentialTasks;
use runway_http::{AppState, RequestLimits, app};
use runway_testing::env::VirtualEnv;
use runway_testing::policies;
use std::sync::Arc;
use tokio::sync::Notify;
use tower::ServiceExt;

/// A backend whose watch ends when the test asks for it.
struct EndingBackend {
    inner: FakeBackend,
    end: Arc<Notify>,
}

impl Backend for EndingBackend {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn timing(&self) -> BackendTiming {
        self.inner.timing()
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        self.inner.create(request)
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>> {
        self.inner.find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>> {
        self.inner.list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.inner.watch().take_until(Box::pin(self.end.notified())).boxed()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>> {
        self.inner.cancel(job)
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.inner.logs(job, options)
    }
}

async fn readiness(router: &Router) -> u16 {
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn server_is_not_ready_after_the_watch_has_ended() {
    let (clock, end) = (VirtualEnv::new(1), Arc::new(Notify::new()));
    let cluster = FakeCluster::new(clock.clone());
    let backend = Arc::new(EndingBackend { inner: cluster.connect(), end: Arc::clone(&end) });
    let plane = ControlPlane::new(backend, policies::parse(POLICY), clock, Settings::default());
    let state = AppState::new(plane.clone(), Arc::new(Metrics::default()), RequestLimits::default());
    let router = app(state.clone());
    let mut tasks = EssentialTasks::new(state.clone());
    tasks.spawn("control loop", plane.clone().run());
    plane.ready().await;
    assert_eq!(readiness(&router).await, 200);
    end.notify_one();
    let ended = tasks.ended().await;
    assert_eq!(ended.to_string(), "the control loop ended unexpectedly");
    assert!(ended.source.is_none());
    assert_eq!(readiness(&router).await, 503);
}

#[tokio::test(start_paused = true)]
async fn server_is_not_ready_after_a_panic_of_a_task() {
    let harness = crate::harness::Harness::new().await;
    let mut tasks = EssentialTasks::new(harness.state.clone());
    tasks.spawn("waiting task", std::future::pending());
    tasks.spawn("failing task", async { panic!("the panic of this test") });
    let ended = tasks.ended().await;
    assert_eq!(ended.name, "failing task");
    assert!(ended.source.is_some_and(|error| error.is_panic()));
    assert_eq!(readiness(&harness.router).await, 503);
}
