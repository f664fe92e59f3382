//! Tests of the audit log.

use crate::harness::{Harness, long_running, sleep_seconds, start};
use runway_control::backend::JobRef;
use runway_control::fake::{Fault, Response};
use runway_control::service::{SubmissionReport, SubmissionRequest, SubmissionService};
use runway_control::{AUDIT_TARGET, ControlPlane, RequestIdentity, Settings};
use runway_core::document::parse_json;
use runway_core::gate::{DecisionInputs, replay};
use runway_core::status::Phase;
use runway_testing::env::in_virtual_time;
use runway_testing::faults::{ScriptedFaults, response_fault};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// The fields of one line of the audit log. `message` is the kind of the line.
type Line = BTreeMap<&'static str, String>;

/// Collects the audit log of the current thread.
#[derive(Clone, Default)]
struct AuditLog(Arc<Mutex<Vec<Line>>>);

impl AuditLog {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// Returns the lines since the last call.
    fn take(&self) -> Vec<Line> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Subscriber for AuditLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == AUDIT_TARGET
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(Line);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

async fn submit(service: &SubmissionService, job: &str) -> SubmissionReport {
    let document = parse_json(job.as_bytes()).unwrap();
    let identity = RequestIdentity { request_id: "request", trace_id: "trace" };
    let tenant = Some("a".to_owned());
    service.submit(SubmissionRequest { document: &document, tenant, key: None }, identity).await
}

const JOB: &str = r#"{"name": "train", "image": "registry.internal/embed:1.8.0"}"#;

fn field(lines: &[Line], name: &str) -> Vec<String> {
    lines.iter().map(|line| line.get(name).cloned().unwrap_or_default()).collect()
}

fn assert_replays(plane: &ControlPlane, line: &Line) {
    let logged: serde_json::Value = serde_json::from_str(&line["decision"]).unwrap();
    let inputs: DecisionInputs = serde_json::from_value(logged["basis"].clone()).unwrap();
    let again = replay(&plane.policy(), &inputs).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), line["decision"]);
}

#[test]
fn admitted_job_has_a_line_for_its_decision_and_its_outcome() {
    let (log, _guard) = AuditLog::start();
    in_virtual_time(async {
        // Each case has the responses to the create requests, and the outcome.
        for (responses, outcome) in [
            (vec![], "created"),
            (vec![response_fault(Response::Lost)], "created"),
            (vec![response_fault(Response::Rejected)], "rejected"),
            (vec![response_fault(Response::Unreachable)], "unavailable"),
            (vec![response_fault(Response::RequestLost); 50], "uncertain"),
        ] {
            let harness = Harness::ready(long_running().with_creates(responses)).await;
            let service = SubmissionService::new(harness.plane.clone(), 1);
            submit(&service, JOB).await;
            let lines = log.take();
            assert_eq!(field(&lines, "message"), ["admitted", "submission"]);
            assert_eq!(field(&lines, "outcome"), ["", outcome]);
            assert_eq!(field(&lines, "tenant"), ["a", "a"]);
            assert_eq!(field(&lines, "request"), ["request", "request"]);
            assert!(!lines[0]["job"].is_empty() && lines[0]["job"] == lines[1]["job"], "{lines:?}");
            assert_replays(&harness.plane, &lines[0]);
        }
    });
}

#[test]
fn refused_job_has_one_line_with_its_decision() {
    let (log, _guard) = AuditLog::start();
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let service = SubmissionService::new(harness.plane.clone(), 1);
        submit(&service, r#"{"name": "Train", "image": "registry.internal/embed:1.8.0"}"#).await;
        let lines = log.take();
        assert_eq!(field(&lines, "message"), ["submission"]);
        assert_eq!(field(&lines, "outcome"), ["refused"]);
        assert_replays(&harness.plane, &lines[0]);
    });
}

#[test]
fn disconnected_client_leaves_both_lines() {
    let (log, _guard) = AuditLog::start();
    in_virtual_time(async {
        let slow = Fault { request_delay: Duration::from_secs(2), ..Fault::default() };
        let harness = Harness::ready(long_running().with_creates([slow])).await;
        let service = SubmissionService::new(harness.plane.clone(), 1);
        assert!(tokio::time::timeout(Duration::from_secs(1), submit(&service, JOB)).await.is_err());
        // The creation still counts as in flight, and its decision is recorded.
        submit(&service, JOB).await;
        let lines = log.take();
        assert_eq!(field(&lines, "message"), ["admitted", "submission"]);
        assert_eq!(field(&lines, "outcome"), ["", "too-many-submissions"]);
        sleep_seconds(5).await;
        assert_eq!(field(&log.take(), "outcome"), ["created"]);
        assert_eq!(harness.cluster.created_jobs().len(), 1);
    });
}

#[test]
fn cancelled_job_has_one_line_when_its_pod_has_terminated() {
    let (log, _guard) = AuditLog::start();
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let service = SubmissionService::new(harness.plane.clone(), 1);
        let id = submit(&service, JOB).await.result.unwrap().job().snapshot.id;
        sleep_seconds(5).await;
        log.take();
        harness.plane.cancel(id).await.unwrap();
        sleep_seconds(5).await;
        assert_eq!(harness.plane.job(id).unwrap().snapshot.status.phase, Phase::Cancelled);
        assert!(log.take().is_empty(), "its pod still terminates, so its cost is not final");
        // The grace of the policy is 30 s.
        sleep_seconds(30).await;
        let lines = log.take();
        assert_eq!(field(&lines, "message"), ["ended"]);
        assert_eq!(field(&lines, "phase"), ["cancelled"]);
        let record = harness.plane.job(id).unwrap();
        assert_eq!(lines[0]["cost_usd"], record.bill(record.observed_at).unwrap().usd.to_string());
    });
}

#[test]
fn end_during_a_restart_is_recorded_at_the_next_start() {
    let (log, _guard) = AuditLog::start();
    in_virtual_time(async {
        let harness = Harness::ready(ScriptedFaults::default()).await;
        let service = SubmissionService::new(harness.plane.clone(), 1);
        let report = submit(&service, JOB).await;
        let JobRef { id, .. } = report.result.unwrap().job().snapshot.job_ref();
        harness.backend.kill();
        sleep_seconds(30).await;
        log.take();
        let (_, plane) = start(&harness.cluster, Settings::default());
        plane.ready().await;
        let lines = log.take();
        assert_eq!(field(&lines, "message"), ["ended"]);
        assert_eq!(field(&lines, "at_start"), ["true"]);
        assert_eq!(field(&lines, "phase"), ["succeeded"]);
        assert_eq!(lines[0]["job"], id.to_string());
        assert_ne!(lines[0]["cost_usd"], "0.000000");
        // The end of a job during the life of the process has a line, too.
        let service = SubmissionService::new(plane, 1);
        submit(&service, JOB).await.result.unwrap();
        sleep_seconds(30).await;
        let lines = log.take();
        assert_eq!(field(&lines, "message"), ["admitted", "submission", "ended"]);
        assert_eq!(lines[2]["at_start"], "false");
    });
}
