//! The verdict on a job that did not finish before its deadline.

use super::Classifier;
use super::job::ObservedJob;
use super::pod::HasRun;
use super::verdict::Verdict;
use crate::status::{Phase, Reason};

impl Classifier<'_> {
    pub(super) fn deadline_exceeded(&self, job: ObservedJob<'_>) -> Verdict {
        let timeout = job.timeout().map(|timeout| format!(" of {timeout}")).unwrap_or_default();
        let cause = self.strongest_cause().map(|(cause, _)| cause);
        let cause = cause.or_else(|| self.events.rejection(self.newest_creation()));
        let cause = cause.filter(|cause| !cause.low_confidence && cause.reason != Reason::DeadlineExceeded);
        let mut verdict = match (self.has_ever_run(), cause) {
            (HasRun::No, Some(cause)) => {
                let message = format!("never ran within its timeout{timeout}: {}", cause.description);
                let mut verdict = Verdict::new(Phase::Failed, message);
                verdict.hint = cause.hint;
                verdict.evidence = cause.evidence;
                verdict
            }
            (HasRun::No, None) if !self.pods.is_empty() => {
                let message = format!("never ran within its timeout{timeout}; the cause is unknown");
                let mut verdict = Verdict::new(Phase::Failed, message);
                verdict.add_hint("the timeout includes waiting for a node and pulling the image");
                verdict
            }
            (HasRun::Unknown, cause) => {
                let detail =
                    cause.as_ref().map(|cause| format!(": {}", cause.description)).unwrap_or_default();
                let message = format!(
                    "did not end within its timeout{timeout}; whether it ever ran is unknown{detail}"
                );
                let mut verdict = Verdict::new(Phase::Failed, message);
                verdict.evidence = cause.map(|cause| cause.evidence).unwrap_or_default();
                verdict.add_hint("check the logs, if they are stored");
                verdict
            }
            (HasRun::Yes | HasRun::No, cause) => {
                let attempts = self.attempts();
                let suffix = if attempts > 1 { self.attempt_suffix(attempts) } else { String::new() };
                let earlier_cause =
                    cause.map(|cause| format!("; before that: {}", cause.description)).unwrap_or_default();
                let message = format!("took longer than its timeout{timeout}{suffix}{earlier_cause}");
                let mut verdict = Verdict::new(Phase::Failed, message);
                verdict.add_hint(
                    "raise `timeout` within the policy's bounds, or give the job less work; the timeout includes retries, \
                     waiting for a node, and pulling the image",
                );
                verdict
            }
        };
        verdict.reason = Some(Reason::DeadlineExceeded);
        verdict
    }
}
