//! A test harness with a server in the test's process and a fake cluster.

use crate::policies;
use crate::wire::{HttpResponse, exchange, get, metric};
use runway_control::fake::{FakeBackend, FakeCluster, FaultPlan, NoFaults};
use runway_control::{Backend, ControlPlane, Settings, SystemEnv};
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, Tls, serve};
use runway_http::{AppState, RequestLimits, app};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The configuration of the server.
pub struct ServerSetup {
    /// The policy in YAML.
    pub policy: String,
    /// The fault plan of the fake cluster.
    pub faults: Box<dyn FaultPlan>,
    /// The limits on requests.
    pub requests: RequestLimits,
    /// The limits on connections.
    pub connections: ConnectionLimits,
    /// The TLS configuration, if the server uses TLS.
    pub tls: Option<Tls>,
}

impl Default for ServerSetup {
    fn default() -> Self {
        Self {
            policy: policies::UNLIMITED.to_owned(),
            faults: Box::new(NoFaults),
            requests: RequestLimits::default(),
            connections: ConnectionLimits::default(),
            tls: None,
        }
    }
}

/// A server that listens on a free port of the loopback address.
pub struct Harness {
    /// The address of the server.
    pub address: SocketAddr,
    /// The fake cluster.
    pub cluster: FakeCluster,
    /// The application state that all routes of the server share.
    pub state: AppState,
    stop: Arc<Notify>,
    server: JoinHandle<bool>,
}

impl Harness {
    /// Starts a server and waits until its control plane is ready. `wrap` receives the backend of the fake
    /// cluster and returns the backend that the server uses.
    pub async fn start<B: Backend>(
        setup: ServerSetup,
        wrap: impl FnOnce(&FakeCluster, FakeBackend) -> B,
    ) -> Self {
        let cluster = FakeCluster::with_fault_plan(Arc::new(SystemEnv), setup.faults);
        let backend = Arc::new(wrap(&cluster, cluster.connect()));
        let metrics = Arc::new(Metrics::default());
        let observer = Arc::clone(&metrics);
        let policy = policies::parse(&setup.policy);
        let plane =
            ControlPlane::with_observer(backend, policy, Arc::new(SystemEnv), Settings::default(), observer);
        tokio::spawn(plane.clone().run());
        plane.ready().await;
        let state = AppState::new(plane, Arc::clone(&metrics), setup.requests);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop).notified_owned();
        let server = serve(listener, app(state.clone()), setup.connections, setup.tls, metrics, stopped);
        Self { address, cluster, state, stop, server: tokio::spawn(server) }
    }

    /// Sends one request on a new connection and returns the response.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> HttpResponse {
        exchange(self.address, bytes).await
    }

    /// Returns the metrics of the server as text.
    pub async fn metrics(&self) -> String {
        self.exchange(get("/metrics")).await.text()
    }

    /// Returns the value of one metric.
    pub async fn metric(&self, series: &str) -> u64 {
        metric(&self.metrics().await, series)
    }

    /// Starts the shutdown of the server.
    pub fn shut_down(&self) {
        self.state.mark_stopping();
        self.state.begin_drain();
        self.stop.notify_one();
    }

    /// Waits until the server has shut down. Returns `true` if it answered every request.
    pub async fn finished(self) -> bool {
        self.server.await.unwrap()
    }
}
