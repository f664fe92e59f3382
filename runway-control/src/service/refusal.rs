//! The refusal of a submission, independent of the transport.

use crate::backend::{CreateError, Unavailable};
use crate::outcome::SubmissionOutcome;
use crate::plane::SubmitError;
use runway_core::code::Remedy;
use runway_core::units::Timestamp;
use runway_core::{Code, Decision, JobId, Violation};
use std::time::Duration;

/// The longest `retry_after` of a refusal.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The `retry_after` of a refusal if the backend is unavailable and returned no time itself.
const BACKEND_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The class of a refusal. A transport maps each class to one of its status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalClass {
    /// No policy would accept the document.
    Malformed,
    /// The policy refuses the job.
    Policy,
    /// The tenant, or all tenants together, exceed the rate limit.
    RateLimited,
    /// The job exceeds a quota or the capacity.
    OverQuota,
    /// The tenant has too many submissions in flight.
    TooManySubmissions,
    /// The key belongs to another job.
    KeyReused,
    /// Another submission with this key is in flight.
    KeyInFlight,
    /// The ledger has not been rebuilt yet.
    NotReady,
    /// The backend rejected the job.
    Rejected,
    /// The backend is unavailable; the job was not created.
    Unavailable,
    /// The job may have been created: the response of the backend was lost.
    Uncertain,
}

impl RefusalClass {
    /// Returns the outcome under which metrics and the audit record count this class.
    #[must_use]
    pub const fn outcome(self) -> SubmissionOutcome {
        match self {
            Self::Malformed | Self::Policy | Self::RateLimited | Self::OverQuota => {
                SubmissionOutcome::Refused
            }
            Self::TooManySubmissions => SubmissionOutcome::TooManySubmissions,
            Self::KeyReused | Self::KeyInFlight => SubmissionOutcome::KeyConflict,
            Self::NotReady | Self::Unavailable => SubmissionOutcome::Unavailable,
            Self::Rejected => SubmissionOutcome::Rejected,
            Self::Uncertain => SubmissionOutcome::Uncertain,
        }
    }

    /// Returns the class for the violations of a decision. The order of precedence is `Malformed`, `Policy`,
    /// `RateLimited`, `OverQuota`.
    fn from_violations(violations: &[Violation]) -> Self {
        let has = |remedy| violations.iter().any(|violation| violation.code.remedy() == remedy);
        if has(Remedy::Document) {
            Self::Malformed
        } else if has(Remedy::Policy) {
            Self::Policy
        } else if has(Remedy::Rate) {
            Self::RateLimited
        } else {
            Self::OverQuota
        }
    }
}

/// A submission that created no job, or may not have created one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionRefusal {
    /// The class.
    pub class: RefusalClass,
    /// The explanation, for people.
    pub message: String,
    /// The violations, if the gate refused the submission.
    pub violations: Vec<Violation>,
    /// The id of the job, if the submission got one.
    pub job_id: Option<JobId>,
    /// The latest time at which enough of the quota becomes available. `None` if this time is unknown, or if
    /// no quota is exceeded.
    pub free_by: Option<Timestamp>,
    /// The time, in whole seconds, after which the same submission can have another result. `None` if waiting
    /// does not help.
    pub retry_after: Option<Duration>,
}

impl SubmissionRefusal {
    fn new(class: RefusalClass, message: String) -> Self {
        Self { class, message, violations: Vec::new(), job_id: None, free_by: None, retry_after: None }
    }

    fn with_job_id(self, id: JobId) -> Self {
        Self { job_id: Some(id), ..self }
    }

    fn with_retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(Duration::from_secs(seconds)), ..self }
    }

    fn with_backend_retry_after(self, cause: &Unavailable) -> Self {
        let retry_after = cause.retry_after.unwrap_or(BACKEND_RETRY_AFTER).min(MAX_RETRY_AFTER);
        self.with_retry_after(retry_after.as_secs().max(1))
    }

    pub(super) fn too_many_submissions(limit: usize) -> Self {
        let message = format!(
            "this tenant has the maximum of {limit} submissions in flight; retry when one has finished"
        );
        Self::new(RefusalClass::TooManySubmissions, message).with_retry_after(1)
    }

    /// Returns the refusal, and the decision if the gate refused.
    pub(super) fn from_error(error: SubmitError, now: Timestamp) -> (Self, Option<Box<Decision>>) {
        let message = error.to_string();
        let refusal = match error {
            SubmitError::Refused(decision) => return (Self::from_decision(&decision, now), Some(decision)),
            SubmitError::NotReady => Self::new(RefusalClass::NotReady, message).with_retry_after(1),
            SubmitError::KeyReused { id } => Self::new(RefusalClass::KeyReused, message).with_job_id(id),
            SubmitError::InFlight { id } => {
                Self::new(RefusalClass::KeyInFlight, message).with_job_id(id).with_retry_after(1)
            }
            SubmitError::Create { id, error } => match error {
                CreateError::IdConflict(_) => Self::new(RefusalClass::KeyReused, message).with_job_id(id),
                CreateError::Rejected { .. } => Self::new(RefusalClass::Rejected, message).with_job_id(id),
                CreateError::Unavailable(cause) => {
                    let refusal = Self::new(RefusalClass::Unavailable, message).with_job_id(id);
                    refusal.with_backend_retry_after(&cause)
                }
                CreateError::Uncertain(cause) => {
                    let refusal = Self::new(RefusalClass::Uncertain, message).with_job_id(id);
                    refusal.with_backend_retry_after(&cause)
                }
            },
        };
        (refusal, None)
    }

    fn from_decision(decision: &Decision, now: Timestamp) -> Self {
        let violations = decision.violations();
        let class = RefusalClass::from_violations(violations);
        let refusal = decision.refusal();
        let wait = |until: Timestamp| {
            let seconds = until.nanos_since(now).div_ceil(1_000_000_000);
            Duration::from_secs(seconds.max(1)).min(MAX_RETRY_AFTER)
        };
        let (retry_after, free_by) = match class {
            RefusalClass::RateLimited => (refusal.and_then(|refusal| refusal.retry_at).map(wait), None),
            RefusalClass::OverQuota => {
                let free_by = refusal.and_then(|refusal| refusal.free_by);
                (Some(free_by.map_or(MAX_RETRY_AFTER, wait)), free_by)
            }
            _ => (None, None),
        };
        let message = match violations {
            [one] => one.message.clone(),
            [first, rest @ ..] => format!("{}, and {} more", first.message, rest.len()),
            [] => String::new(),
        };
        let violations = violations.to_vec();
        Self { violations, free_by, retry_after, ..Self::new(class, message) }
    }

    pub(super) fn code(&self) -> Option<Code> {
        self.violations.first().map(|violation| violation.code)
    }
}
