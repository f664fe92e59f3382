//! A server on loopback, over a cluster in memory.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use runway_control::backend::{
    Backend, BackendTiming, Cancelled, CreateError, JobRef, LogError, LogEvent, LogOptions, LogStream,
    Observation, Order, Unavailable, WatchEvent,
};
use runway_control::fake::{Chaos, EventFault, FakeBackend, FakeCluster, Fault, Life};
use runway_control::{ControlPlane, Settings, System};
use runway_core::capability::Capabilities;
use runway_core::policy::RateOverrides;
use runway_core::status::Status;
use runway_core::{JobId, Policy};
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, Tls, serve};
use runway_http::{AppState, RequestLimits, app};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The built-in policy, but that as much can be submitted as a test wants.
pub fn generous() -> String {
    let policy = std::fs::read_to_string(crate::run::root().join("fixtures/policies/default.yaml")).unwrap();
    policy.replace("rate_limit: {per_minute: 60, burst: 10}", "rate_limit: {per_minute: 6000, burst: 500}")
}

/// How a server is to be.
pub struct Plan {
    pub policy: String,
    pub life: Life,
    pub fault: Fault,
    /// What a job prints: at once, and after it has ended.
    pub output: (Vec<LogEvent>, Vec<LogEvent>),
    pub tls: Option<Tls>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            policy: generous(),
            life: long(),
            fault: Fault::default(),
            output: (vec![LogEvent::Attempt(1), LogEvent::Bytes(Bytes::from_static(b"hello\n"))], vec![]),
            tls: None,
        }
    }
}

/// A job that is there for the whole of a test.
pub fn long() -> Life {
    Life { waits: Duration::ZERO, runs: Duration::from_secs(600), ..Life::default() }
}

/// A job that is soon over.
pub fn short(succeeds: bool) -> Life {
    let (waits, runs) = (Duration::from_millis(400), Duration::from_millis(400));
    Life { waits, runs, succeeds, ..Life::default() }
}

/// A server that runs until it is dropped.
pub struct Server {
    pub address: std::net::SocketAddr,
    pub cluster: FakeCluster,
    _runtime: Runtime,
}

impl Server {
    pub fn start(plan: Plan) -> Self {
        let runtime = Runtime::new().unwrap();
        let cluster = FakeCluster::with_chaos(Arc::new(System), Box::new(Same(plan.life, plan.fault)));
        let policy = Policy::parse(plan.policy.as_bytes(), RateOverrides::default()).unwrap();
        let backend = Printing { backend: cluster.connect(), cluster: cluster.clone(), output: plan.output };
        let address = runtime.block_on(async {
            let plane =
                ControlPlane::new(Arc::new(backend), Arc::new(policy), Arc::new(System), Settings::default());
            tokio::spawn(plane.clone().run());
            plane.ready().await;
            let metrics = Arc::new(Metrics::default());
            let state = AppState::new(plane, Arc::clone(&metrics), RequestLimits::default());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(
                listener,
                app(state),
                ConnectionLimits::default(),
                plan.tls,
                metrics,
                std::future::pending(),
            ));
            address
        });
        Self { address, cluster, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn landed(&self) -> Vec<JobId> {
        self.cluster.landed().iter().map(|landing| landing.id).collect()
    }
}

/// All jobs live the same life, and all calls end in the same way.
struct Same(Life, Fault);

impl Chaos for Same {
    fn call(&mut self, call: runway_control::fake::Call) -> Fault {
        match call {
            runway_control::fake::Call::Create(_) => self.1,
            _ => Fault::default(),
        }
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn life(&mut self, _: JobId) -> Life {
        self.0
    }
}

/// The cluster in memory, whose jobs print what the test wants.
struct Printing {
    backend: FakeBackend,
    cluster: FakeCluster,
    output: (Vec<LogEvent>, Vec<LogEvent>),
}

impl Backend for Printing {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn timing(&self) -> BackendTiming {
        self.backend.timing()
    }

    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        self.backend.create(order)
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        self.backend.find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        self.backend.list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.backend.watch()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        self.backend.cancel(job)
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        Box::pin(async move {
            // It knows whether there is anything to read.
            drop(self.backend.logs(job, options).await?);
            let (now, later) = self.output.clone();
            let (cluster, id) = (self.cluster.clone(), job.id);
            let wait = |is_there: fn(&Status) -> bool| {
                let cluster = cluster.clone();
                async move {
                    while options.follow
                        && cluster.jobs().get(&id).is_some_and(|job| !is_there(&job.seen.status))
                    {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            };
            let begun = wait(|status| status.attempts > 0);
            let ended = wait(|status| status.phase.is_final());
            let later = if options.follow { later } else { Vec::new() };
            let first = if options.tail == Some(0) { Vec::new() } else { now };
            let first = stream::once(async move {
                begun.await;
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
