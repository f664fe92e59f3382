//! One pod: an attempt of the job, as it was seen last.

use super::container::{Container, End, Kind};
use super::event::Events;
use super::time::instant;
use super::{Seen, node, scheduler};
use crate::price::Attempt;
use crate::status::cause::{Cause, evidence, quoted};
use crate::status::{Evidence, Reason};
use crate::units::{Seconds, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use std::collections::BTreeMap;

/// A pod, and whether it is gone by now.
#[derive(Clone, Copy)]
pub(super) struct SeenPod<'a> {
    pod: &'a Pod,
    /// An earlier state of the same pod, which says more about its containers.
    earlier: Option<&'a Pod>,
    gone: bool,
}

/// Whether the work of a pod, or of a job, ever ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasRun {
    Yes,
    No,
    /// The node lost the container, and nothing else tells.
    Unknown,
}

impl<'a> SeenPod<'a> {
    /// Every pod once, the oldest first, in whatever order they were seen. One that is listed is not gone.
    pub(super) fn all(seen: &Seen<'a>) -> Vec<Self> {
        let present = seen.pods.iter().map(|pod| Self { pod, earlier: None, gone: false });
        let gone = seen.gone_pods.iter().map(|pod| Self { pod, earlier: None, gone: true });
        let mut pods = BTreeMap::new();
        for pod in present.chain(gone) {
            let latest = pods.entry(pod.identity()).or_insert(pod);
            if pod.freshness() > latest.freshness() {
                *latest = pod;
            }
        }
        for earlier in seen.earlier_pods {
            let of = Self { pod: earlier, earlier: None, gone: false }.identity();
            if let Some(pod) = pods.get_mut(&of) {
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

    /// How far it says it is.
    pub(super) fn proof(&self) -> Option<Evidence> {
        let phase = self.status()?.phase.as_deref()?;
        Some(evidence("pod", self.name(), "status.phase", phase))
    }

    /// Whether it ended by itself, and nothing of it can run any more.
    pub(super) fn has_ended(&self) -> bool {
        !lives(self.pod)
    }

    pub(super) fn has_succeeded(&self) -> bool {
        self.phase() == "Succeeded"
    }

    /// Whether it still has what it was given. One that is being deleted has.
    pub(super) fn lives(&self) -> bool {
        !self.gone && !self.has_ended()
    }

    pub(super) fn is_being_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Whether a process of it runs, or may.
    pub(super) fn runs(&self) -> bool {
        self.lives()
            && (matches!(self.phase(), "Running" | "Unknown")
                || self.is_being_deleted()
                || self.containers().any(|container| container.is_running()))
    }

    /// Whether its work ended again and again, and its node waits before it begins it anew.
    pub(super) fn waits_to_restart(&self) -> Option<Evidence> {
        if self.is_being_deleted() || self.containers().any(|container| container.is_running()) {
            return None;
        }
        self.containers().find_map(|container| container.back_off())
    }

    /// Whether a process of its work has ever been seen.
    pub(super) fn has_run(&self) -> bool {
        matches!(self.phase(), "Running" | "Succeeded")
            || has_run(self.pod)
            || self.earlier.is_some_and(has_run)
    }

    /// Whether its work ever ran, as its states show. A container that the node lost proves neither.
    pub(super) fn ran(&self, events: &Events<'_>) -> HasRun {
        if self.has_run() {
            HasRun::Yes
        } else if self.containers().any(|container| container.is_lost()) && self.held_up(events).is_none() {
            HasRun::Unknown
        } else {
            HasRun::No
        }
    }

    fn containers(&self) -> impl Iterator<Item = Container<'a>> {
        Container::all(self.pod, Kind::Main)
    }

    /// Whether what goes before its work still runs.
    pub(super) fn is_preparing(&self) -> bool {
        Container::all(self.pod, Kind::Init)
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

    /// Whether nobody looks for a node yet, since somebody wants to be asked first.
    pub(super) fn is_gated(&self) -> bool {
        self.condition("PodScheduled", "False")
            .is_some_and(|(_, condition)| condition.reason.as_deref() == Some("SchedulingGated"))
    }

    /// When it had a node, for the bill. Waiting for an image is billed too: the node is held for it.
    pub(super) fn run(&self) -> Option<Attempt> {
        let scheduled = self
            .condition("PodScheduled", "True")
            .and_then(|(_, condition)| instant(condition.last_transition_time.as_ref()))
            .or_else(|| instant(self.status()?.start_time.as_ref()))?;
        Some(Attempt { scheduled, ended: self.ended_at() })
    }

    /// When its last container ended; `None` where that is not known, or has not happened.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        let mut containers = self.containers().peekable();
        let none_left =
            containers.peek().is_some() && containers.all(|container| container.terminated().is_some());
        let over = self.gone || self.has_ended() || none_left;
        let ends = self.containers().chain(Container::all(self.pod, Kind::Init));
        let ends = ends.filter_map(|container| instant(container.terminated()?.finished_at.as_ref()));
        // A container that still ran when its pod was seen last ended later than all others.
        let lost = self.containers().any(|container| container.is_running());
        if over && !lost { ends.max() } else { None }
    }

    /// Until when it was to be gone at the latest, if it was deleted.
    pub(super) fn gone_by(&self) -> Option<Timestamp> {
        instant(self.pod.metadata.deletion_timestamp.as_ref())
    }

    /// The exit code of its work, 128 + n where signal n ended it.
    pub(super) fn exit_code(&self) -> Option<i32> {
        let ends = self.containers().filter_map(|container| container.last_terminated());
        // For a container that it lost, the kubelet makes a code up.
        let known =
            ends.map(|(_, end)| end).filter(|end| End::of(end) != End::Lost || end.started_at.is_some());
        let worst = known.min_by_key(|end| End::of(end).rank())?;
        match (worst.exit_code, worst.signal) {
            (0, Some(signal @ 1..)) => signal.checked_add(128),
            (code, _) => Some(code),
        }
    }

    /// Whether it ended only once, and probably because, its deletion had been asked for.
    pub(super) fn ended_by_deletion(&self) -> bool {
        let Some(gone_by) = self.gone_by() else { return false };
        let grace =
            self.pod.metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
        // The timestamp is that of the request plus the time it was given to end.
        let given = Seconds::new(grace.unwrap_or_default());
        self.ended_at().is_none_or(|ended| ended.saturating_add(given) >= gone_by)
    }

    /// Why it did not do what it was to do, or does not begin: the strongest evidence that there is.
    pub(super) fn cause(&self, events: &Events<'_>) -> Option<Cause> {
        let end = self.end();
        if self.has_succeeded() {
            return end.map(|(_, cause)| cause).filter(|cause| cause.reason == Reason::ChildOOMKilled);
        }
        let is = |kind| end.as_ref().is_some_and(|(end, _)| *end == kind);
        let (out_of_memory, lost) = (is(End::OutOfMemory), is(End::Lost));
        let end = end.map(|(_, cause)| cause);
        self.eviction()
            .or_else(|| end.clone().filter(|_| out_of_memory))
            .or_else(|| self.disruption())
            .or_else(|| self.deadline())
            .or_else(|| self.init_failure())
            // A lost container may never have run. The reason for which it waited is better evidence than the loss.
            .or_else(|| if lost && !self.has_run() { self.held_up(events) } else { None })
            .or(end)
            .or_else(|| self.held_up(events))
    }

    /// The reason for which its work does not start, or did not.
    fn held_up(&self, events: &Events<'_>) -> Option<Cause> {
        self.obstacle(events).or_else(|| self.unschedulable()).or_else(|| self.told_by(events))
    }

    fn told_by(&self, events: &Events<'_>) -> Option<Cause> {
        if self.has_run() && !self.has_ended() {
            return None;
        }
        let cause = events.cause_of(self.name())?;
        let is_outdated = match cause.reason {
            Reason::Unschedulable => self.is_scheduled(),
            Reason::Evicted | Reason::Disrupted => false,
            // The others keep a container from starting, and it has started since.
            _ => self.has_run(),
        };
        if is_outdated { None } else { Some(cause) }
    }

    /// The end of its work that says most: of two equal ones the earlier.
    fn end(&self) -> Option<(End, Cause)> {
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
        let plain = matches!(worst, End::Signal(_) | End::Code(_) | End::Lost);
        cause.weak = plain && self.ended_by_deletion();
        Some((worst, cause))
    }

    fn init_failure(&self) -> Option<Cause> {
        // One that runs again may yet succeed.
        let (end, mut cause) = Container::all(self.pod, Kind::Init)
            .filter(|container| !container.is_sidecar() && !container.is_running())
            .filter_map(|container| container.failure(true))
            .find(|(end, _)| *end != End::ChildOutOfMemory)?;
        cause.reason = Reason::InitFailed;
        cause.weak = end != End::OutOfMemory && self.ended_by_deletion();
        Some(cause)
    }

    fn obstacle(&self, events: &Events<'_>) -> Option<Cause> {
        let is_over = self.gone || self.has_ended() || self.is_being_deleted();
        // While a pod is deleted, its containers no longer say what they waited for.
        let mut cause = obstacle(self.pod)
            .or_else(|| self.earlier.filter(|_| is_over && !self.has_run()).and_then(obstacle))?;
        // "Back-off pulling image" does not say why; the event that it began with does.
        if cause.reason == Reason::ImagePull
            && let Some(failure) = events.pull_failure(self.name())
            && !self.waits_with(failure.error)
        {
            cause.what = format!("{}; {}", cause.what, failure.message);
            cause.hint = Some(failure.hint.to_owned());
            cause.evidence.push(failure.evidence);
        }
        Some(cause)
    }

    /// Whether a container waits with a message that contains this error.
    fn waits_with(&self, error: &str) -> bool {
        let pods = [Some(self.pod), self.earlier].into_iter().flatten();
        let all = pods.flat_map(|pod| Container::all(pod, Kind::Init).chain(Container::all(pod, Kind::Main)));
        let mut messages = all.filter_map(|container| container.waiting()?.message.as_deref());
        messages.any(|message| message.contains(error))
    }

    fn reason(&self) -> Option<&'a str> {
        self.status()?.reason.as_deref()
    }

    fn told(&self) -> String {
        let message = self.status().and_then(|status| status.message.as_deref());
        message.map(|message| format!(": {}", quoted(message))).unwrap_or_default()
    }

    fn with_reason(&self, cause: Cause, reason: &str) -> Cause {
        cause.seen(evidence("pod", self.name(), "status.reason", reason))
    }

    fn eviction(&self) -> Option<Cause> {
        let reason = self.reason().filter(|reason| *reason == "Evicted")?;
        let message = self.status().and_then(|status| status.message.as_deref());
        Some(self.with_reason(node::evicted(message), reason))
    }

    fn deadline(&self) -> Option<Cause> {
        let reason = self.reason().filter(|reason| *reason == "DeadlineExceeded")?;
        let cause =
            Cause::new(Reason::DeadlineExceeded, format!("its pod took longer than it may{}", self.told()))
                .hint("raise `timeout`, as far as the policy allows; waiting for a node and an image counts");
        Some(self.with_reason(cause, reason))
    }

    fn disruption(&self) -> Option<Cause> {
        if let Some((index, condition)) = self.condition("DisruptionTarget", "True") {
            let why = node::disruption(condition.reason.as_deref());
            let message = condition.message.as_deref().filter(|message| !message.is_empty());
            let told = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
            let cause = node::disrupted(format!("disrupted, since {why}{told}"));
            let path = format!("status.conditions[{index}]");
            let cause = cause.seen(evidence("pod", self.name(), format!("{path}.type"), &condition.type_));
            return Some(match condition.reason.as_deref() {
                Some(reason) => cause.seen(evidence("pod", self.name(), format!("{path}.reason"), reason)),
                None => cause,
            });
        }
        let reason = self.reason()?;
        let what = node::refusal(reason)?;
        Some(self.with_reason(node::disrupted(format!("{what}{}", self.told())), reason))
    }

    fn unschedulable(&self) -> Option<Cause> {
        let (index, condition) = self.condition("PodScheduled", "False")?;
        let reason = condition.reason.as_deref().filter(|reason| *reason == "Unschedulable")?;
        let cause = scheduler::unschedulable(condition.message.as_deref().unwrap_or_default());
        Some(cause.seen(evidence("pod", self.name(), format!("status.conditions[{index}].reason"), reason)))
    }
}

/// Whether a pod that is there has not ended, and so still has what it was given. One that is being deleted has.
#[must_use]
pub fn lives(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a process of it has ever been seen, so that it may have printed something.
#[must_use]
pub fn has_run(pod: &Pod) -> bool {
    Container::all(pod, Kind::Main).any(|container| container.has_run())
}

/// Returns `true` if the earlier state of a pod shows that its work ran, or why it did not start, and the later state no
/// longer does.
///
/// Kubernetes overwrites both while it deletes a pod: the reason for which a container waits becomes `ContainerCreating`,
/// and its end becomes `ContainerStatusUnknown`. A program that watches pods must keep the earlier state for
/// [`Seen::earlier_pods`].
#[must_use]
pub fn says_less(later: &Pod, earlier: &Pod) -> bool {
    match (has_run(earlier), has_run(later)) {
        (true, still) => !still,
        (false, true) => false,
        (false, false) => obstacle(later).is_none() && obstacle(earlier).is_some(),
    }
}

/// The reason for which a container of the pod waits, if it is more than a matter of time.
fn obstacle(pod: &Pod) -> Option<Cause> {
    let mut all = Container::all(pod, Kind::Init).chain(Container::all(pod, Kind::Main));
    all.find_map(|container| container.obstacle())
}
