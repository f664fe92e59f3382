//! One pod of a job, as it was last observed.

use super::container::{Container, ContainerRole, Termination};
use super::event::Events;
use super::time::instant;
use super::{JobObjects, node, scheduler};
use crate::price::AttemptSpan;
use crate::status::cause::{Cause, evidence, quoted};
use crate::status::{Evidence, Reason};
use crate::units::{Seconds, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use std::collections::BTreeMap;

/// A pod, and whether it still exists.
#[derive(Clone, Copy)]
pub(super) struct ObservedPod<'a> {
    pod: &'a Pod,
    /// An earlier state of the same pod with more information about its containers.
    earlier: Option<&'a Pod>,
    gone: bool,
}

/// Whether the main container of a pod, or of any pod of a job, ever ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasRun {
    Yes,
    No,
    /// The node lost the container, and there is no other evidence.
    Unknown,
}

impl<'a> ObservedPod<'a> {
    /// Returns every pod once, oldest first. A pod that is in both `pods` and `gone_pods` counts as
    /// existing.
    pub(super) fn all(objects: &JobObjects<'a>) -> Vec<Self> {
        let present = objects.pods.iter().map(|pod| Self { pod, earlier: None, gone: false });
        let gone = objects.gone_pods.iter().map(|pod| Self { pod, earlier: None, gone: true });
        let mut pods = BTreeMap::new();
        for pod in present.chain(gone) {
            let latest = pods.entry(pod.identity()).or_insert(pod);
            if pod.freshness() > latest.freshness() {
                *latest = pod;
            }
        }
        for earlier in objects.earlier_pods {
            let identity = Self { pod: earlier, earlier: None, gone: false }.identity();
            if let Some(pod) = pods.get_mut(&identity) {
                pod.earlier = Some(earlier);
            }
        }
        let mut pods: Vec<_> = pods.into_values().collect();
        pods.sort_by_key(|pod| (instant(pod.pod.metadata.creation_timestamp.as_ref()), pod.identity()));
        pods
    }

    fn identity(&self) -> (&'a str, &'a str) {
        let metadata = &self.pod.metadata;
        match metadata.uid.as_deref() {
            Some(uid) if !uid.is_empty() => (uid, ""),
            _ => (metadata.namespace.as_deref().unwrap_or_default(), self.name().unwrap_or_default()),
        }
    }

    fn freshness(&self) -> (bool, bool, Option<u64>) {
        let version = self.pod.metadata.resource_version.as_deref();
        (!self.gone, self.has_ended(), version.and_then(|version| version.parse().ok()))
    }

