//! The audit log: one line for each submission, and one for each finished job.

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

/// The audit record of one submission. It contains no values of variables or secrets.
///
/// The decision in the record names the digest of the policy. With the decision and that policy,
/// [`runway_core::gate::replay_line`] repeats the decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditRecord<'a> {
    pub(crate) outcome: SubmissionOutcome,
    pub(crate) tenant: Option<&'a Tenant>,
    pub(crate) job: Option<JobId>,
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

/// Logs the audit record of a job that finished, or that was removed before its end was observed.
pub(crate) fn log_finished(job: &JobRecord, now: Timestamp) {
    let status = &job.snapshot.status;
    tracing::info!(
        target: AUDIT_TARGET,
        job = %job.snapshot.id,
        tenant = %job.snapshot.tenant,
        phase = status.phase.as_str(),
        reason = status.reason.map_or("", Reason::as_str),
        exit_code = status.exit_code,
        cost_usd = job.bill(now).map(|bill| bill.usd.to_string()),
        "ended"
    );
}
