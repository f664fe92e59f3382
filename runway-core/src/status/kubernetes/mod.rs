//! The status of a Kubernetes Job, derived from the Job, its Pods and its Events. The order of the objects
//! does not matter.
//!
//! The conditions of the Job decide whether it has finished. Only they record a deadline, because Kubernetes
//! deletes the pods after a deadline. The pods explain the outcome, and the events explain pods that were
//! never observed.
//!
//! A condition counts only if its status is `True`. `FailureTarget` and `SuccessCriteriaMet` announce an end;
//! the job has not finished yet.

mod attempts;
mod container;
mod deadline;
mod event;
mod job;
mod kubectl_list;
mod node;
mod pod;
mod scheduler;
#[cfg(test)]
mod tests;
mod time;
mod verdict;

pub use kubectl_list::{KubectlList, KubectlListError};
pub use pod::{has_run, is_active, is_less_informative};

use super::{Evidence, Phase, Reason, Status};
use crate::status::cause::quoted;
use crate::units::Timestamp;
use event::Events;
use job::{Condition, ObservedJob};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use pod::{HasRun, ObservedPod};
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
    /// Earlier states of the same pods, at most one for each pod. The caller must keep an earlier state if
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
    let classifier = Classifier {
        job: objects.job.map(ObservedJob),
        pods: ObservedPod::all(objects),
        events: Events::new(objects.events),
    };
    if classifier.job.is_none() && classifier.pods.is_empty() {
        return Status::gone();
    }
    let verdict = classifier.verdict();
    let occupies_resources = classifier.pods.iter().any(ObservedPod::is_active)
        || (classifier.job.is_some() && !verdict.phase.is_final());
    let mut spans: Vec<_> = classifier.pods.iter().filter_map(ObservedPod::attempt_span).collect();
    spans.sort_by_key(|run| (run.scheduled, run.ended));
    Status {
        phase: verdict.phase,
        reason: verdict.reason,
        message: verdict.message,
        hint: verdict.hint,
        exit_code: classifier.exit_code(verdict.phase),
        attempts: classifier.attempts(),
        evidence: verdict.evidence,
        started_at: classifier.job.and_then(|job| job.started_at()),
        finished_at: verdict.finished_at,
        attempt_spans: spans,
        occupies_resources,
    }
}

/// Derives the status of one job from its Kubernetes objects.
struct Classifier<'a> {
    job: Option<ObservedJob<'a>>,
    /// The pods, oldest first.
    pods: Vec<ObservedPod<'a>>,
    events: Events<'a>,
}

