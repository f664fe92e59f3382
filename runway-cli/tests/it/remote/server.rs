//! The real server on the loopback interface, with a fake cluster in memory.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use runway_control::backend::{Backend, JobRef, LogError, LogEvent, LogOptions, LogStream};
use runway_control::fake::{FakeBackend, FakeCluster, JobTimings, Response};
use runway_core::JobId;
use runway_core::status::Status;
use runway_http::server::Tls;
use runway_testing::backends::{BackendWrapper, WrappedBackend};
use runway_testing::faults::ScriptedFaults;
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
    /// The response of the cluster to all calls except lists.
    pub response: Response,
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
            response: Response::Delivered,
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
        let faults = ScriptedFaults::with_timings(config.timings);
        faults.set_response(config.response);
        let faults = Box::new(faults);
        let setup = ServerSetup { policy: config.policy, faults, tls: config.tls, ..ServerSetup::default() };
        let output = config.output;
        let harness = runtime.block_on(Harness::start(setup, |cluster, backend| {
            WrappedBackend(PrintingBackend { backend, cluster: cluster.clone(), output })
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

impl BackendWrapper for PrintingBackend {
    type Inner = FakeBackend;

    fn inner(&self) -> &FakeBackend {
        &self.backend
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