    pub(super) fn name(&self) -> Option<&'a str> {
        self.pod.metadata.name.as_deref()
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        instant(self.pod.metadata.creation_timestamp.as_ref())
    }

    fn status(&self) -> Option<&'a PodStatus> {
        self.pod.status.as_ref()
    }

    fn phase(&self) -> &'a str {
        self.status().and_then(|status| status.phase.as_deref()).unwrap_or_default()
    }

    /// Returns the phase of the pod as evidence.
    pub(super) fn phase_evidence(&self) -> Option<Evidence> {
        let phase = self.status()?.phase.as_deref()?;
        Some(evidence("pod", self.name(), "status.phase", phase))
    }

    /// Returns whether the pod has terminated: its phase is `Succeeded` or `Failed`.
    pub(super) fn has_ended(&self) -> bool {
        !is_active(self.pod)
    }

    pub(super) fn has_succeeded(&self) -> bool {
        self.phase() == "Succeeded"
    }

    /// Returns whether the pod still occupies resources. A pod that is being deleted occupies them until it
    /// terminates.
    pub(super) fn is_active(&self) -> bool {
        !self.gone && !self.has_ended()
    }

    pub(super) fn is_being_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Returns whether a process of the pod runs or may run.
    pub(super) fn is_running(&self) -> bool {
        self.is_active()
            && (matches!(self.phase(), "Running" | "Unknown")
                || self.is_being_deleted()
                || self.containers().any(|container| container.is_running()))
    }

    /// Returns evidence if the container failed repeatedly and the node delays its restart.
    pub(super) fn restart_back_off(&self) -> Option<Evidence> {
        if self.is_being_deleted() || self.containers().any(|container| container.is_running()) {
            return None;
        }
        self.containers().find_map(|container| container.back_off())
    }

    /// Returns whether a process of a main container was ever observed.
    pub(super) fn has_run(&self) -> bool {
        matches!(self.phase(), "Running" | "Succeeded")
            || has_run(self.pod)
            || self.earlier.is_some_and(has_run)
    }

    /// Returns whether a main container ever ran. If the node lost a container and nothing explains why it
    /// did not start, the result is [`HasRun::Unknown`].
    pub(super) fn has_ever_run(&self, events: &Events<'_>) -> HasRun {
        if self.has_run() {
            HasRun::Yes
        } else if self.containers().any(|container| container.is_lost())
            && self.startup_cause(events).is_none()
        {
            HasRun::Unknown
        } else {
            HasRun::No
        }
    }

    fn containers(&self) -> impl Iterator<Item = Container<'a>> {
        Container::all(self.pod, ContainerRole::Main)
    }

    /// Returns whether an init container runs.
    pub(super) fn is_initializing(&self) -> bool {
        Container::all(self.pod, ContainerRole::Init)
            .any(|container| container.is_running() && !container.is_sidecar())
    }

    fn condition(&self, kind: &str, value: &str) -> Option<(usize, &'a PodCondition)> {
        let conditions = self.status()?.conditions.as_deref()?;
        conditions.iter().enumerate().find(|(_, found)| found.type_ == kind && found.status == value)
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.condition("PodScheduled", "True").is_some()
            || self.pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
    }

    /// Returns whether a scheduling gate holds the pod back.
    pub(super) fn has_scheduling_gate(&self) -> bool {
        self.condition("PodScheduled", "False")
            .is_some_and(|(_, condition)| condition.reason.as_deref() == Some("SchedulingGated"))
    }

    /// Returns the time during which the pod had a node, for the bill. Image pulls are billed too, because
    /// they occupy the node.
    pub(super) fn attempt_span(&self) -> Option<AttemptSpan> {
        let scheduled = self
            .condition("PodScheduled", "True")
            .and_then(|(_, condition)| instant(condition.last_transition_time.as_ref()))
            .or_else(|| instant(self.status()?.start_time.as_ref()))?;
        Some(AttemptSpan { scheduled, ended: self.ended_at() })
    }

    /// Returns the time at which the last container ended, or `None` if it has not ended or the time is
    /// unknown.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        let mut containers = self.containers().peekable();
        let all_terminated =
            containers.peek().is_some() && containers.all(|container| container.terminated().is_some());
        let is_over = self.gone || self.has_ended() || all_terminated;
        let ends = self.containers().chain(Container::all(self.pod, ContainerRole::Init));
        let ends = ends.filter_map(|container| instant(container.terminated()?.finished_at.as_ref()));
        // A container that ran when its pod was last observed ended later than all others, at an unknown
        // time.
        let was_running = self.containers().any(|container| container.is_running());
        if is_over && !was_running { ends.max() } else { None }
    }

    /// Returns the time by which a deleted pod must have terminated.
    pub(super) fn deletion_deadline(&self) -> Option<Timestamp> {
        instant(self.pod.metadata.deletion_timestamp.as_ref())
    }

    /// Returns the exit code of the main container, or 128 + n if signal n ended it. If there are several
    /// main containers, the one that best explains the end of the pod counts.
    pub(super) fn exit_code(&self) -> Option<i32> {
        let ends = self.containers().filter_map(|container| container.last_terminated());
        // The kubelet invents an exit code for a container that it lost. Such a code counts only if the
        // container has a start time.
        let known = ends
            .map(|(_, end)| end)
            .filter(|end| Termination::from_state(end) != Termination::Lost || end.started_at.is_some());
        let worst = known.min_by_key(|end| Termination::from_state(end).rank())?;
        match (worst.exit_code, worst.signal) {
            (0, Some(signal @ 1..)) => signal.checked_add(128),
            (code, _) => Some(code),
        }
    }

    /// Returns whether the pod ended after its deletion was requested, and so probably because of the
    /// deletion. A deleted pod with an unknown end counts as ended by the deletion.
    pub(super) fn ended_by_deletion(&self) -> bool {
        let Some(gone_by) = self.deletion_deadline() else { return false };
        let grace =
            self.pod.metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
        // The deletion timestamp is the time of the delete request plus the grace period.
        let grace_period = Seconds::new(grace.unwrap_or_default());
        self.ended_at().is_none_or(|ended| ended.saturating_add(grace_period) >= gone_by)
    }

    /// Returns the strongest cause for which the pod failed or cannot start. For a pod that succeeded,
    /// returns only the note that the kernel killed a child process.
    pub(super) fn cause(&self, events: &Events<'_>) -> Option<Cause> {
        let end = self.termination();
        if self.has_succeeded() {
            return end.map(|(_, cause)| cause).filter(|cause| cause.reason == Reason::ChildOOMKilled);
        }
        let ended_as = |kind| end.as_ref().is_some_and(|(end, _)| *end == kind);
        let (out_of_memory, lost) = (ended_as(Termination::OutOfMemory), ended_as(Termination::Lost));
        let end = end.map(|(_, cause)| cause);
        self.eviction()
            .or_else(|| end.clone().filter(|_| out_of_memory))
            .or_else(|| self.disruption())
            .or_else(|| self.deadline())
            .or_else(|| self.init_failure())
            // A lost container may never have run. The reason for which it waited is better evidence than the
            // loss.
            .or_else(|| if lost && !self.has_run() { self.startup_cause(events) } else { None })
            .or(end)
            .or_else(|| self.startup_cause(events))
    }

    /// Returns the cause that prevents, or prevented, the start of the main container.
    fn startup_cause(&self, events: &Events<'_>) -> Option<Cause> {
        self.blocking_cause(events)
            .or_else(|| self.unschedulable())
            .or_else(|| self.cause_from_events(events))
    }

    fn cause_from_events(&self, events: &Events<'_>) -> Option<Cause> {
        if self.has_run() && !self.has_ended() {
            return None;
        }
        let cause = events.pod_cause(self.name())?;
        let is_outdated = match cause.reason {
            Reason::Unschedulable => self.is_scheduled(),
            Reason::Evicted | Reason::Disrupted => false,
            // All other causes prevent the start of a container. They are outdated if a main container has
            // run.
            _ => self.has_run(),
        };
        if is_outdated { None } else { Some(cause) }
    }

    /// Returns the most informative termination of a main container. Of two terminations with the same
    /// rank, the earlier one counts.
    fn termination(&self) -> Option<(Termination, Cause)> {
        let is_over = self.gone || self.has_ended() || self.is_being_deleted();
        let ended = self.containers().filter(|container| is_over || !container.is_running());
        let (worst, mut cause) = ended
            .filter_map(|container| {
                let at = container.last_terminated().and_then(|(_, end)| instant(end.finished_at.as_ref()));
                let (end, cause) = container.failure(self.has_succeeded())?;
                Some(((end.rank(), at.is_none(), at), end, cause))
            })
            .min_by_key(|(key, ..)| *key)
            .map(|(_, end, cause)| (end, cause))?;
        let is_ambiguous =
            matches!(worst, Termination::Signaled(_) | Termination::ExitCode(_) | Termination::Lost);
        cause.low_confidence = is_ambiguous && self.ended_by_deletion();
        Some((worst, cause))
    }

    fn init_failure(&self) -> Option<Cause> {
        // An init container that was restarted and runs again may still succeed.
        let (end, mut cause) = Container::all(self.pod, ContainerRole::Init)
            .filter(|container| !container.is_sidecar() && !container.is_running())
            .filter_map(|container| container.failure(true))
            .find(|(end, _)| *end != Termination::ChildOutOfMemory)?;
        cause.reason = Reason::InitFailed;
        cause.low_confidence = end != Termination::OutOfMemory && self.ended_by_deletion();
        Some(cause)
    }

    fn blocking_cause(&self, events: &Events<'_>) -> Option<Cause> {
        let is_over = self.gone || self.has_ended() || self.is_being_deleted();
        // While a pod is being deleted, its containers no longer show the reason for which they waited.
        let mut cause = blocking_cause(self.pod)
            .or_else(|| self.earlier.filter(|_| is_over && !self.has_run()).and_then(blocking_cause))?;
        // The message "Back-off pulling image" does not contain the error. The event of the failed pull
        // contains it.
        if cause.reason == Reason::ImagePull
            && let Some(failure) = events.pull_failure(self.name())
            && !self.waits_with_error(failure.error)
        {
            cause.description = format!("{}; {}", cause.description, failure.message);
            cause.hint = Some(failure.hint.to_owned());
            cause.evidence.push(failure.evidence);
        }
        Some(cause)
    }

    /// Returns whether a container waits with a message that contains this error.
    fn waits_with_error(&self, error: &str) -> bool {
        let pods = [Some(self.pod), self.earlier].into_iter().flatten();
        let all = pods.flat_map(|pod| {
            Container::all(pod, ContainerRole::Init).chain(Container::all(pod, ContainerRole::Main))
        });
        let mut messages = all.filter_map(|container| container.waiting()?.message.as_deref());
        messages.any(|message| message.contains(error))
    }

    fn reason(&self) -> Option<&'a str> {
        self.status()?.reason.as_deref()
    }

    fn status_message(&self) -> String {
        let message = self.status().and_then(|status| status.message.as_deref());
        message.map(|message| format!(": {}", quoted(message))).unwrap_or_default()
    }

    fn with_reason(&self, cause: Cause, reason: &str) -> Cause {
        cause.with_evidence(evidence("pod", self.name(), "status.reason", reason))
    }

    fn eviction(&self) -> Option<Cause> {
        let reason = self.reason().filter(|reason| *reason == "Evicted")?;
        let message = self.status().and_then(|status| status.message.as_deref());
        Some(self.with_reason(node::evicted(message), reason))
    }

    fn deadline(&self) -> Option<Cause> {
        let reason = self.reason().filter(|reason| *reason == "DeadlineExceeded")?;
        let cause =
            Cause::new(Reason::DeadlineExceeded, format!("its pod exceeded its deadline{}", self.status_message()))
                .with_hint("raise `timeout` within the policy's bounds; it includes waiting for a node and pulling the image");
        Some(self.with_reason(cause, reason))
    }

    fn disruption(&self) -> Option<Cause> {
        if let Some((index, condition)) = self.condition("DisruptionTarget", "True") {
            let why = node::disruption_text(condition.reason.as_deref());
            let message = condition.message.as_deref().filter(|message| !message.is_empty());
            let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
            let cause = node::disrupted(format!("disrupted because {why}{detail}"));
            let path = format!("status.conditions[{index}]");
            let cause =
                cause.with_evidence(evidence("pod", self.name(), format!("{path}.type"), &condition.type_));
            return Some(match condition.reason.as_deref() {
                Some(reason) => {
                    cause.with_evidence(evidence("pod", self.name(), format!("{path}.reason"), reason))
                }
                None => cause,
            });
        }
        let reason = self.reason()?;
        let what = node::rejection_text(reason)?;
        Some(self.with_reason(node::disrupted(format!("{what}{}", self.status_message())), reason))
    }

    fn unschedulable(&self) -> Option<Cause> {
        let (index, condition) = self.condition("PodScheduled", "False")?;
        let reason = condition.reason.as_deref().filter(|reason| *reason == "Unschedulable")?;
        let cause = scheduler::unschedulable(condition.message.as_deref().unwrap_or_default());
        Some(cause.with_evidence(evidence(
            "pod",
            self.name(),
            format!("status.conditions[{index}].reason"),
            reason,
        )))
    }
}