impl Classifier<'_> {
    fn verdict(&self) -> Verdict {
        let Some(job) = self.job else { return self.without_job() };
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
        match job.deletion_evidence() {
            Some(deletion) => {
                let mut verdict = self.unfinished(job).with_evidence(deletion);
                verdict.message.push_str("; its Job is being deleted, but not by Runway");
                verdict.add_hint("another client is deleting the Job; cancel jobs through Runway instead");
                verdict
            }
            None => self.unfinished(job),
        }
    }

    fn succeeded(&self) -> Verdict {
        let attempt = self.attempt_suffix(self.attempts());
        let note =
            self.pods.iter().rev().filter(|pod| pod.has_succeeded()).find_map(|pod| pod.cause(&self.events));
        match note {
            Some(note) => Verdict::new(Phase::Succeeded, format!("succeeded{attempt}, {}", note.description))
                .with_cause(note),
            None => Verdict::new(Phase::Succeeded, format!("succeeded{attempt}")),
        }
    }

    /// Returns the verdict on a job that failed or is about to fail.
    fn failed(&self, job: ObservedJob<'_>, condition: Condition<'_>) -> Verdict {
        let proof = job.condition_evidence(condition);
        if condition.reason() == Some("DeadlineExceeded") {
            return self.deadline_exceeded(job).with_first_evidence(proof);
        }
        if let Some((cause, attempt)) = self.strongest_cause() {
            let message = format!("{}{}", cause.description, self.attempt_suffix(attempt));
            return Verdict::new(Phase::Failed, message).with_cause(cause).with_evidence(proof);
        }
        if let Some(cause) = self.events.rejection(self.newest_creation()) {
            return Verdict::new(Phase::Failed, cause.description.clone())
                .with_cause(cause)
                .with_evidence(proof);
        }
        let message = condition.inner.message.as_deref().filter(|message| !message.is_empty());
        let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
        let mut verdict =
            Verdict::new(Phase::Failed, format!("failed{}{detail}", self.attempt_suffix(self.attempts())))
                .with_evidence(proof);
        if matches!(condition.reason(), Some("BackoffLimitExceeded" | "PodFailurePolicy") | None) {
            verdict.reason = Some(Reason::BackoffLimitExceeded);
        }
        verdict.add_hint("no pod of the job exists to show the cause; check the logs, if they are stored");
        verdict
    }

    fn cancelled(&self, job: ObservedJob<'_>, deletion: Evidence, cancelled_at: &str) -> Verdict {
        let at = cancelled_at.parse::<Timestamp>().ok();
        let has_active_pods = self.pods.iter().any(ObservedPod::is_active);
        let ending = if has_active_pods { "; its pods are being terminated" } else { "" };
        let mut verdict = Verdict::new(Phase::Cancelled, format!("cancelled{ending}"))
            .with_evidence(job.evidence(
                format!("metadata.annotations['{}']", crate::render::label::CANCELLED),
                cancelled_at,
            ))
            .with_evidence(deletion);
        verdict.finished_at = if has_active_pods {
            None
        } else {
            self.last_end().max(self.latest_possible_end()).or(job.deleted_at()).or(at)
        };
        verdict
    }

    /// Returns the verdict on a job that has failed and whose pods may still run.
    fn failing(&self, job: ObservedJob<'_>, condition: Condition<'_>) -> Verdict {
        let mut verdict = self.failed(job, condition);
        verdict.phase = Phase::Running;
        verdict.message.push_str(match self.has_ever_run() {
            HasRun::No if !self.pods.is_empty() => "; it has failed, and its pod is being deleted",
            _ => "; it has failed, and its pods are being terminated",
        });
        verdict
    }

    /// Returns the verdict on a job that has succeeded and whose pods may still run.
    fn succeeding(&self, job: ObservedJob<'_>, condition: Condition<'_>) -> Verdict {
        let message = "has succeeded; its pods are being terminated";
        Verdict::new(Phase::Running, message).with_evidence(job.condition_evidence(condition))
    }

    /// Returns the verdict on a job that is neither finished nor being cancelled.
    fn unfinished(&self, job: ObservedJob<'_>) -> Verdict {
        if let Some(target) = job.condition("FailureTarget") {
            return self.failing(job, target);
        }
        if let Some(met) = job.condition("SuccessCriteriaMet") {
            return self.succeeding(job, met);
        }
        if let Some(verdict) = self.active_pods_verdict() {
            return verdict;
        }
        if job.is_suspended() {
            let mut verdict = Verdict::new(Phase::Pending, "suspended: no pod is created");
            verdict.evidence.push(job.evidence("spec.suspend", "true"));
            verdict.add_hint(
                "it starts when `spec.suspend` is false; Runway sets that once the job's secrets exist",
            );
            return verdict;
        }
        let (active, ready) = job.active_and_ready();
        if let Some(cause) = self.events.rejection(self.newest_creation()).filter(|_| !active) {
            let mut verdict = Verdict::new(Phase::Pending, cause.description.clone()).with_cause(cause);
            verdict.add_hint(&format!("it holds {}", self.occupied_resources()));
            return verdict;
        }
        if let Some(last) = self.pods.last() {
            return self.between_attempts(last);
        }
        match (ready, active, job.counted_attempts() > 0) {
            (true, ..) => {
                Verdict::new(Phase::Running, format!("runs{}", self.attempt_suffix(self.attempts())))
            }
            (false, true, _) => {
                Verdict::new(Phase::Pending, "its pod was created, and has not been observed yet")
            }
            (false, false, true) => Verdict::new(
                Phase::Running,
                format!("ended{}; the next step is not decided yet", self.attempt_suffix(self.attempts())),
            ),
            (false, false, false) => Verdict::new(Phase::Pending, "no pod has been created yet"),
        }
    }

    /// Returns the verdict of the active pods, or `None` if no pod is active.
    fn active_pods_verdict(&self) -> Option<Verdict> {
        let active_pods = || self.pods.iter().enumerate().rev().filter(|(_, pod)| pod.is_active());
        if let Some((index, pod)) = active_pods().find(|(_, pod)| pod.is_running()) {
            let back_off = pod.restart_back_off();
            let activity = match &back_off {
                Some(_) => "waits for its restart, which its node delays after repeated failures",
                None if pod.is_being_deleted() => "is terminating",
                None => "runs",
            };
            let message = format!("{activity}{}", self.attempt_suffix(self.attempt_number(index)));
            let mut verdict = Verdict::new(Phase::Running, message);
            verdict.evidence.extend(back_off.or_else(|| pod.phase_evidence()));
            // A running pod has a cause if another of its containers failed, or if its node disrupts it.
            if let Some(cause) = pod.cause(&self.events).filter(|cause| !cause.low_confidence) {
                verdict.message = format!("{}; {}", verdict.message, cause.description);
                return Some(verdict.with_cause(cause));
            }
            if let Some((cause, attempt)) = self.cause_before(index) {
                let before = if self.has_multiple_pods() {
                    "another of its pods".to_owned()
                } else {
                    format!("attempt {attempt}")
                };
                verdict.message = format!("{}; {before}: {}", verdict.message, cause.description);
                verdict.evidence.extend(cause.evidence);
            }
            return Some(verdict);
        }
        let (index, pod) = active_pods().next()?;
        let suffix = self.attempt_suffix(self.attempt_number(index));
        let Some(cause) = pod.cause(&self.events) else {
            let message = if pod.is_initializing() {
                "its init containers are running"
            } else if pod.is_scheduled() {
                "scheduled; its image is being pulled and its container created"
            } else if pod.has_scheduling_gate() {
                "blocked by a scheduling gate"
            } else {
                "waits for a node"
            };
            let mut verdict = Verdict::new(Phase::Pending, format!("{message}{suffix}"));
            verdict.evidence.extend(pod.phase_evidence());
            return Some(verdict);
        };
        let waits_for_cluster = matches!(cause.reason, Reason::Unschedulable | Reason::PodsRejected);
        let is_transient = container::is_transient(&cause);
        let occupied_resources = self.occupied_resources();
        let mut verdict =
            Verdict::new(Phase::Pending, format!("{}{suffix}", cause.description)).with_cause(cause);
        verdict.add_hint(&if waits_for_cluster {
            format!("while it waits, it holds {occupied_resources}")
        } else if is_transient {
            format!("its node retries with growing delays; while it waits, it holds {occupied_resources}")
        } else {
            format!("it cannot start without a change, and holds {occupied_resources}; cancel it")
        });
        Some(verdict)
    }

    /// Returns the verdict on a job whose pods have all terminated, before the Job has reported the outcome.
    fn between_attempts(&self, last: &ObservedPod<'_>) -> Verdict {
        let suffix = self.attempt_suffix(self.attempts());
        if last.has_succeeded() {
            let verdict = self.succeeded();
            let message = format!("{}; its Job has not reported it yet", verdict.message);
            return Verdict { phase: Phase::Running, message, ..verdict };
        }
        let next = if self.has_multiple_pods() { "more pods" } else { "another attempt" };
        match last.cause(&self.events) {
            Some(cause) => {
                let message = format!("{}{suffix}; {next} or the end of the job follows", cause.description);
                Verdict::new(Phase::Running, message).with_cause(cause)
            }
            None => {
                Verdict::new(Phase::Running, format!("ended{suffix}; {next} or the end of the job follows"))
            }
        }
    }

    /// Returns the verdict on a job whose Job object no longer exists.
    fn without_job(&self) -> Verdict {
        if let Some(mut verdict) = self.active_pods_verdict() {
            verdict.message.push_str("; its Job no longer exists");
            return verdict;
        }
        let finished_at = self.last_end().max(self.latest_possible_end());
        if self.pods.iter().any(ObservedPod::has_succeeded) {
            return Verdict { finished_at, ..self.succeeded() };
        }
        let Some(last) = self.pods.last() else {
            return Verdict::new(Phase::Unknown, Status::gone().message);
        };
        let failed = last.has_ended() && !last.ended_by_deletion();
        match last.cause(&self.events) {
            // A Job would retry an attempt that a node ended, so the disruption does not prove a failure.
            Some(cause) if failed && cause.reason != Reason::Disrupted => {
                let message = format!(
                    "{}{}; its Job no longer exists",
                    cause.description,
                    self.attempt_suffix(self.attempts())
                );
                Verdict { finished_at, ..Verdict::new(Phase::Failed, message).with_cause(cause) }
            }
            None if failed => Verdict {
                finished_at,
                ..Verdict::new(Phase::Failed, "failed for an unknown reason; its Job no longer exists")
            },
            _ => Verdict { finished_at, ..Verdict::new(Phase::Unknown, Status::gone().message) },
        }
    }

    /// Describes the resources that the job occupies, and until when.
    fn occupied_resources(&self) -> String {
        let devices = self.job.and_then(|job| job.devices());
        let description =
            devices.map_or_else(|| "its resources".to_owned(), |devices| format!("its {devices}"));
        match self.job.and_then(|job| job.timeout()) {
            Some(timeout) => format!("{description} until its deadline, {timeout} after its start"),
            None => format!("{description} indefinitely, because it has no deadline"),
        }
    }
}
