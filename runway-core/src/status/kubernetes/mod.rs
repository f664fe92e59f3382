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
mod listing;
mod node;
mod pod;
mod scheduler;
#[cfg(test)]
mod tests;
mod time;
mod verdict;

pub use listing::{Listing, ListingError};
pub use pod::{has_run, lives, says_less};

use super::{Evidence, Phase, Reason, Status};
use crate::status::cause::quoted;
use crate::units::Timestamp;
use event::Events;
use job::{Condition, SeenJob};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use pod::{HasRun, SeenPod};
use verdict::Verdict;

/// The Kubernetes objects of one job.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// The Job. `None` if it no longer exists.
    pub job: Option<&'a Job>,
    /// The pods of the job, in any order.
    pub pods: &'a [Pod],
    /// The last observed states of pods that no longer exist. They occupy no resources, but they are evidence
    /// and are billed.
    pub gone_pods: &'a [Pod],
    /// Earlier states of the same pods, at most one for each pod. Keep the states for which
    /// [`is_less_informative`] returns `true`. They are only evidence.
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
pub fn classify(seen: &Seen<'_>) -> Status {
    let case =
        Case { job: seen.job.map(SeenJob), pods: SeenPod::all(seen), events: Events::new(seen.events) };
    if case.job.is_none() && case.pods.is_empty() {
        return Status::gone();
    }
    let verdict = case.verdict();
    let holds = case.pods.iter().any(SeenPod::lives) || (case.job.is_some() && !verdict.phase.is_final());
    let mut runs: Vec<_> = case.pods.iter().filter_map(SeenPod::run).collect();
    runs.sort_by_key(|run| (run.scheduled, run.ended));
    Status {
        phase: verdict.phase,
        reason: verdict.reason,
        message: verdict.message,
        hint: verdict.hint,
        exit_code: case.exit_code(verdict.phase),
        attempts: case.attempts(),
        evidence: verdict.evidence,
        started_at: case.job.and_then(|job| job.started_at()),
        finished_at: verdict.finished_at,
        runs,
        holds,
    }
}

/// Derives the status of one job from its Kubernetes objects.
struct Case<'a> {
    job: Option<SeenJob<'a>>,
    /// The pods, oldest first.
    pods: Vec<SeenPod<'a>>,
    events: Events<'a>,
}

