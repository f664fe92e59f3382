//! What all requests share.

use crate::capacity::Capacity;
use crate::limits::RequestLimits;
use crate::metrics::Metrics;
use crate::request_id::Draw;
use runway_control::ControlPlane;
use runway_control::service::SubmissionService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What all requests share. Clones share it too.
#[derive(Debug, Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    service: SubmissionService,
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
        let service = SubmissionService::new(plane, limits.tenant_submissions);
        let (stopping, draining) = (AtomicBool::new(false), watch::Sender::new(false));
        Self {
            inner: Arc::new(Inner {
                service,
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

    pub(crate) fn service(&self) -> &SubmissionService {
        &self.inner.service
    }

    pub(crate) fn plane(&self) -> &ControlPlane {
        self.inner.service.plane()
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
