//! One line for every outcome of a submission. With its decision and the policy of that digest, anyone can decide it again:
//! [`runway_core::gate::replay`].

use crate::request::id::RequestIds;
use runway_core::{Decision, JobId};

/// The target of these lines, to keep or to send elsewhere.
pub const TARGET: &str = "runway::audit";

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SubmissionOutcome {
    /// A job was created.
    Created,
    /// It had been created before, under the same key.
    Replayed,
    /// The document could not be read.
    Unreadable,
    /// The gate refused it.
    Refused,
    /// Its key is in use, or was used for another job.
    KeyConflict,
    /// The tenant has too many submissions under way.
    TooManySubmissions,
    /// The backend turned it down.
    Rejected,
    /// The backend could not be reached, or the server is not ready.
    Unavailable,
    /// Whether it was created is not known yet.
    Uncertain,
}

impl SubmissionOutcome {
    /// Those that have no violation to name.
    pub(crate) const WITHOUT_CODE: [Self; 7] = [
        Self::Created,
        Self::Replayed,
        Self::KeyConflict,
        Self::TooManySubmissions,
        Self::Rejected,
        Self::Unavailable,
        Self::Uncertain,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replayed => "replayed",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::KeyConflict => "key-conflict",
            Self::TooManySubmissions => "too-many-submissions",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Uncertain => "uncertain",
        }
    }
}

/// What is told of a submission. Nothing of it holds the value of a variable or a secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub outcome: SubmissionOutcome,
    /// Empty where that cannot be read.
    pub tenant: &'a str,
    pub job: Option<JobId>,
    pub decision: Option<&'a Decision>,
    pub detail: &'a str,
}

/// Writes the line.
pub(crate) fn log(request: &RequestIds, line: Line<'_>) {
    let Line { outcome, tenant, job, decision, detail } = line;
    let outcome = outcome.as_str();
    let job = job.map(|id| id.to_string());
    let decision = decision.and_then(|decision| serde_json::to_string(decision).ok());
    tracing::info!(
        target: TARGET,
        outcome,
        tenant,
        job = job.as_deref(),
        request = request.id.as_str(),
        trace = request.trace.id(),
        detail,
        decision = decision.as_deref(),
        "submission"
    );
}
