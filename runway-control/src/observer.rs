//! Who wants to know what the loop does: for metrics and logs.

use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::Code;
use runway_core::units::Timestamp;
use std::fmt;
use std::time::Duration;

/// Is told what the loop does. Nothing of it may block: the watch waits meanwhile.
pub trait Observer: Send + Sync + 'static {
    /// The gate has decided on a submission.
    fn decided(&self, took: Duration) {
        let _ = took;
    }

    /// The [`SubmissionService`](crate::service::SubmissionService) finished a submission. `code` is the first violation of one that
    /// was refused or could not be read.
    fn submitted(&self, outcome: SubmissionOutcome, code: Option<Code>, now: Timestamp) {
        let _ = (outcome, code, now);
    }

    /// The backend has answered a request to create a job, one way or the other.
    fn create_answered(&self, took: Duration) {
        let _ = took;
    }

    /// A job has come to its end, or has left before its end was seen. Of those that had ended before this process began,
    /// nothing is told.
    fn ended(&self, job: &JobRecord, now: Timestamp) {
        let _ = (job, now);
    }
}

/// Nobody.
pub(crate) struct Nobody;

impl Observer for Nobody {}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
