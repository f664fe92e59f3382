//! Callbacks of the submission loop.

use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::Code;
use runway_core::units::Timestamp;
use std::fmt;
use std::time::Duration;

/// Callbacks of the submission loop, for metrics and logs. A callback must not block, because the loop calls
/// it inline.
pub trait Observer: Send + Sync + 'static {
    /// The gate decided on a submission.
    fn decided(&self, took: Duration) {
        let _ = took;
    }

    /// The [`SubmissionService`](crate::service::SubmissionService) finished a submission. `code` is the
    /// first violation, if the submission was refused or its document could not be read.
    fn submitted(&self, outcome: SubmissionOutcome, code: Option<Code>, now: Timestamp) {
        let _ = (outcome, code, now);
    }

    /// The backend responded to a create request, with success or with an error.
    fn create_answered(&self, took: Duration) {
        let _ = took;
    }

    /// A job finished, or it was removed from the backend before its end was observed. Jobs that finished
    /// before this process started are not reported.
    fn ended(&self, job: &JobRecord, now: Timestamp) {
        let _ = (job, now);
    }
}

/// An observer that does nothing.
pub(crate) struct Nobody;

impl Observer for Nobody {}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
