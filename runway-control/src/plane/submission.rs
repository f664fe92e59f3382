//! The result of a submission: a job, or why there is none.

use crate::backend::CreateError;
use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::{Decision, JobId};
use std::sync::Arc;

/// A job that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It was admitted and created.
    Created {
        /// The job.
        job: Arc<JobRecord>,
        /// Why it was admitted; `None` where an earlier request with the same key had been.
        decision: Option<Box<Decision>>,
    },
    /// It had been submitted before with the same key: this is how it is now.
    Replayed {
        /// The job.
        job: Arc<JobRecord>,
    },
}

impl Submitted {
    /// The job.
    #[must_use]
    pub const fn job(&self) -> &Arc<JobRecord> {
        match self {
            Self::Created { job, .. } | Self::Replayed { job } => job,
        }
    }

    /// The outcome under which metrics and the audit record count it.
    #[must_use]
    pub const fn outcome(&self) -> SubmissionOutcome {
        match self {
            Self::Created { .. } => SubmissionOutcome::Created,
            Self::Replayed { .. } => SubmissionOutcome::Replayed,
        }
    }

    /// The decision that admitted the job; `None` if an earlier submission with the same key was admitted.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Created { decision, .. } => decision.as_deref(),
            Self::Replayed { .. } => None,
        }
    }
}

/// Why a submission made no job, or may not have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// The ledger has not been rebuilt yet.
    #[error("not ready: the jobs that run have not been counted yet")]
    NotReady,
    /// The gate refused it; the decision says why.
    #[error("refused by the policy")]
    Refused(Box<Decision>),
    /// The key was used for another job.
    #[error("this idempotency key was used for another job, `{id}`; use a new key for a new job")]
    KeyReused {
        /// That job.
        id: JobId,
    },
    /// A request with this key is being worked on.
    #[error("a request with this idempotency key is being worked on; try again in a moment")]
    InFlight {
        /// Its job.
        id: JobId,
    },
    /// The backend did not create the admitted job, or may not have. After [`CreateError::Uncertain`] the hold stays until
    /// the outcome is known; to submit again with the same key is safe.
    #[error("{}", create_message(*id, error))]
    Create {
        /// The id that the job has, if it was created.
        id: JobId,
        /// Why.
        error: CreateError,
    },
}

fn create_message(id: JobId, error: &CreateError) -> String {
    match error {
        CreateError::Uncertain(cause) => {
            format!("whether the job `{id}` was created is not known yet: {cause}")
        }
        error => error.to_string(),
    }
}
