//! Callbacks of the control plane.

use crate::jobs::JobRecord;
use crate::outcome::SubmissionOutcome;
use runway_core::Code;
use runway_core::units::Timestamp;
use std::fmt;
use std::time::Duration;

/// Callbacks of the control plane and the submission service, for metrics and logs.
///
/// A callback must not block, because it delays the submission or the watch that calls it. `on_decision` must
/// not call the control plane, because it runs while the state of the control plane is locked.
pub trait Observer: Send + Sync + 'static {
    /// The gate decided on a submission. `took` is the duration of the decision.
    fn on_decision(&self, took: Duration) {
        let _ = took;
    }

    /// The [`SubmissionService`](crate::service::SubmissionService) finished a submission. `code` is the code
    /// of the first violation. It is `None` if there is no violation.
    fn on_submission(&self, outcome: SubmissionOutcome, code: Option<Code>, now: Timestamp) {
        let _ = (outcome, code, now);
    }

    /// One attempt to create a job ended, with success, with an error, or without a response. `took` is the
    /// duration of the attempt.
    fn on_create_response(&self, took: Duration) {
        let _ = took;
    }

    /// A job finished and released its resources, or it was removed from the backend before its end was
    /// observed. Jobs that finished before this process started are not reported.
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
