//! The result of a submission.

use crate::backend::CreateError;
use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::{Decision, JobId};
use std::sync::Arc;

/// A submission that has a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// The job was admitted and created.
    Created {
        /// The job.
        job: Arc<JobRecord>,
        /// The decision that admitted the job. `None` if an earlier submission with the same key was
        /// admitted.
        decision: Option<Box<Decision>>,
    },
    /// An earlier submission with the same key created the job.
    Replayed {
        /// The current record of the job.
        job: Arc<JobRecord>,
    },
}

impl Submitted {
    /// Returns the job.
    #[must_use]
    pub const fn job(&self) -> &Arc<JobRecord> {
        match self {
            Self::Created { job, .. } | Self::Replayed { job } => job,
        }
    }

    /// Returns the outcome under which metrics and the audit record count this result.
    #[must_use]
    pub const fn outcome(&self) -> SubmissionOutcome {
        match self {
            Self::Created { .. } => SubmissionOutcome::Created,
            Self::Replayed { .. } => SubmissionOutcome::Replayed,
        }
    }

    /// Returns the decision that admitted the job. `None` if an earlier submission with the same key was
    /// admitted.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Created { decision, .. } => decision.as_deref(),
            Self::Replayed { .. } => None,
        }
    }
}

/// The error of a submission that created no job, or may not have created one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// The ledger has not been rebuilt yet.
    #[error("not ready: the backend's jobs have not been listed yet")]
    NotReady,
    /// The gate refused the submission. The decision has the reasons.
    #[error("refused by the policy")]
    Refused(Box<Decision>),
    /// The key belongs to another job.
    #[error("this idempotency key was used for another job, `{id}`; use a new key for a new job")]
    KeyReused {
        /// The id of the job that the key belongs to.
        id: JobId,
    },
    /// Another submission with this key is in flight, or the job of the key is not recorded yet.
    #[error("another request with this idempotency key is in flight; retry in a moment")]
    InFlight {
        /// The id of the job of the key.
        id: JobId,
    },
    /// The backend did not create the admitted job, or may not have created it. After
    /// [`CreateError::Uncertain`] the hold stays until the outcome is known; a second submission with the
    /// same key is safe.
    #[error("{}", create_message(*id, error))]
    Create {
        /// The id that the job has, if it was created.
        id: JobId,
        /// The error of the backend.
        error: CreateError,
    },
}

fn create_message(id: JobId, error: &CreateError) -> String {
    match error {
        CreateError::Uncertain(cause) => {
            format!("it is not known yet whether the job `{id}` was created: {cause}")
        }
        error => error.to_string(),
    }
}