impl Case<'_> {
    fn verdict(&self) -> Verdict {
        let Some(job) = self.job else { return self.orphaned() };
        // A cancelled job often looks failed, and sometimes succeeded. A condition counts if it precedes the
        // deletion. Times have a resolution of one second: if both times are equal, `Complete` counts and
        // `Failed` is attributed to the deletion.
        let cancelled = job.deletion().zip(job.cancellation());
        let deleted_at = job.deleted_at().or(job.cancellation().and_then(|at| at.parse().ok()));
        let is_earlier = |condition: &Condition<'_>| {
            let times = condition.since().zip(deleted_at);
            let is_complete = condition.is.type_ == "Complete";
            cancelled.is_none() || times.is_none_or(|(since, at)| since < at || (is_complete && since == at))
        };
        // Before Kubernetes 1.31, a Job can have a final condition while its pods still terminate. Job and
        // pod events can also arrive in any order.
        let lives = self.pods.iter().any(SeenPod::lives);
        if let Some(complete) = job.condition("Complete").filter(is_earlier) {
            if lives {
                return self.succeeding(job, complete);
            }
            let finished_at = job.completed_at().or_else(|| complete.since());
            return Verdict { finished_at, ..self.succeeded().seen(job.proof(complete)) };
        }
        if let Some(failed) = job.condition("Failed").filter(is_earlier) {
            if lives {
                return self.failing(job, failed);
            }
            let finished_at = failed.since().or_else(|| self.last_end());
            return Verdict { finished_at, ..self.failed(job, failed) };
        }
        if let Some((deletion, cancelled_at)) = cancelled {
            return self.cancelled(job, deletion, cancelled_at);
        }
        match job.deletion() {
            Some(deletion) => {
                let mut verdict = self.open(job).seen(deletion);
                verdict.message.push_str("; its Job is being deleted, but not by Runway");
                verdict.advise("another client is deleting the Job; cancel jobs through Runway instead");
                verdict
            }
            None => self.open(job),
        }
    }

    fn succeeded(&self) -> Verdict {
        let attempt = self.nth(self.attempts());
        let note =
            self.pods.iter().rev().filter(|pod| pod.has_succeeded()).find_map(|pod| pod.cause(&self.events));
        match note {
            Some(note) => {
                Verdict::new(Phase::Succeeded, format!("succeeded{attempt}, {}", note.what)).because(note)
            }
            None => Verdict::new(Phase::Succeeded, format!("succeeded{attempt}")),
        }
    }

    /// Returns the verdict on a job that failed or is about to fail.
    fn failed(&self, job: SeenJob<'_>, condition: Condition<'_>) -> Verdict {
        let proof = job.proof(condition);
        if condition.reason() == Some("DeadlineExceeded") {
            return self.too_late(job).seen_first(proof);
        }
        if let Some((cause, attempt)) = self.strongest_cause() {
            let message = format!("{}{}", cause.what, self.nth(attempt));
            return Verdict::new(Phase::Failed, message).because(cause).seen(proof);
        }
        if let Some(cause) = self.events.rejection(self.newest_creation()) {
            return Verdict::new(Phase::Failed, cause.what.clone()).because(cause).seen(proof);
        }
        let told = condition.is.message.as_deref().filter(|message| !message.is_empty());
        let told = told.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
        let mut verdict =
            Verdict::new(Phase::Failed, format!("failed{}{told}", self.nth(self.attempts()))).seen(proof);
        if matches!(condition.reason(), Some("BackoffLimitExceeded" | "PodFailurePolicy") | None) {
            verdict.reason = Some(Reason::BackoffLimitExceeded);
        }
        verdict.advise("no pod of the job exists to show the cause; check the logs, if they are stored");
        verdict
    }

    fn cancelled(&self, job: SeenJob<'_>, deletion: Evidence, cancelled_at: &str) -> Verdict {
        let at = cancelled_at.parse::<Timestamp>().ok();
        let lives = self.pods.iter().any(SeenPod::lives);
        let ending = if lives { "; its pods are being terminated" } else { "" };
        let mut verdict = Verdict::new(Phase::Cancelled, format!("cancelled{ending}"))
            .seen(job.evidence(
                format!("metadata.annotations['{}']", crate::render::label::CANCELLED),
                cancelled_at,
            ))
            .seen(deletion);
        verdict.finished_at =
            if lives { None } else { self.last_end().max(self.lost_end()).or(job.deleted_at()).or(at) };
        verdict
    }

    /// Returns the verdict on a failed job with pods that have not terminated, as far as observed.
    fn failing(&self, job: SeenJob<'_>, condition: Condition<'_>) -> Verdict {
        let mut verdict = self.failed(job, condition);
        verdict.phase = Phase::Running;
        verdict.message.push_str(match self.ran() {
            HasRun::No if !self.pods.is_empty() => "; it has failed, and its pod is being deleted",
            _ => "; it has failed, and its pods are being terminated",
        });
        verdict
    }

    /// Returns the verdict on a successful job with pods that have not terminated, as far as observed.
    fn succeeding(&self, job: SeenJob<'_>, condition: Condition<'_>) -> Verdict {
        let message = "has succeeded; its pods are being terminated";
        Verdict::new(Phase::Running, message).seen(job.proof(condition))
    }

    /// Returns the verdict on a job that is neither finished nor being cancelled.
    fn open(&self, job: SeenJob<'_>) -> Verdict {
        if let Some(target) = job.condition("FailureTarget") {
            return self.failing(job, target);
        }
        if let Some(met) = job.condition("SuccessCriteriaMet") {
            return self.succeeding(job, met);
        }
        if let Some(verdict) = self.living() {
            return verdict;
        }
        if job.is_suspended() {
            let mut verdict = Verdict::new(Phase::Pending, "suspended: no pod is created");
            verdict.evidence.push(job.evidence("spec.suspend", "true"));
            verdict.advise(
                "it starts when `spec.suspend` is false; Runway sets that once the job's secrets exist",
            );
            return verdict;
        }
        let (active, ready) = job.has_active();
        if let Some(cause) = self.events.rejection(self.newest_creation()).filter(|_| !active) {
            let mut verdict = Verdict::new(Phase::Pending, cause.what.clone()).because(cause);
            verdict.advise(&format!("it holds {}", self.holdings()));
            return verdict;
        }
        if let Some(last) = self.pods.last() {
            return self.between(last);
        }
        match (ready, active, job.counted_attempts() > 0) {
            (true, ..) => Verdict::new(Phase::Running, format!("runs{}", self.nth(self.attempts()))),
            (false, true, _) => Verdict::new(Phase::Pending, "its pod was created, and has not been observed yet"),
            (false, false, true) => Verdict::new(
                Phase::Running,
                format!("ended{}; the next step is not decided yet", self.nth(self.attempts())),
            ),
            (false, false, false) => Verdict::new(Phase::Pending, "no pod has been created yet"),
        }
    }

    /// Returns the verdict of the active pods, or `None` if no pod is active.
    fn living(&self) -> Option<Verdict> {
        let living = || self.pods.iter().enumerate().rev().filter(|(_, pod)| pod.lives());
        if let Some((index, pod)) = living().find(|(_, pod)| pod.runs()) {
            let waits = pod.waits_to_restart();
            let doing = match &waits {
                Some(_) => "waits for its restart, which its node delays after repeated failures",
                None if pod.is_being_deleted() => "is terminating",
                None => "runs",
            };
            let message = format!("{doing}{}", self.nth(self.ordinal(index)));
            let mut verdict = Verdict::new(Phase::Running, message);
            verdict.evidence.extend(waits.or_else(|| pod.proof()));
            // The cause is another container of the pod that has failed, or the node.
            if let Some(cause) = pod.cause(&self.events).filter(|cause| !cause.weak) {
                verdict.message = format!("{}; {}", verdict.message, cause.what);
                return Some(verdict.because(cause));
            }
            if let Some((cause, attempt)) = self.cause_before(index) {
                let before = if self.is_of_many() {
                    "another of its pods".to_owned()
                } else {
                    format!("attempt {attempt}")
                };
                verdict.message = format!("{}; {before}: {}", verdict.message, cause.what);
                verdict.evidence.extend(cause.evidence);
            }
            return Some(verdict);
        }
        let (index, pod) = living().next()?;
        let nth = self.nth(self.ordinal(index));
        let Some(cause) = pod.cause(&self.events) else {
            let message = if pod.is_preparing() {
                "its init containers are running"
            } else if pod.is_scheduled() {
                "scheduled; its image is being pulled and its container created"
            } else if pod.is_gated() {
                "blocked by a scheduling gate"
            } else {
                "waits for a node"
            };
            let mut verdict = Verdict::new(Phase::Pending, format!("{message}{nth}"));
            verdict.evidence.extend(pod.proof());
            return Some(verdict);
        };
        let waits = matches!(cause.reason, Reason::Unschedulable | Reason::PodsRejected);
        let may_pass = container::may_pass(&cause);
        let holdings = self.holdings();
        let mut verdict = Verdict::new(Phase::Pending, format!("{}{nth}", cause.what)).because(cause);
        verdict.advise(&if waits {
            format!("until then it holds {holdings}")
        } else if may_pass {
            format!("its node retries with growing delays; until then it holds {holdings}")
        } else {
            format!("it cannot start without a change, and holds {holdings}; cancel it")
        });
        Some(verdict)
    }

    /// Returns the verdict on a job whose pods have all terminated, before the Job has reported the outcome.
    fn between(&self, last: &SeenPod<'_>) -> Verdict {
        let nth = self.nth(self.attempts());
        if last.has_succeeded() {
            let verdict = self.succeeded();
            let message = format!("{}; its Job has not reported it yet", verdict.message);
            return Verdict { phase: Phase::Running, message, ..verdict };
        }
        let next = if self.is_of_many() { "more pods" } else { "another attempt" };
        match last.cause(&self.events) {
            Some(cause) => {
                let message = format!("{}{nth}; {next} or the end of the job follows", cause.what);
                Verdict::new(Phase::Running, message).because(cause)
            }
            None => Verdict::new(Phase::Running, format!("ended{nth}; {next} or the end of the job follows")),
        }
    }

    /// Returns the verdict on a job whose Job object no longer exists.
    fn orphaned(&self) -> Verdict {
        if let Some(mut verdict) = self.living() {
            verdict.message.push_str("; its Job no longer exists");
            return verdict;
        }
        let finished_at = self.last_end().max(self.lost_end());
        if self.pods.iter().any(SeenPod::has_succeeded) {
            return Verdict { finished_at, ..self.succeeded() };
        }
        let Some(last) = self.pods.last() else {
            return Verdict::new(Phase::Unknown, Status::gone().message);
        };
        let failed = last.has_ended() && !last.ended_by_deletion();
        match last.cause(&self.events) {
            // A Job would retry an attempt that a node ended, so the disruption does not prove a failure.
            Some(cause) if failed && cause.reason != Reason::Disrupted => {
                let message = format!("{}{}; its Job no longer exists", cause.what, self.nth(self.attempts()));
                Verdict { finished_at, ..Verdict::new(Phase::Failed, message).because(cause) }
            }
            None if failed => Verdict {
                finished_at,
                ..Verdict::new(Phase::Failed, "failed for an unknown reason; its Job no longer exists")
            },
            _ => Verdict { finished_at, ..Verdict::new(Phase::Unknown, Status::gone().message) },
        }
    }

    /// Describes the resources that the job occupies, and until when.
    fn holdings(&self) -> String {
        let devices = self.job.and_then(|job| job.devices());
        let what = devices.map_or_else(|| "its resources".to_owned(), |devices| format!("its {devices}"));
        match self.job.and_then(|job| job.timeout()) {
            Some(timeout) => format!("{what} until its deadline, {timeout} after its start"),
            None => format!("{what} indefinitely, because it has no deadline"),
        }
    }
}
