//! The verdict on a job that did not finish before its deadline.

use super::Classifier;
use super::job::ObservedJob;
use super::pod::{HasRun, ObservedPod, events_show_held_open, keeps_open_hint};
use super::verdict::Verdict;
use crate::status::{Phase, Reason};

impl Classifier<'_> {
    pub(super) fn deadline_exceeded(&self, job: ObservedJob<'_>) -> Verdict {
        let timeout = job.timeout().map(|timeout| format!(" of {timeout}")).unwrap_or_default();
        let mut verdict = self
            .lost_node_at_deadline(&timeout)
            .or_else(|| self.held_open_until_deadline(&timeout))
            .unwrap_or_else(|| self.too_slow(&timeout));
        verdict.reason = Some(Reason::DeadlineExceeded);
        verdict
    }

    fn too_slow(&self, timeout: &str) -> Verdict {
        let cause = self.strongest_cause().map(|(cause, _)| cause);
        let cause = cause.or_else(|| self.events().rejection(self.newest_creation()));
        let cause =
            cause.filter(|cause| !cause.low_confidence && cause.reason != Some(Reason::DeadlineExceeded));
        match (self.has_ever_run(), cause) {
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
                let resumption = self.resumption_text();
                let suffix = if attempts > 1 && resumption.is_empty() {
                    self.attempt_suffix(attempts)
                } else {
                    String::new()
                };
                let earlier_cause =
                    cause.map(|cause| format!("; before that: {}", cause.description)).unwrap_or_default();
                let message =
                    format!("took longer than its timeout{timeout}{suffix}{earlier_cause}{resumption}");
                let mut verdict = Verdict::new(Phase::Failed, message);
                verdict.add_hint(
                    "raise `timeout` within the policy's bounds, or give the job less work; the timeout includes retries, \
                     waiting for a node, and pulling the image",
                );
                if !resumption.is_empty() {
                    verdict.add_hint(
                        "it ran longer than its price covers, because the resume restarted its deadline",
                    );
                }
                verdict
            }
        }
    }

    /// Returns the verdict if the node of the newest pod did not respond at the deadline.
    fn lost_node_at_deadline(&self, timeout: &str) -> Option<Verdict> {
        let last = self.pods.last()?;
        if let Some(lost) = last.lost_node() {
            let message =
                format!("{}; its timeout{timeout} has passed, and it may still run there", lost.text());
            let mut verdict = Verdict::new(Phase::Failed, message);
            verdict.evidence.push(lost.evidence);
            verdict.hint = Some(super::node::lost_node_hint(&lost.node));
            return Some(verdict);
        }
        if !last.was_on_lost_node() {
            return None;
        }
        let cause = last.cause().filter(|cause| cause.reason == Some(Reason::Disrupted))?;
        let message = format!("lost its node before its timeout{timeout} passed: {}", cause.description);
        let mut verdict = Verdict::new(Phase::Failed, message);
        verdict.hint = cause.hint;
        verdict.evidence = cause.evidence;
        Some(verdict)
    }

    /// Returns the verdict if the work had ended, and another container kept the pod open until the deadline.
    fn held_open_until_deadline(&self, timeout: &str) -> Option<Verdict> {
        let observed = self.pods.last().map(ObservedPod::was_held_open);
        let from_events = || {
            let (_, events) = self.events().newest_pod()?;
            events_show_held_open(&events, self.context.main_container()?)
        };
        let (companion, code) = observed.unwrap_or_else(from_events)?;
        let ended = code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
        let message = format!(
            "its work ended{ended}, but the container {companion} kept its pod open until the timeout{timeout}"
        );
        let mut verdict = Verdict::new(Phase::Failed, message);
        verdict.hint = Some(keeps_open_hint(&companion));
        Some(verdict)
    }
}
