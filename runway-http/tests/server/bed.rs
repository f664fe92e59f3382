//! A server in this process, over an in-memory cluster whose create calls can be blocked.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use runway_control::backend::{
    BackendTiming, Cancelled, CreateError, JobRef, LogError, LogEvent, LogOptions, LogStream, Order,
    Unavailable, WatchEvent,
};
use runway_control::fake::FakeBackend;
use runway_control::{Backend, Observation};
use runway_core::capability::Capabilities;
use runway_testing::server::{Harness, Setup};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A server whose create calls can be blocked.
pub struct Bed {
    harness: Harness,
    /// Create calls wait while this is `false`.
    pub creates: watch::Sender<bool>,
    /// The number of open log streams.
    pub streams: Arc<AtomicUsize>,
}

impl Bed {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let (creates, streams) = (watch::Sender::new(true), Arc::new(AtomicUsize::new(0)));
        let held = |inner| Held { inner, creates: creates.subscribe(), streams: Arc::clone(&streams) };
        let harness = Harness::start(setup, |_, inner| held(inner)).await;
        Self { harness, creates, streams }
    }

    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    /// Waits for the server to exit. Returns whether it sent all responses.
    pub async fn end(self) -> bool {
        self.harness.finished().await
    }
}

impl Deref for Bed {
    type Target = Harness;

    fn deref(&self) -> &Harness {
        &self.harness
    }
}

/// A backend whose create calls can be blocked, and whose jobs can print without end.
struct Held {
    inner: FakeBackend,
    creates: watch::Receiver<bool>,
    streams: Arc<AtomicUsize>,
}

/// Counts an open log stream until it is dropped.
struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Held {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

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

    /// A job named `silent` prints one line and keeps running. A job named `chatty` never stops printing.
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
        let held = stream.map(move |event| {
            let _held = &held;
            event
        });
        async move { Ok(held.boxed()) }.boxed()
    }
}

/// A timeout for tests that wait until it expires.
pub const SHORT: Duration = Duration::from_millis(300);