/// Returns whether an existing pod has not terminated, and so still occupies resources. A pod that is being
/// deleted occupies them until it terminates.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Returns whether a process of a main container was ever observed. Such a process may have printed output.
#[must_use]
pub fn has_run(pod: &Pod) -> bool {
    Container::all(pod, ContainerRole::Main).any(|container| container.has_run())
}

/// Returns `true` if a later state of a pod has lost information: that a container ran, or why it did not
/// start.
///
/// Kubernetes overwrites both while it deletes a pod. The reason for which a container waits becomes
/// `ContainerCreating`, and its termination becomes `ContainerStatusUnknown`. A program that watches pods
/// must keep the earlier state for [`JobObjects::earlier_pods`].
#[must_use]
pub fn is_less_informative(later: &Pod, earlier: &Pod) -> bool {
    match (has_run(earlier), has_run(later)) {
        (true, still) => !still,
        (false, true) => false,
        (false, false) => blocking_cause(later).is_none() && blocking_cause(earlier).is_some(),
    }
}

/// Returns the first cause that prevents the start of a container. A container that only needs more time
/// has none.
fn blocking_cause(pod: &Pod) -> Option<Cause> {
    let mut all = Container::all(pod, ContainerRole::Init).chain(Container::all(pod, ContainerRole::Main));
    all.find_map(|container| container.blocking_cause())
}
