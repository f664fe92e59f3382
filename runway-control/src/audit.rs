//! The audit log: one line for every submission, and one for the end of every job.

use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::status::Reason;
use runway_core::units::Timestamp;
use runway_core::{Decision, JobId, Tenant};

/// The log target of audit records, to keep them or to send them elsewhere.
pub const AUDIT_TARGET: &str = "runway::audit";

/// The ids by which a transport and its client find a request in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdentity<'a> {
    /// The id of the request.
    pub request: &'a str,
    /// The id of the trace that the request belongs to.
    pub trace: &'a str,
}

/// The audit record of one submission. It contains no value of a variable or a secret. With its decision and the policy of that
/// digest, anyone can replay the decision: [`runway_core::gate::replay`].
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
            request = identity.request,
            trace = identity.trace,
            detail = self.detail,
            decision = decision.as_deref(),
            "submission"
        );
    }
}

/// Logs the end of a job.
pub(crate) fn log_finished(job: &JobRecord, now: Timestamp) {
    let status = &job.seen.status;
    tracing::info!(
        target: AUDIT_TARGET,
        job = %job.seen.id,
        tenant = %job.seen.tenant,
        phase = status.phase.as_str(),
        reason = status.reason.map_or("", Reason::as_str),
        exit_code = status.exit_code,
        cost_usd = job.bill(now).map(|bill| bill.usd.to_string()),
        "ended"
    );
}
