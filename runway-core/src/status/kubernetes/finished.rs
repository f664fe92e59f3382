//! The verdicts on jobs that have finished, or are about to finish.

use super::Classifier;
use super::job::{Condition, ObservedJob};
use super::pod::{HasRun, ObservedPod};
use super::verdict::Verdict;
use crate::render::label;
use crate::status::cause::{Cause, quoted};
use crate::status::{Evidence, Phase, Reason, Status};
use crate::units::Timestamp;

impl Classifier<'_> {
    pub(super) fn succeeded(&self) -> Verdict {
        let attempt = self.attempt_suffix(self.attempts());
        match self.success_note() {
            Some(note) => Verdict::new(Phase::Succeeded, format!("succeeded{attempt}, {}", note.description))
                .with_cause(note),
            None => Verdict::new(Phase::Succeeded, format!("succeeded{attempt}")),
        }
    }

    /// Returns what limits the success: a child process was killed, or the pod was being stopped.
    fn success_note(&self) -> Option<Cause> {
        if self.pods.iter().any(ObservedPod::has_succeeded) {
            return self.pods.iter().rev().filter(|pod| pod.has_succeeded()).find_map(ObservedPod::cause);
        }
        // Only the events of the pod are left. The kubelet stops the main container of a pod only if the pod is
        // being deleted or evicted. The Job controller does not delete a pod that succeeds.
        let (name, events) = self.events().newest_pod()?;
        if self.has_multiple_pods() || self.pods.iter().any(|pod| pod.name() == Some(name)) {
            return None;
        }
        let by_job = self.events().job_deleted(Some(name));
        let cause = events.stop_cause(self.context.main_container(), by_job)?;
        let description = format!("but its pod was being stopped when it ended: {}", cause.description);
        let hint = "the results may be incomplete; check them, or submit the job again".to_owned();
        Some(Cause { description, hint: Some(hint), ..cause })
    }

    /// Returns the verdict on a job that failed or is about to fail.
    pub(super) fn failed(&self, job: ObservedJob<'_>, condition: Condition<'_>) -> Verdict {
        let proof = job.condition_evidence(condition);
        if condition.reason() == Some("DeadlineExceeded") {
            return self.deadline_exceeded(job).with_first_evidence(proof);
        }
        let indexes = job.failed_indexes().map(|indexes| format!("; failed indexes: {}", quoted(indexes)));
        let indexes = indexes.unwrap_or_default();
        let rejected = self.rejections_before(self.pods.len());
        if let Some((cause, attempt)) = self.strongest_cause() {
            let times = if rejected > 1 {
                format!(", as were {} pods before it", rejected.saturating_sub(1))
            } else {
                String::new()
            };
            let message = format!("{}{times}{}{indexes}", cause.description, self.attempt_suffix(attempt));
            return Verdict::new(Phase::Failed, message).with_cause(cause).with_evidence(proof);
        }
        if let Some(cause) = self.events().rejection(self.newest_creation()) {
            return Verdict::new(Phase::Failed, cause.description.clone())
                .with_cause(cause)
                .with_evidence(proof);
        }
        let message = condition.inner.message.as_deref().filter(|message| !message.is_empty());
        let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
        let suffix = self.attempt_suffix(self.attempts());
        let mut verdict =
            Verdict::new(Phase::Failed, format!("failed{suffix}{detail}{indexes}")).with_evidence(proof);
        // The condition of a pod failure policy names the container and its exit code.
        if matches!(condition.reason(), Some("BackoffLimitExceeded") | None) {
            verdict.reason = Some(Reason::BackoffLimitExceeded);
            verdict
                .add_hint("no pod of the job exists to show the cause; check the logs, if they are stored");
        } else {
            verdict.add_hint("the Job names the cause; check the logs, if they are stored");
        }
        verdict
    }

    pub(super) fn cancelled(&self, job: ObservedJob<'_>, deletion: Evidence, cancelled_at: &str) -> Verdict {
        let at = cancelled_at.parse::<Timestamp>().ok();
        let has_active_pods = self.pods.iter().any(ObservedPod::is_active);
        let lost = self.lost_node();
        let ending = match &lost {
            Some(lost) => format!("; {}, and its pod may still run there", lost.text()),
            None if has_active_pods => "; its pods are being terminated".to_owned(),
            None => String::new(),
        };
        let mut verdict = Verdict::new(Phase::Cancelled, format!("cancelled{ending}"))
            .with_evidence(
                job.evidence(format!("metadata.annotations['{}']", label::CANCELLED), cancelled_at),
            )
            .with_evidence(deletion);
        if let Some(lost) = lost {
            verdict.add_hint(&super::node::lost_node_hint(&lost.node));
            verdict.evidence.push(lost.evidence);
        }
        verdict.finished_at = if has_active_pods {
            None
        } else {
            self.last_end().max(self.latest_possible_end()).or(job.deleted_at()).or(at)
        };
        verdict
    }

    /// Returns the verdict on a job that has failed and whose pods may still run.
    pub(super) fn failing(&self, job: ObservedJob<'_>, condition: Condition<'_>) -> Verdict {
        let mut verdict = self.failed(job, condition);
        verdict.phase = Phase::Running;
        if self.lost_node().is_some() {
            return verdict;
        }
        verdict.message.push_str(match self.has_ever_run() {
            HasRun::No if !self.pods.is_empty() => "; it has failed, and its pod is being deleted",
            _ => "; it has failed, and its pods are being terminated",
        });
        verdict
    }

    /// Returns the verdict on a job that has succeeded and whose pods may still run.
    pub(super) fn succeeding(&self, job: ObservedJob<'_>, condition: Condition<'_>) -> Verdict {
        let message = "has succeeded; its pods are being terminated";
        Verdict::new(Phase::Running, message).with_evidence(job.condition_evidence(condition))
    }

    /// Returns the verdict on a job whose Job object no longer exists, or on a pod without a Job.
    pub(super) fn without_job(&self) -> Verdict {
        let had_job = self.pods.iter().any(ObservedPod::belongs_to_a_job);
        let without_job = if had_job { "; its Job no longer exists" } else { "" };
        if let Some(mut verdict) = self.active_pods_verdict() {
            verdict.message.push_str(without_job);
            return verdict;
        }
        let finished_at = self.last_end().max(self.latest_possible_end());
        if self.pods.iter().any(ObservedPod::has_succeeded) {
            return Verdict { finished_at, ..self.succeeded() };
        }
        let Some(last) = self.pods.last() else {
            return Verdict::new(Phase::Unknown, Status::gone().message);
        };
        let failed = last.has_ended() && (!had_job || !last.ended_by_deletion());
        match last.cause() {
            // A Job would retry an attempt that a node ended, so the disruption does not prove a failure.
            Some(cause) if failed && (!had_job || cause.reason != Some(Reason::Disrupted)) => {
                let suffix = if had_job { self.attempt_suffix(self.attempts()) } else { String::new() };
                let message = format!("{}{suffix}{without_job}", cause.description);
                Verdict { finished_at, ..Verdict::new(Phase::Failed, message).with_cause(cause) }
            }
            None if failed => Verdict {
                finished_at,
                ..Verdict::new(Phase::Failed, format!("failed for an unknown reason{without_job}"))
            },
            _ => Verdict { finished_at, ..Verdict::new(Phase::Unknown, Status::gone().message) },
        }
    }
}
