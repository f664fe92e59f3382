//! The real server on the loopback interface, with a fake cluster in memory.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use runway_control::backend::{
    Backend, BackendTiming, CancelOutcome, CreateError, CreateRequest, JobRef, JobSnapshot, LogError,
    LogEvent, LogOptions, LogStream, Unavailable, WatchEvent,
};
use runway_control::fake::{FakeBackend, FakeCluster, Fault, JobTimings};
use runway_core::JobId;
use runway_core::capability::Capabilities;
use runway_core::status::Status;
use runway_http::server::Tls;
use runway_testing::faults::CreateFault;
pub use runway_testing::faults::{long_timings, short_timings};
use runway_testing::server::{Harness, ServerSetup};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Returns the built-in policy with a rate limit that tests do not reach.
pub fn policy_with_high_rate_limit() -> String {
    let policy =
        std::fs::read_to_string(crate::program::root().join("fixtures/policies/default.yaml")).unwrap();
    policy.replace("rate_limit: {per_minute: 60, burst: 10}", "rate_limit: {per_minute: 6000, burst: 500}")
}

/// The configuration of a server.
pub struct ServerConfig {
    pub policy: String,
    pub timings: JobTimings,
    pub fault: Fault,
    /// The output of each job: one part that the job prints when it starts, and one part that it prints when
    /// it ends.
    pub output: (Vec<LogEvent>, Vec<LogEvent>),
    pub tls: Option<Tls>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            policy: policy_with_high_rate_limit(),
            timings: long_timings(),
            fault: Fault::default(),
            output: (vec![LogEvent::Attempt(1), LogEvent::Bytes(Bytes::from_static(b"hello\n"))], vec![]),
            tls: None,
        }
    }
}

/// A running server, which stops when this value is dropped.
pub struct Server {
    pub address: std::net::SocketAddr,
    pub cluster: FakeCluster,
    _runtime: Runtime,
    _harness: Harness,
}

impl Server {
    pub fn start(config: ServerConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let faults = Box::new(CreateFault { create: config.fault, timings: config.timings });
        let setup = ServerSetup { policy: config.policy, faults, tls: config.tls, ..ServerSetup::default() };
        let output = config.output;
        let harness = runtime.block_on(Harness::start(setup, |cluster, backend| PrintingBackend {
            backend,
            cluster: cluster.clone(),
            output,
        }));
        let (address, cluster) = (harness.address, harness.cluster.clone());
        Self { address, cluster, _runtime: runtime, _harness: harness }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn created_jobs(&self) -> Vec<JobId> {
        self.cluster.created_jobs().iter().map(|landing| landing.id).collect()
    }
}

/// The backend of the fake cluster, with jobs that print scripted output.
struct PrintingBackend {
    backend: FakeBackend,
    cluster: FakeCluster,
    output: (Vec<LogEvent>, Vec<LogEvent>),
}

impl Backend for PrintingBackend {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn timing(&self) -> BackendTiming {
        self.backend.timing()
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        self.backend.create(request)
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>> {
        self.backend.find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>> {
        self.backend.list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.backend.watch()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>> {
        self.backend.cancel(job)
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        Box::pin(async move {
            // The fake backend returns an error if the job has no output. Its output itself is not used.
            drop(self.backend.logs(job, options).await?);
            let (now, later) = self.output.clone();
            let (cluster, id) = (self.cluster.clone(), job.id);
            let wait = |is_reached: fn(&Status) -> bool| {
                let cluster = cluster.clone();
                async move {
                    while options.follow
                        && cluster.jobs().get(&id).is_some_and(|job| !is_reached(&job.snapshot.status))
                    {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            };
            let started = wait(|status| status.attempts > 0);
            let ended = wait(|status| status.phase.is_final());
            let later = if options.follow { later } else { Vec::new() };
            let first = if options.tail == Some(0) { Vec::new() } else { now };
            let first = stream::once(async move {
                started.await;
                stream::iter(first)
            });
            let last = stream::once(async move {
                ended.await;
                stream::iter(later)
            });
            Ok(first.flatten().chain(last.flatten()).map(Ok).boxed())
        })
    }
}
