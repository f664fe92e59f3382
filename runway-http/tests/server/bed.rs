//! What a test starts from: the server in this process, over a cluster in memory whose answers can be held back.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use runway_control::backend::{
    BackendTiming, Cancelled, CreateError, JobRef, LogError, LogEvent, LogOptions, LogStream, Order,
    Unavailable, WatchEvent,
};
use runway_control::fake::{FakeBackend, FakeCluster};
use runway_control::{Backend, ControlPlane, Observation, Settings, System};
use runway_core::Policy;
use runway_core::policy::RateOverrides;
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, Tls, serve};
use runway_http::{AppState, RequestLimits, app};
use runway_testing::wire::{Answer, ask, get, metric};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Room for whatever a test does that is not about the policy.
pub const ROOMY: &str = r#"
version: 1
limits:
  cpu: {min: 10m, max: "4", default: 500m}
  memory: {min: 16Mi, max: 8Gi, default: 512Mi}
  gpu: {max: 0}
  timeout: {min: 1s, max: 1h, default: 10m}
rates: {usd_per_cpu_second: "0.00001", usd_per_gb_second: "0.000001", usd_per_gpu_second: "0.0007"}
rate_limit: {per_minute: 600000, burst: 100000}
quota: {gpus: 0, concurrent_jobs: 100000}
capacity: {gpus: 0, concurrent_jobs: 100000, rate_limit: {per_minute: 1000000, burst: 1000000}}
"#;

/// What can be different from test to test.
pub struct Setup {
    pub policy: String,
    pub requests: RequestLimits,
    pub connections: ConnectionLimits,
    pub tls: Option<Tls>,
}

impl Default for Setup {
    fn default() -> Self {
        let (requests, connections) = (RequestLimits::default(), ConnectionLimits::default());
        Self { policy: ROOMY.to_owned(), requests, connections, tls: None }
    }
}

pub struct Bed {
    pub address: SocketAddr,
    pub cluster: FakeCluster,
    pub state: AppState,
    /// Whether the cluster answers requests to create jobs.
    pub creates: watch::Sender<bool>,
    /// How many streams of logs somebody holds.
    pub streams: Arc<AtomicUsize>,
    stop: Arc<Notify>,
    server: JoinHandle<bool>,
}

impl Bed {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let policy = Arc::new(Policy::parse(setup.policy.as_bytes(), RateOverrides::default()).unwrap());
        let cluster = FakeCluster::new(Arc::new(System));
        let (creates, streams) = (watch::Sender::new(true), Arc::new(AtomicUsize::new(0)));
        let backend =
            Held { inner: cluster.connect(), creates: creates.subscribe(), streams: Arc::clone(&streams) };
        let metrics = Arc::new(Metrics::default());
        let observer = Arc::clone(&metrics);
        let (backend, surroundings) = (Arc::new(backend), Arc::new(System));
        let plane = ControlPlane::with_observer(backend, policy, surroundings, Settings::default(), observer);
        tokio::spawn(plane.clone().run());
        plane.ready().await;
        let state = AppState::new(plane, Arc::clone(&metrics), setup.requests);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop).notified_owned();
        let server = serve(listener, app(state.clone()), setup.connections, setup.tls, metrics, stopped);
        let server = tokio::spawn(server);
        Self { address, cluster, state, creates, streams, stop, server }
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, bytes: impl AsRef<[u8]>) -> Answer {
        ask(self.address, bytes).await
    }

    pub async fn metrics(&self) -> String {
        self.ask(get("/metrics")).await.text()
    }

    pub async fn metric(&self, series: &str) -> u64 {
        metric(&self.metrics().await, series)
    }

    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    /// Tells the server to end.
    pub fn tell_to_end(&self) {
        self.state.stop();
        self.state.drain();
        self.stop.notify_one();
    }

    /// Whether everything under way was answered in the end.
    pub async fn end(self) -> bool {
        self.server.await.unwrap()
    }
}

/// A backend that is held back on demand, and whose jobs can print for ever.
struct Held {
    inner: FakeBackend,
    creates: watch::Receiver<bool>,
    streams: Arc<AtomicUsize>,
}

/// A stream of logs that somebody holds.
struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Held {
    fn timing(&self) -> BackendTiming {
        self.inner.timing()
    }

    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        async move {
            let _ = self.creates.clone().wait_for(|answers| *answers).await;
            self.inner.create(order).await
        }
        .boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        self.inner.find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        self.inner.list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.inner.watch()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        self.inner.cancel(job)
    }

    /// A job named `silent` says one line and no more; one named `chatty` never stops.
    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        let held = Stream(Arc::clone(&self.streams));
        let line = |text: &str| Ok(LogEvent::Bytes(Bytes::from(text.to_owned())));
        let stream = match job.name.as_str() {
            "silent" => stream::iter([line("one line\n")]).chain(stream::pending()).boxed(),
            "chatty" => {
                let piece = "y\n".repeat(8 * 1024);
                // Now and then others have their turn.
                let pieces = stream::repeat_with(move || line(&piece));
                pieces
                    .then(async |piece| {
                        tokio::task::yield_now().await;
                        piece
                    })
                    .boxed()
            }
            _ => return self.inner.logs(job, options),
        };
        let held = stream.map(move |event| {
            let _held = &held;
            event
        });
        async move { Ok(held.boxed()) }.boxed()
    }
}

/// Short times, so that tests of running out of them are short.
pub const SHORT: Duration = Duration::from_millis(300);
