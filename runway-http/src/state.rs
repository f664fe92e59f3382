//! What all requests share.

use crate::metrics::Metrics;
use crate::request::capacity::Capacity;
use crate::request::id::Draw;
use runway_control::ControlPlane;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// What a request may take of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The most bytes of a body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long an answer may take to begin.
    pub request_timeout: Duration,
    /// The most requests at a time, probes and followers of logs aside.
    pub requests: usize,
    /// The most submissions of one tenant at a time.
    pub tenant_submissions: usize,
    /// The most readers of logs at a time.
    pub log_readers: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            requests: 512,
            tenant_submissions: 32,
            log_readers: 256,
        }
    }
}

/// What all requests share. Clones share it too.
#[derive(Debug, Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    plane: ControlPlane,
    metrics: Arc<Metrics>,
    limits: RequestLimits,
    capacity: Capacity,
    draw: Draw,
    stopping: AtomicBool,
    draining: watch::Sender<bool>,
}

impl AppState {
    /// A server over a control plane. The metrics are those that observe it.
    #[must_use]
    pub fn new(plane: ControlPlane, metrics: Arc<Metrics>, limits: RequestLimits) -> Self {
        let capacity = Capacity::new(&limits);
        metrics.follow(&plane, capacity.clone());
        let (stopping, draining) = (AtomicBool::new(false), watch::Sender::new(false));
        Self {
            inner: Arc::new(Inner {
                plane,
                metrics,
                limits,
                capacity,
                draw: Draw::default(),
                stopping,
                draining,
            }),
        }
    }

    /// Says that the server is about to end: it is not ready any more.
    pub fn stop(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// Says that the server ends: answers without an end of their own are broken off.
    pub fn drain(&self) {
        self.inner.draining.send_replace(true);
    }

    /// Is true once answers without an end of their own are to be broken off.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.inner.draining.subscribe()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// A number that no other request has.
    pub(crate) fn draw(&self) -> u128 {
        self.inner.draw.next()
    }

    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.inner.plane
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn limits(&self) -> &RequestLimits {
        &self.inner.limits
    }

    pub(crate) fn capacity(&self) -> &Capacity {
        &self.inner.capacity
    }
}
