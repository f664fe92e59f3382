//! Metrics in the OpenMetrics text format. The values of each label are a fixed set, and clients cannot
//! extend it. So the number of series is bounded.

use crate::concurrency::ConcurrencyLimits;
use crate::refusals::{RefusalCount, RefusalWindow};
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use runway_control::{ControlPlane, JobRecord, Observer, SubmissionOutcome};
use runway_core::Code;
use runway_core::status::{Phase, Reason};
use runway_core::units::Timestamp;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The media type of the metrics.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Histogram bounds in seconds for operations within the process.
const LOCAL_BUCKETS: [f64; 12] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1];

/// Histogram bounds in seconds for operations that include network calls.
const NETWORK_BUCKETS: [f64; 12] = [1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// All metrics of the server.
pub struct Metrics {
    registry: Mutex<Registry>,
    submissions: Family<SubmissionLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    decision_seconds: Histogram,
    create_seconds: Histogram,
    finished_jobs: Family<FinishedLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    policy_is_current: Gauge,
    connections: Gauge,
    refusals: Mutex<RefusalWindow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubmissionLabels {
    outcome: &'static str,
    code: CodeLabel,
}

/// A label with the code of the first violation. The label is empty if there is no violation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CodeLabel(Option<Code>);

/// The labels of a request. Unknown methods and unknown paths share one value each, so clients cannot add
/// series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    method: &'static str,
    route: MatchedRoute,
}

/// The route that matches the request. The label is `none` if no route matches.
#[derive(Debug, Clone)]
struct MatchedRoute(Option<MatchedPath>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: MatchedRoute,
    status: u16,
}

impl RouteLabels {
    pub(crate) fn from_request(request: &Request) -> Self {
        let route = MatchedRoute(request.extensions().get::<MatchedPath>().cloned());
        Self { method: method_label(request.method()), route }
    }

    pub(crate) fn path(&self) -> &str {
        self.route.as_str()
    }
}

impl MatchedRoute {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl PartialEq for MatchedRoute {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for MatchedRoute {}

impl Hash for MatchedRoute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for MatchedRoute {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FinishedLabels {
    phase: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

impl EncodeLabelValue for CodeLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.map_or("", Code::as_str).encode(encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("runway");
        let request_seconds =
            Family::new_with_constructor((|| Histogram::new(NETWORK_BUCKETS)) as fn() -> Histogram);
        let metrics = Self {
            submissions: Family::default(),
            requests: Family::default(),
            request_seconds,
            decision_seconds: Histogram::new(LOCAL_BUCKETS),
            create_seconds: Histogram::new(NETWORK_BUCKETS),
            finished_jobs: Family::default(),
            reloads: Family::default(),
            policy_is_current: Gauge::default(),
            connections: Gauge::default(),
            refusals: Mutex::default(),
            registry: Mutex::default(),
        };
        registry.register(
            "submissions",
            "Submissions by outcome and by the code of the first violation",
            metrics.submissions.clone(),
        );
        registry.register(
            "http_requests",
            "HTTP responses by method, route and status",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its response",
            Unit::Seconds,
            metrics.request_seconds.clone(),
        );
        registry.register_with_unit(
            "decision_duration",
            "Time that the gate takes to decide on a submission",
            Unit::Seconds,
            metrics.decision_seconds.clone(),
        );
        registry.register_with_unit(
            "create_duration",
            "Time that the backend takes to respond to a create request",
            Unit::Seconds,
            metrics.create_seconds.clone(),
        );
        registry.register("jobs_ended", "Finished jobs by phase and reason", metrics.finished_jobs.clone());
        registry.register("policy_reloads", "Policy reloads by result", metrics.reloads.clone());
        registry.register(
            "policy_last_reload_successful",
            "Whether the current policy file is the active policy",
            metrics.policy_is_current.clone(),
        );
        registry.register("http_connections", "Open HTTP connections", metrics.connections.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Build information", build);
        // Create the series of all reload results, and of the outcomes without a code, in advance. So they
        // are exported as 0 before their first event.
        for result in RELOAD_RESULTS {
            drop(metrics.reloads.get_or_create(&ReloadLabels { result }));
        }
        for outcome in SubmissionOutcome::ALL.into_iter().filter(|outcome| !outcome.has_code()) {
            let outcome = outcome.as_str();
            drop(metrics.submissions.get_or_create(&SubmissionLabels { outcome, code: CodeLabel(None) }));
        }
        metrics.policy_is_current.set(1);
        Self { registry: Mutex::new(registry), ..metrics }
    }
}

const RELOAD_RESULTS: [&str; 2] = ["applied", "failed"];

impl Metrics {
    /// Adds metrics of the control plane and of the concurrency limits. Their values are read at each scrape.
    pub(crate) fn register_plane(&self, plane: &ControlPlane, concurrency: ConcurrencyLimits) {
        let collector = Box::new(PlaneCollector { plane: plane.clone(), concurrency });
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(collector);
    }

    /// Encodes all metrics as text.
    pub(crate) fn encode_text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    /// Returns the refusals of the last hour by code.
    pub(crate) fn refusals_last_hour(&self, now: Timestamp) -> Vec<RefusalCount> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).counts(now)
    }

    pub(crate) fn record_request(&self, route: RouteLabels, status: StatusCode, duration: Duration) {
        let RouteLabels { method, route: label } = route.clone();
        self.requests.get_or_create(&RequestLabels { method, route: label, status: status.as_u16() }).inc();
        self.request_seconds.get_or_create(&route).observe(duration.as_secs_f64());
    }

    /// Counts a reload of the policy by its result.
    pub(crate) fn record_reload(&self, applied: bool) {
        let [applied_label, failed_label] = RELOAD_RESULTS;
        self.reloads
            .get_or_create(&ReloadLabels { result: if applied { applied_label } else { failed_label } })
            .inc();
    }

    /// Records whether the current content of the policy file is the active policy.
    pub(crate) fn set_policy_is_current(&self, is_current: bool) {
        self.policy_is_current.set(is_current.into());
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(crate) fn count_connection(&self) -> ConnectionGuard {
        self.connections.inc();
        ConnectionGuard(self.connections.clone())
    }
}

/// Returns the `method` label. Unknown methods become `other`, so that clients cannot add series.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

pub(crate) struct ConnectionGuard(Gauge);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Observer for Metrics {
    fn on_submission(&self, outcome: SubmissionOutcome, code: Option<Code>, now: Timestamp) {
        if let (SubmissionOutcome::Refused, Some(code)) = (outcome, code) {
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).record(code, now);
        }
        let outcome = outcome.as_str();
        self.submissions.get_or_create(&SubmissionLabels { outcome, code: CodeLabel(code) }).inc();
    }

    fn on_decision(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    fn on_create_response(&self, took: Duration) {
        self.create_seconds.observe(took.as_secs_f64());
    }

    fn on_finished(&self, job: &JobRecord, _: Timestamp) {
        let status = &job.snapshot.status;
        let (phase, reason) = (status.phase.as_str(), status.reason.map_or("", Reason::as_str));
        self.finished_jobs.get_or_create(&FinishedLabels { phase, reason }).inc();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Collects gauges and counters from the control plane and the concurrency limits at each scrape.
#[derive(Debug)]
struct PlaneCollector {
    plane: ControlPlane,
    concurrency: ConcurrencyLimits,
}

impl Collector for PlaneCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (usage, pending) = self.plane.cluster_usage();
        let policy = self.plane.policy();
        let limits = policy.capacity();
        let watch = self.plane.watch_state();
        let now = self.plane.now();
        let silence = watch.last_event_at.map(|last| now.nanos_since(last) / 1_000_000_000);
        let gauges: [(&str, &str, u64); 10] = [
            ("gpus_held", "GPUs held by jobs", usage.gpus),
            ("gpus_limit", "GPU capacity of all tenants together", limits.gpus.units()),
            ("jobs_held", "Jobs that count against the capacity", usage.jobs),
            ("jobs_limit", "Job capacity of all tenants together", limits.concurrent_jobs.into()),
            (
                "jobs_on_lost_nodes",
                "Jobs on nodes that do not respond, which can outlive their deadline",
                to_u64(self.plane.jobs_on_lost_nodes()),
            ),
            ("creations_pending", "Create requests whose outcome is not known yet", to_u64(pending)),
            ("ready", "Whether the server accepts submissions", self.plane.is_ready().into()),
            ("watch_connected", "Whether the watch of the backend works", watch.connected.into()),
            (
                "http_requests_in_progress",
                "HTTP requests in progress",
                to_u64(self.concurrency.requests_in_use()),
            ),
            ("log_readers", "Connected log readers", to_u64(self.concurrency.log_readers_in_use())),
        ];
        for (name, help, value) in gauges {
            encode_gauge(&mut encoder, name, help, value)?;
        }
        if let Some(seconds) = silence {
            encode_gauge(
                &mut encoder,
                "watch_silence_seconds",
                "Seconds since the last response from the backend to its watch",
                seconds,
            )?;
        }
        let counters = [
            ("watch_restarts", "Times that the watch of the backend was interrupted", watch.interruptions),
            ("backend_lists", "Complete lists received from the backend", watch.lists),
            ("ledger_drift", "Holds that a list corrected", watch.drift),
            (
                "ignored_objects",
                "Objects with the labels of Runway that belong to no job in the namespace of its tenant",
                watch.ignored_objects,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let phases = self.plane.phases();
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("jobs", "Jobs by phase", None, kind)?;
        for phase in Phase::ALL {
            let value = ConstGauge::new(to_i64(to_u64(phases.get(&phase).copied().unwrap_or_default())));
            let label = [("phase", phase.as_str())];
            value.encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

fn encode_gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(to_i64(value));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
