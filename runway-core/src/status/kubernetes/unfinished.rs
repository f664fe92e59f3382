//! The verdicts on jobs that wait, run, or are between two attempts.

use super::Classifier;
use super::job::ObservedJob;
use super::node::lost_node_hint;
use super::pod::{HasRun, ObservedPod};
use super::verdict::Verdict;
use crate::status::cause::{Cause, quoted};
use crate::status::{Phase, Reason};

impl Classifier<'_> {
    /// Returns the verdict on a job that is neither finished nor being cancelled.
    pub(super) fn unfinished(&self, job: ObservedJob<'_>) -> Verdict {
        let mut verdict = self.unfinished_here(job);
        if let Some(manager) = job.foreign_manager() {
            let manager = quoted(manager);
            verdict.message = format!(
                "the controller {manager} manages the Job, and its pods and logs are elsewhere; according to its copy here: {}",
                verdict.message
            );
            verdict.hint =
                Some(format!("ask the administrators of the cluster where {manager} runs the Job"));
            verdict.evidence.push(job.evidence("spec.managedBy", manager.trim_matches('`')));
        }
        verdict
    }

    fn unfinished_here(&self, job: ObservedJob<'_>) -> Verdict {
        if let Some(target) = job.condition("FailureTarget") {
            return self.failing(job, target);
        }
        if let Some(met) = job.condition("SuccessCriteriaMet") {
            return self.succeeding(job, met);
        }
        if job.is_suspended() && self.lost_node().is_none() {
            return self.suspended(job);
        }
        if let Some(verdict) = self.active_pods_verdict() {
            return verdict;
        }
        if job.condition("Suspended").is_some() {
            return Verdict::new(Phase::Pending, "resumed; no pod has been created since");
        }
        let (active, ready) = job.active_and_ready();
        if let Some(cause) = self.events().rejection(self.newest_creation()).filter(|_| !active) {
            return self.rejected(cause);
        }
        if let Some(last) = self.pods.last() {
            return self.between_attempts(last);
        }
        let suffix = self.attempt_suffix(self.attempts());
        match (ready, active, self.attempts() > 0) {
            (true, ..) => Verdict::new(Phase::Running, format!("runs{suffix}{}", self.earlier_text(0))),
            (false, true, _) => {
                Verdict::new(Phase::Pending, "its pod was created, and has not been observed yet")
            }
            (false, false, true) => self.between_unobserved_attempts(),
            (false, false, false) => Verdict::new(Phase::Pending, "no pod has been created yet"),
        }
    }

    /// Returns the verdict on a job whose pods the API server rejects.
    fn rejected(&self, cause: Cause) -> Verdict {
        let rejections = self.events().rejections();
        let times =
            if rejections.count > 1 { format!(", {} times so far", rejections.count) } else { String::new() };
        let mut verdict =
            Verdict::new(Phase::Pending, format!("{}{times}", cause.description)).with_cause(cause);
        verdict.add_hint(&format!("it holds {}", self.occupied_resources()));
        verdict
    }

    /// Returns the verdict of the active pods, or `None` if no pod is active.
    pub(super) fn active_pods_verdict(&self) -> Option<Verdict> {
        let active_pods = || self.pods.iter().enumerate().rev().filter(|(_, pod)| pod.is_active());
        if let Some((index, pod)) =
            active_pods().find(|(_, pod)| pod.is_running() || pod.lost_node().is_some())
        {
            return Some(self.running(index, pod));
        }
        let (index, pod) = active_pods().next()?;
        let suffix = self.attempt_suffix(self.attempt_number(index));
        let earlier = self.earlier_text(index);
        let Some(cause) = pod.cause() else {
            let message = if pod.is_initializing() {
                "its init containers are running".to_owned()
            } else if pod.is_scheduled() {
                "scheduled; its image is being pulled and its container created".to_owned()
            } else if let Some(gates) = pod.scheduling_gates() {
                format!("blocked by a scheduling gate {gates}").trim_end().to_owned()
            } else {
                "waits for a node".to_owned()
            };
            let mut verdict = Verdict::new(Phase::Pending, format!("{message}{suffix}{earlier}"));
            verdict.evidence.extend(pod.phase_evidence());
            if pod.scheduling_gates().is_some() {
                verdict.add_hint(
                    "the controller that set the gate must remove it; ask the administrators of the cluster",
                );
            }
            return Some(verdict);
        };
        let waits_for_cluster = matches!(cause.reason, Some(Reason::Unschedulable | Reason::PodsRejected));
        let permanent = cause.permanent;
        let occupied_resources = self.occupied_resources();
        let mut verdict =
            Verdict::new(Phase::Pending, format!("{}{suffix}{earlier}", cause.description)).with_cause(cause);
        verdict.add_hint(&if permanent {
            format!("it cannot start without a change, and holds {occupied_resources}; cancel it")
        } else if waits_for_cluster {
            format!("while it waits, it holds {occupied_resources}")
        } else {
            format!("{}; while it waits, it holds {occupied_resources}", pod.retries_text())
        });
        Some(verdict)
    }

    /// Returns the verdict on a job with a pod that runs, is being terminated, or is on a lost node.
    fn running(&self, index: usize, pod: &ObservedPod<'_>) -> Verdict {
        let suffix = self.attempt_suffix(self.attempt_number(index));
        if let Some(lost) = pod.lost_node() {
            let phase = if pod.is_running() { Phase::Running } else { Phase::Pending };
            let state = match (pod.is_being_deleted(), pod.has_run()) {
                (true, _) => "marked for deletion, but",
                (false, true) => "runs according to its last report, but",
                (false, false) => "not started, and",
            };
            let message = format!("{state} {}; the job may still run there{suffix}", lost.text());
            let mut verdict = Verdict::new(phase, message).with_evidence(lost.evidence);
            verdict.reason = Some(Reason::Disrupted);
            verdict.add_hint(&if pod.is_being_deleted() {
                lost_node_hint(&lost.node)
            } else {
                format!(
                    "the job continues if the node returns; otherwise Kubernetes replaces the pod when the Node {} is \
                     deleted; ask the administrators of the cluster",
                    lost.node
                )
            });
            return verdict;
        }
        if let Some((message, hint, evidence)) = pod.held_open().filter(|_| !pod.is_being_deleted()) {
            let cause = pod.cause().filter(|cause| !cause.low_confidence);
            let mut verdict = match cause {
                Some(cause) => {
                    Verdict::new(Phase::Running, format!("{message}{suffix}; {}", cause.description))
                        .with_cause(Cause { hint: None, ..cause })
                }
                None => Verdict::new(Phase::Running, format!("{message}{suffix}")),
            };
            verdict.evidence.insert(0, evidence);
            verdict.hint = Some(format!("{hint}; it holds {}", self.occupied_resources()));
            return verdict;
        }
        let back_off = pod.restart_back_off();
        let is_deleted = pod.is_being_deleted() && pod.is_deleted_by_another_client();
        let activity = match &back_off {
            Some(_) => "waits for its restart, which its node delays after repeated failures",
            None if is_deleted => {
                "is terminating, because another client deleted its pod; no object names the client"
            }
            None if pod.is_being_deleted() && pod.has_run() => "is terminating",
            None if pod.is_being_deleted() => {
                "is terminating; if its node still pulls the image, the pod ends after the pull"
            }
            None => "runs",
        };
        let message = format!("{activity}{suffix}");
        let mut verdict = Verdict::new(Phase::Running, message);
        verdict.evidence.extend(back_off.or_else(|| pod.phase_evidence()));
        // A running pod has a cause if another of its containers failed, or if its node disrupts it.
        if let Some(cause) = pod.cause().filter(|cause| !cause.low_confidence) {
            verdict.message = format!("{}; {}", verdict.message, cause.description);
            return verdict.with_cause(cause);
        }
        if is_deleted {
            verdict
                .add_hint("a deleted pod uses up a retry, and an eviction, as by `kubectl drain`, does not");
            return verdict;
        }
        verdict.message.push_str(&self.earlier_text(index));
        if let Some((cause, _)) = self.cause_before(index).filter(|_| !self.was_resumed()) {
            verdict.evidence.extend(cause.evidence);
        }
        verdict
    }

    /// Describes why the attempts before the pod at `index` ended. Empty if there were none.
    fn earlier_text(&self, index: usize) -> String {
        let resumption = self.resumption_text();
        if !resumption.is_empty() {
            return resumption;
        }
        let rejected = self.rejections_before(index);
        match self.cause_before(index) {
            Some((cause, _)) if rejected > 1 => {
                format!("; {rejected} earlier pods: {}", cause.description)
            }
            Some((cause, attempt)) => {
                let before = if self.has_multiple_pods() {
                    "another of its pods".to_owned()
                } else {
                    format!("attempt {attempt}")
                };
                format!("; {before}: {}", cause.description)
            }
            None if self.has_multiple_pods() => String::new(),
            None => self
                .unobserved_cause()
                .map(|cause| format!("; an earlier pod: {}", cause.description))
                .unwrap_or_default(),
        }
    }

    /// Returns the verdict on a job whose pods have all terminated, before the Job has reported the outcome.
    fn between_attempts(&self, last: &ObservedPod<'_>) -> Verdict {
        let suffix = self.attempt_suffix(self.attempts());
        if last.has_succeeded() {
            let verdict = self.succeeded();
            let message = format!("{}; its Job has not reported it yet", verdict.message);
            return Verdict { phase: Phase::Running, message, ..verdict };
        }
        let next = self.next_text();
        match last.cause() {
            Some(cause) => {
                let message = format!("{}{suffix}; {next} or the end of the job follows", cause.description);
                Verdict::new(Phase::Running, message).with_cause(cause)
            }
            None => {
                Verdict::new(Phase::Running, format!("ended{suffix}; {next} or the end of the job follows"))
            }
        }
    }

    /// Returns the verdict on a job whose pods no longer exist, and were not observed.
    fn between_unobserved_attempts(&self) -> Verdict {
        let suffix = self.attempt_suffix(self.attempts());
        let phase = if self.has_ever_run() == HasRun::No
            && self.job().is_some_and(|job| job.counted_attempts() == 0)
        {
            Phase::Pending
        } else {
            Phase::Running
        };
        let next = self.next_text();
        match self.unobserved_cause() {
            Some(cause) => {
                let message = format!(
                    "its pod was {}{suffix}; {next} or the end of the job follows",
                    cause.description
                );
                Verdict::new(phase, message).with_cause(cause)
            }
            None => {
                Verdict::new(phase, format!("its pod ended{suffix}; {next} or the end of the job follows"))
            }
        }
    }

    fn next_text(&self) -> &'static str {
        if self.has_multiple_pods() { "more pods" } else { "another attempt" }
    }

    /// Describes the resources that the job occupies, and until when.
    pub(super) fn occupied_resources(&self) -> String {
        let devices = self.job().and_then(|job| job.devices());
        let description =
            devices.map_or_else(|| "its resources".to_owned(), |devices| format!("its {devices}"));
        match self.job().and_then(|job| job.timeout()) {
            Some(timeout) => format!("{description} until its deadline, {timeout} after its start"),
            None => format!("{description} indefinitely, because it has no deadline"),
        }
    }
}
