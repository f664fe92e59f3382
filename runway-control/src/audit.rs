//! The audit log: the decision on each admitted job, the outcome of each submission, and the end of each job.

use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::status::Reason;
use runway_core::units::Timestamp;
use runway_core::{Decision, JobId, Tenant};

/// The log target of the audit records. A subscriber can select them by this target.
pub const AUDIT_TARGET: &str = "runway::audit";

/// The ids that connect an audit record to a request of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdentity<'a> {
    /// The id of the request.
    pub request_id: &'a str,
    /// The id of the trace that the request belongs to.
    pub trace_id: &'a str,
}

/// A copy of a [`RequestIdentity`] that outlives the request.
#[derive(Debug, Clone)]
pub(crate) struct OwnedIdentity {
    request_id: String,
    trace_id: String,
}

impl From<RequestIdentity<'_>> for OwnedIdentity {
    fn from(identity: RequestIdentity<'_>) -> Self {
        Self { request_id: identity.request_id.to_owned(), trace_id: identity.trace_id.to_owned() }
    }
}

impl OwnedIdentity {
    pub(crate) fn borrow(&self) -> RequestIdentity<'_> {
        RequestIdentity { request_id: &self.request_id, trace_id: &self.trace_id }
    }
}

/// The audit record of the outcome of one submission. It contains no values of variables or secrets.
///
/// The decision in the record names the digest of the policy. With the decision and that policy,
/// [`runway_core::gate::replay_line`] repeats the decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditRecord<'a> {
    pub(crate) outcome: SubmissionOutcome,
    pub(crate) tenant: Option<&'a Tenant>,
    pub(crate) job: Option<JobId>,
    /// The decision that refused the job. [`log_decision`] records the decision that admitted a job, before the
    /// creation.
    pub(crate) decision: Option<&'a Decision>,
    pub(crate) detail: &'a str,
}

impl AuditRecord<'_> {
    pub(crate) fn log(&self, identity: RequestIdentity<'_>) {
        let job = self.job.map(|id| id.to_string());
        let decision = self.decision.and_then(|decision| serde_json::to_string(decision).ok());
        tracing::info!(
            target: AUDIT_TARGET,
            outcome = self.outcome.as_str(),
            tenant = self.tenant.map_or("", Tenant::as_str),
            job = job.as_deref(),
            request = identity.request_id,
            trace = identity.trace_id,
            detail = self.detail,
            decision = decision.as_deref(),
            "submission"
        );
    }
}

/// Logs the decision that admitted a job, before the job is created.
pub(crate) fn log_decision(
    identity: RequestIdentity<'_>,
    tenant: Option<&Tenant>,
    job: JobId,
    decision: &Decision,
) {
    let decision = serde_json::to_string(decision).ok();
    tracing::info!(
        target: AUDIT_TARGET,
        tenant = tenant.map_or("", Tenant::as_str),
        job = %job,
        request = identity.request_id,
        trace = identity.trace_id,
        decision = decision.as_deref(),
        "admitted"
    );
}

/// Logs the audit record of a job that finished, or that was removed before its end was observed. `at_start`
/// is true for a job that had finished before this process read its first list. Another process may have
/// logged the same end.
pub(crate) fn log_finished(job: &JobRecord, now: Timestamp, at_start: bool) {
    let status = &job.snapshot.status;
    tracing::info!(
        target: AUDIT_TARGET,
        job = %job.snapshot.id,
        tenant = %job.snapshot.tenant,
        phase = status.phase.as_str(),
        reason = status.reason.map_or("", Reason::as_str),
        exit_code = status.exit_code,
        cost_usd = job.bill(now).map(|bill| bill.usd.to_string()),
        at_start,
        "ended"
    );
}
