//! The status of a Kubernetes Job, derived from the Job, its Pods and its Events. The order of the objects
//! does not matter.
//!
//! The conditions of the Job decide whether it has finished. Only they record a deadline, because Kubernetes
//! deletes the pods after a deadline. The pods explain the outcome, and the events explain pods that were
//! never observed.
//!
//! A condition counts only if its status is `True`. `FailureTarget` and `SuccessCriteriaMet` announce an end;
//! the job has not finished yet.

mod admission;
mod attempts;
mod container;
mod context;
mod deadline;
mod event;
mod finished;
mod job;
mod kubectl_list;
mod node;
mod pod;
mod rules;
mod scheduler;
mod suspension;
#[cfg(test)]
mod tests;
mod time;
mod unfinished;
mod verdict;

pub use event::{created_pod, is_evidence};
pub use kubectl_list::{KubectlList, KubectlListError};
pub use pod::{has_run, is_active, is_less_informative};

use super::Status;
use crate::price::AttemptSpan;
use context::Context;
use event::Events;
use job::{Condition, ObservedJob};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use pod::ObservedPod;
use verdict::Verdict;

/// The Kubernetes objects of one job.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobObjects<'a> {
    /// The Job. `None` if it no longer exists.
    pub job: Option<&'a Job>,
    /// The pods of the job, in any order.
    pub pods: &'a [Pod],
    /// The last observed states of pods that no longer exist. They occupy no resources, but they are evidence
    /// and are billed.
    pub gone_pods: &'a [Pod],
    /// Earlier states of the same pods, in any order. The caller must keep an earlier state if
    /// [`is_less_informative`] returns `true` for a later one. These states are only evidence.
    pub earlier_pods: &'a [Pod],
    /// The events of the job and of its pods, in any order.
    pub events: &'a [Event],
}

/// Returns the status of a job.
///
/// ```
/// use runway_core::status::{JobObjects, Phase, Reason, classify};
///
/// let job = serde_json::from_value(serde_json::json!({
///     "metadata": {"name": "embed"},
///     "spec": {"activeDeadlineSeconds": 60, "template": {"spec": {"containers": []}}},
///     "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]},
/// }))?;
/// let status = classify(&JobObjects { job: Some(&job), ..JobObjects::default() });
/// assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
/// assert_eq!(status.message, "took longer than its timeout of 1m");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn classify(objects: &JobObjects<'_>) -> Status {
    let context = Context { job: objects.job.map(ObservedJob), events: Events::new(objects.events) };
    let pods = ObservedPod::all(objects, &context);
    let attempts = attempts::count_attempts(&context, &pods);
    let classifier = Classifier { context: &context, pods, attempts };
    if classifier.job().is_none() && classifier.pods.is_empty() {
        return Status::gone();
    }
    let verdict = classifier.verdict();
    let occupies_resources = classifier.pods.iter().any(ObservedPod::is_active)
        || (classifier.job().is_some() && !verdict.phase.is_final());
    Status {
        phase: verdict.phase,
        reason: verdict.reason,
        message: verdict.message,
        hint: verdict.hint,
        exit_code: classifier.exit_code(verdict.phase),
        attempts: classifier.attempts(),
        evidence: verdict.evidence,
        started_at: classifier.first_start(),
        finished_at: verdict.finished_at,
        since: verdict.finished_at.or_else(|| classifier.state_since()),
        attempt_spans: classifier.attempt_spans(),
        occupies_resources,
        ends_by_itself: classifier.lost_node().is_none(),
    }
}

/// Derives the status of one job from its Kubernetes objects.
struct Classifier<'a> {
    context: &'a Context<'a>,
    /// The pods, oldest first.
    pods: Vec<ObservedPod<'a>>,
    /// The number of pods that were created for the job.
    attempts: u32,
}

impl<'a> Classifier<'a> {
    fn job(&self) -> Option<ObservedJob<'a>> {
        self.context.job
    }

    fn events(&self) -> &'a Events<'a> {
        &self.context.events
    }

    /// Returns the node that does not respond, if an active pod of the job is on such a node.
    fn lost_node(&self) -> Option<pod::LostNode> {
        self.pods.iter().rev().find_map(ObservedPod::lost_node)
    }

    /// Returns the time since which the newest pod has been in its present state.
    fn state_since(&self) -> Option<crate::units::Timestamp> {
        let newest = self.pods.iter().rev().find(|pod| pod.is_active());
        newest.or_else(|| self.pods.last()).and_then(ObservedPod::state_since)
    }

    /// Returns the times during which the pods had nodes. Only one pod exists at a time, unless the Job runs
    /// several. So a pod without a known end ended at the latest when the next one was created.
    fn attempt_spans(&self) -> Vec<AttemptSpan> {
        let next = self.pods.iter().skip(1).map(ObservedPod::created).chain([None]);
        let mut spans: Vec<_> = self
            .pods
            .iter()
            .zip(next)
            .filter_map(|(pod, next)| {
                let span = pod.attempt_span()?;
                let next = next.filter(|_| !self.has_multiple_pods() && !pod.is_active());
                Some(AttemptSpan { ended: span.ended.or(next), ..span })
            })
            .collect();
        spans.sort_by_key(|span| (span.scheduled, span.ended));
        spans
    }

    fn verdict(&self) -> Verdict {
        let Some(job) = self.job() else { return self.without_job() };
        // A cancelled Job often has the condition `Failed`, and sometimes `Complete`. Such a condition
        // counts only if it precedes the deletion. Times have a resolution of one second: if both times are
        // equal, `Complete` counts and `Failed` is attributed to the deletion.
        let cancelled = job.deletion_evidence().zip(job.cancelled_at());
        let deleted_at = job.deleted_at().or(job.cancelled_at().and_then(|at| at.parse().ok()));
        let precedes_deletion = |condition: &Condition<'_>| {
            let times = condition.since().zip(deleted_at);
            let is_complete = condition.inner.type_ == "Complete";
            cancelled.is_none() || times.is_none_or(|(since, at)| since < at || (is_complete && since == at))
        };
        // Before Kubernetes 1.31, a Job can have a final condition while its pods still terminate. A watch
        // can also report changes of the Job and of its pods in any order.
        let has_active_pods = self.pods.iter().any(ObservedPod::is_active);
        if let Some(complete) = job.condition("Complete").filter(precedes_deletion) {
            if has_active_pods {
                return self.succeeding(job, complete);
            }
            let finished_at = job.completed_at().or_else(|| complete.since());
            return Verdict {
                finished_at,
                ..self.succeeded().with_evidence(job.condition_evidence(complete))
            };
        }
        if let Some(failed) = job.condition("Failed").filter(precedes_deletion) {
            if has_active_pods {
                return self.failing(job, failed);
            }
            let finished_at = failed.since().or_else(|| self.last_end());
            return Verdict { finished_at, ..self.failed(job, failed) };
        }
        if let Some((deletion, cancelled_at)) = cancelled {
            return self.cancelled(job, deletion, cancelled_at);
        }
        let mut verdict = self.unfinished(job);
        if let Some(deletion) = job.deletion_evidence() {
            verdict.evidence.push(deletion);
            verdict.message.push_str("; its Job is being deleted, but not by Runway");
            verdict.add_hint("another client is deleting the Job; cancel jobs through Runway instead");
        }
        verdict
    }
}
