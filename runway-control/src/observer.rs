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
    fn on_decision(&self, took: Duration) {
        let _ = took;
    }

    /// The [`SubmissionService`](crate::service::SubmissionService) finished a submission. `code` is the
    /// first violation, if the submission was refused or its document could not be read.
    fn on_submission(&self, outcome: SubmissionOutcome, code: Option<Code>, now: Timestamp) {
        let _ = (outcome, code, now);
    }

    /// The backend responded to a create request, with success or with an error.
    fn on_create_response(&self, took: Duration) {
        let _ = took;
    }

    /// A job finished, or it was removed from the backend before its end was observed. Jobs that finished
    /// before this process started are not reported.
    fn on_finished(&self, job: &JobRecord, now: Timestamp) {
        let _ = (job, now);
    }
}

/// An observer that does nothing.
pub(crate) struct NoopObserver;

impl Observer for NoopObserver {}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
