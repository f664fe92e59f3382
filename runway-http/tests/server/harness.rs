//! A server in this process, over an in-memory cluster whose create calls can be blocked.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use runway_control::backend::{
    CreateError, CreateRequest, JobRef, LogError, LogEvent, LogOptions, LogStream,
};
use runway_control::fake::FakeBackend;
use runway_control::{Backend, JobSnapshot};
use runway_testing::backends::{BackendWrapper, WrappedBackend};
use runway_testing::server::{Harness, ServerSetup};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A server whose create calls can be blocked.
pub struct TestServer {
    harness: Harness,
    /// Create calls wait while this is `false`.
    pub create_gate: watch::Sender<bool>,
    /// The number of open log streams of the jobs `silent` and `chatty`.
    pub open_log_streams: Arc<AtomicUsize>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut ServerSetup)) -> Self {
        let mut setup = ServerSetup::default();
        change(&mut setup);
        let (create_gate, open_log_streams) = (watch::Sender::new(true), Arc::new(AtomicUsize::new(0)));
        let gated = |inner| GatedBackend {
            inner,
            create_gate: create_gate.subscribe(),
            open_log_streams: Arc::clone(&open_log_streams),
        };
        let harness = Harness::start(setup, |_, inner| WrappedBackend(gated(inner))).await;
        Self { harness, create_gate, open_log_streams }
    }

    pub fn open_log_streams(&self) -> usize {
        self.open_log_streams.load(Ordering::SeqCst)
    }

    /// Waits for the server to exit. Returns whether it sent all responses.
    pub async fn finished(self) -> bool {
        self.harness.finished().await
    }
}

impl Deref for TestServer {
    type Target = Harness;

    fn deref(&self) -> &Harness {
        &self.harness
    }
}

/// A backend whose create calls can be blocked, and whose jobs can print without end.
struct GatedBackend {
    inner: FakeBackend,
    create_gate: watch::Receiver<bool>,
    open_log_streams: Arc<AtomicUsize>,
}

/// Counts an open log stream until it is dropped.
struct LogStreamGuard(Arc<AtomicUsize>);

impl Drop for LogStreamGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl BackendWrapper for GatedBackend {
    type Inner = FakeBackend;

    fn inner(&self) -> &FakeBackend {
        &self.inner
    }

    fn create<'a>(&'a self, order: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        async move {
            let _ = self.create_gate.clone().wait_for(|answers| *answers).await;
            self.inner.create(order).await
        }
        .boxed()
    }

    /// The output of a job named `silent` is one line and does not end. A job named `chatty` prints forever.
    /// For other jobs, returns the output from the in-memory cluster.
    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.open_log_streams.fetch_add(1, Ordering::SeqCst);
        let guard = LogStreamGuard(Arc::clone(&self.open_log_streams));
        let line = |text: &str| Ok(LogEvent::Bytes(Bytes::from(text.to_owned())));
        let stream = match job.name.as_str() {
            "silent" => stream::iter([line("one line\n")]).chain(stream::pending()).boxed(),
            "chatty" => {
                let piece = "y\n".repeat(8 * 1024);
                // Yield regularly, so that other tasks can run.
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
        let guarded = stream.map(move |event| {
            let _guard = &guard;
            event
        });
        async move { Ok(guarded.boxed()) }.boxed()
    }
}

/// A timeout for tests that wait until it expires.
pub const SHORT_TIMEOUT: Duration = Duration::from_millis(300);
