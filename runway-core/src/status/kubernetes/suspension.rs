//! Jobs that are suspended, or were suspended and resumed.
//!
//! Runway suspends a Job until its Secret exists, and marks it with an annotation. Every other suspension comes
//! from another client, such as a queue.

use super::Classifier;
use super::job::ObservedJob;
use super::pod::ObservedPod;
use super::time::whole_seconds;
use super::verdict::Verdict;
use crate::status::Phase;
use crate::status::cause::quoted;

impl Classifier<'_> {
    /// Returns the verdict on a suspended Job. Its pods may still be terminating.
    pub(super) fn suspended(&self, job: ObservedJob<'_>) -> Verdict {
        let has_active_pods = self.pods.iter().any(ObservedPod::is_active);
        let phase = if has_active_pods { Phase::Running } else { Phase::Pending };
        let ending = if has_active_pods { "; its pod is being terminated" } else { "" };
        let ran = if self.attempts() > 0 { ", after it had a pod" } else { "" };
        let proof = job.evidence("spec.suspend", "true");
        if job.is_incomplete() {
            let mut verdict = Verdict::new(phase, "suspended: no pod is created").with_evidence(proof);
            verdict.add_hint("Runway starts it once the job's secrets exist");
            return verdict;
        }
        let mut verdict = match job.queue() {
            Some(queue) => {
                let answer = self.events().queue_answer();
                let detail = answer.as_ref().map(|(answer, _)| format!(": {answer}")).unwrap_or_default();
                let stopped = if self.attempts() > 0 { "suspended by Kueue, and waits" } else { "waits" };
                let message = format!("{stopped} in the Kueue queue {}{detail}{ending}", quoted(queue));
                let mut verdict = Verdict::new(phase, message).with_evidence(proof);
                verdict.evidence.extend(answer.map(|(_, evidence)| evidence));
                verdict
                    .add_hint("the queue decides when it starts; ask the owner of the queue about its quota");
                verdict
            }
            None => {
                let message = format!("suspended by another client{ran}: no pod is created{ending}");
                let mut verdict = Verdict::new(phase, message).with_evidence(proof);
                verdict.add_hint(
                    "it starts again when that client sets `spec.suspend` to false; no object names the client",
                );
                verdict
            }
        };
        verdict.add_hint(&format!(
            "each resume restarts the deadline, so the job can run longer than its price covers; it holds {}",
            self.occupied_resources()
        ));
        verdict
    }

    /// Returns whether the Job was resumed after it had a pod. Runway's own resume precedes the first pod.
    pub(super) fn was_resumed(&self) -> bool {
        let Some(resumed) = self.job().and_then(|job| job.resumed_at()) else { return false };
        let is_earlier = |pod: &ObservedPod<'_>| pod.created().is_some_and(|created| created < resumed);
        self.pods.iter().any(is_earlier)
            || self.events().first_creation().is_some_and(|created| created < resumed)
    }

    /// Describes an earlier suspension. Empty if there was none.
    pub(super) fn resumption_text(&self) -> String {
        let resumed = self.job().and_then(|job| job.resumed_at()).filter(|_| self.was_resumed());
        resumed.map_or_else(String::new, |at| {
            format!(
                "; another client suspended it and resumed it at {}, so it has another pod and a new deadline",
                whole_seconds(at)
            )
        })
    }
}
