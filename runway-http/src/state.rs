//! State that all requests share.

use crate::concurrency::ConcurrencyLimits;
use crate::hosts::HostRules;
use crate::limits::RequestLimits;
use crate::metrics::Metrics;
use crate::pages::overview::RenderedOverview;
use crate::request_id::RequestIdGen;
use crate::scoped_cache::ScopedCache;
use runway_control::ControlPlane;
use runway_control::service::SubmissionService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// State that all requests share. Clones refer to the same state.
#[derive(Debug, Clone)]
pub struct AppState {
    inner: Arc<Inner>,
    host_rules: Option<Arc<HostRules>>,
    requires_access: bool,
}

#[derive(Debug)]
struct Inner {
    service: SubmissionService,
    metrics: Arc<Metrics>,
    limits: RequestLimits,
    concurrency: ConcurrencyLimits,
    request_ids: RequestIdGen,
    overview: ScopedCache<RenderedOverview>,
    stopping: AtomicBool,
    draining: watch::Sender<bool>,
}

impl AppState {
    /// Creates the state for a control plane. `metrics` must observe this control plane.
    #[must_use]
    pub fn new(plane: ControlPlane, metrics: Arc<Metrics>, limits: RequestLimits) -> Self {
        let concurrency = ConcurrencyLimits::new(&limits);
        metrics.register_plane(&plane, concurrency.clone());
        let service = SubmissionService::new(plane, limits.max_tenant_submissions);
        let (stopping, draining) = (AtomicBool::new(false), watch::Sender::new(false));
        Self {
            inner: Arc::new(Inner {
                service,
                metrics,
                limits,
                concurrency,
                request_ids: RequestIdGen::default(),
                overview: ScopedCache::default(),
                stopping,
                draining,
            }),
            host_rules: None,
            requires_access: false,
        }
    }

    /// Returns this state with rules on the hosts of requests. Without rules, no host is checked.
    #[must_use]
    pub fn with_host_rules(self, rules: HostRules) -> Self {
        Self { host_rules: Some(Arc::new(rules)), ..self }
    }

    /// Returns this state for a server that requires client certificates. A request without an
    /// [`Access`](crate::Access) is then rejected. Otherwise, such a request has full access.
    #[must_use]
    pub fn with_required_access(self) -> Self {
        Self { requires_access: true, ..self }
    }

    pub(crate) fn requires_access(&self) -> bool {
        self.requires_access
    }

    pub(crate) fn host_rules(&self) -> Option<&HostRules> {
        self.host_rules.as_deref()
    }

    /// Marks the server as shutting down. It is no longer ready.
    pub fn mark_stopping(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// Starts to drain the server: aborts followed logs, and ends the event streams of the overview page.
    pub fn begin_drain(&self) {
        self.inner.draining.send_replace(true);
    }

    /// Returns a receiver whose value becomes `true` when the drain starts.
    pub(crate) fn subscribe_draining(&self) -> watch::Receiver<bool> {
        self.inner.draining.subscribe()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// Returns a new number from which the ids of a request are generated.
    pub(crate) fn next_request_id(&self) -> u128 {
        self.inner.request_ids.next()
    }

    pub(crate) fn service(&self) -> &SubmissionService {
        &self.inner.service
    }

    pub(crate) fn plane(&self) -> &ControlPlane {
        self.inner.service.plane()
    }

    /// Returns the rendered parts of the overview page.
    pub(crate) fn overview(&self) -> &ScopedCache<RenderedOverview> {
        &self.inner.overview
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn limits(&self) -> &RequestLimits {
        &self.inner.limits
    }

    pub(crate) fn concurrency(&self) -> &ConcurrencyLimits {
        &self.inner.concurrency
    }
}
