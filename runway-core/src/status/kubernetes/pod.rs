//! One pod of a job, as it was last observed.

use super::container::{Container, ContainerRole, Termination};
use super::context::{Context, main_container_of};
use super::event::PodEvents;
use super::time::{instant, to_rfc3339, whole_seconds};
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
    context: &'a Context<'a>,
    pod: &'a Pod,
    /// Earlier states of all pods of the job.
    earlier_pods: &'a [Pod],
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
    pub(super) fn all(objects: &JobObjects<'a>, context: &'a Context<'a>) -> Vec<Self> {
        let earlier_pods = objects.earlier_pods;
        let observed = |gone: bool| move |pod| Self { context, pod, earlier_pods, gone };
        let present = objects.pods.iter().map(observed(false));
        let gone = objects.gone_pods.iter().map(observed(true));
        let mut pods = BTreeMap::new();
        for pod in present.chain(gone) {
            let latest = pods.entry(pod.identity()).or_insert(pod);
            if pod.freshness() > latest.freshness() {
                *latest = pod;
            }
        }
        let mut pods: Vec<_> = pods.into_values().collect();
        pods.sort_by_key(|pod| (pod.created(), pod.identity()));
        pods
    }

    /// Returns the earlier states of this pod.
    fn earlier(&self) -> impl Iterator<Item = &'a Pod> {
        let identity = identity_of(self.pod);
        self.earlier_pods.iter().filter(move |earlier| identity_of(earlier) == identity)
    }

    fn identity(&self) -> (&'a str, &'a str) {
        identity_of(self.pod)
    }

    fn freshness(&self) -> (bool, bool, Option<u64>) {
        (!self.gone, self.has_ended(), version_of(self.pod))
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

    /// Returns whether a Job controls the pod.
    pub(super) fn belongs_to_a_job(&self) -> bool {
        let owners = self.pod.metadata.owner_references.iter().flatten();
        let labels = self.pod.metadata.labels.as_ref();
        owners.into_iter().any(|owner| owner.kind == "Job")
            || labels.is_some_and(|labels| {
                labels.contains_key("batch.kubernetes.io/job-name") || labels.contains_key("job-name")
            })
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

    /// Returns whether a process of the main container was ever observed.
    pub(super) fn has_run(&self) -> bool {
        let ran = |pod| has_container_run(pod, self.main_name());
        matches!(self.phase(), "Running" | "Succeeded") || ran(self.pod) || self.earlier().any(ran)
    }

    /// Returns whether the main container ever ran. If the node lost the container and nothing explains why it
    /// did not start, the result is [`HasRun::Unknown`].
    pub(super) fn has_ever_run(&self) -> HasRun {
        if self.has_run() || self.events().main_start(self.main_name()).is_some() {
            HasRun::Yes
        } else if self.containers().any(|container| container.is_lost())
            && self.rejection().is_none()
            && self.startup_cause().is_none()
        {
            HasRun::Unknown
        } else {
            HasRun::No
        }
    }

    fn containers(&self) -> impl Iterator<Item = Container<'a>> {
        Container::all(self.pod, ContainerRole::Main)
    }

    /// Returns the name of the container that does the work of the job.
    pub(super) fn main_name(&self) -> Option<&'a str> {
        let in_template = self.context.job.into_iter().flat_map(|job| job.container_names());
        main_container_of(self.pod, in_template)
    }

    fn main_container(&self) -> Option<Container<'a>> {
        let name = self.main_name()?;
        self.containers().find(|container| container.name() == name)
    }

    fn is_companion(&self, container: &Container<'a>) -> bool {
        self.main_name().is_some_and(|main| main != container.name())
    }

    fn events(&self) -> PodEvents<'a, 'a> {
        self.context.events.of_pod(self.name())
    }

    pub(super) fn node_name(&self) -> Option<&'a str> {
        self.pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
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

    /// Returns the names of the scheduling gates that hold the pod back.
    pub(super) fn scheduling_gates(&self) -> Option<String> {
        let gates =
            self.pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_deref()).unwrap_or_default();
        let names: Vec<_> = gates.iter().map(|gate| quoted(&gate.name)).collect();
        let is_gated = self
            .condition("PodScheduled", "False")
            .is_some_and(|(_, condition)| condition.reason.as_deref() == Some("SchedulingGated"));
        (is_gated || !names.is_empty()).then(|| names.join(", "))
    }

    /// Returns the time during which the pod had a node, for the bill. Image pulls are billed too, because
    /// they occupy the node.
    pub(super) fn attempt_span(&self) -> Option<AttemptSpan> {
        let scheduled = self
            .condition("PodScheduled", "True")
            .and_then(|(_, condition)| instant(condition.last_transition_time.as_ref()))
            .or_else(|| instant(self.status()?.start_time.as_ref()))?;
        let never_started = self.has_ended() && self.containers().next().is_none();
        let ended =
            self.ended_at().or_else(|| if never_started { Some(scheduled) } else { self.latest_end() });
        Some(AttemptSpan { scheduled, ended })
    }

    /// Returns the time by which the pod had ended, if it is over and its containers have no end: the time of
    /// its disruption or of its deletion, whichever is earlier.
    fn latest_end(&self) -> Option<Timestamp> {
        if self.is_active() {
            return None;
        }
        let disrupted = self
            .condition("DisruptionTarget", "True")
            .and_then(|(_, condition)| instant(condition.last_transition_time.as_ref()));
        disrupted.into_iter().chain(self.deletion_deadline()).min()
    }

    /// Returns the time since which the pod has been in its present state, or `None` if it is unknown.
    pub(super) fn state_since(&self) -> Option<Timestamp> {
        let started = self.main_container().and_then(|container| container.running_since());
        let waits = self.events().failures_to_start().since;
        let transition = |kind: &str, value: &str| {
            self.condition(kind, value).and_then(|(_, found)| instant(found.last_transition_time.as_ref()))
        };
        started
            .or(waits)
            .or_else(|| transition("PodScheduled", "True"))
            .or_else(|| transition("PodScheduled", "False"))
            .or_else(|| self.created())
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

    /// Returns the time at which the deletion of the pod was requested, and the state that shows it.
    ///
    /// When the containers have ended, the kubelet deletes the pod a second time: it sets the grace period to 0
    /// and the deletion timestamp to this moment. So an earlier state counts more. Without one, the grace
    /// period of the spec takes the place of a grace period of 0.
    fn deletion(&self) -> Option<(Timestamp, &'a Pod)> {
        let requests = self.earlier().chain([self.pod]).filter_map(|pod| {
            let gone_by = instant(pod.metadata.deletion_timestamp.as_ref())?;
            let positive = |grace: i64| u64::try_from(grace).ok().filter(|grace| *grace > 0);
            let rewritten = pod.metadata.deletion_grace_period_seconds.and_then(positive).is_none();
            let grace = pod
                .metadata
                .deletion_grace_period_seconds
                .and_then(positive)
                .or_else(|| pod.spec.as_ref()?.termination_grace_period_seconds.and_then(positive));
            let grace = Seconds::new(grace.unwrap_or(DEFAULT_GRACE_SECONDS));
            let requested = Timestamp::from_nanos(
                gone_by.nanos().saturating_sub(grace.get().saturating_mul(1_000_000_000)),
            );
            Some((rewritten, requested, gone_by, pod))
        });
        requests
            .min_by_key(|(rewritten, requested, gone_by, _)| (*rewritten, *requested, *gone_by))
            .map(|(_, at, _, pod)| (at, pod))
    }

    /// Returns whether the pod ended after its deletion was requested, and so probably because of the
    /// deletion. A deleted pod with an unknown end counts as ended by the deletion.
    pub(super) fn ended_by_deletion(&self) -> bool {
        let Some((requested, _)) = self.deletion() else { return false };
        self.ended_at().is_none_or(|ended| ended >= requested)
    }

    /// Returns whether the pod is or was deleted by a client other than Runway and the Job controller.
    pub(super) fn is_deleted_by_another_client(&self) -> bool {
        let Some(job) = self.context.job else { return false };
        let job_deletes_pods = job.deletion_evidence().is_some()
            || job.is_suspended()
            || job.has_multiple_pods()
            || self.context.events.job_deleted(self.name())
            || ["FailureTarget", "Failed"].iter().any(|kind| {
                job.condition(kind).is_some_and(|condition| condition.reason() == Some("DeadlineExceeded"))
            })
            || job.resumed_at().is_some_and(|at| self.created().is_none_or(|created| created < at));
        self.ended_by_deletion() && !job_deletes_pods && self.condition("DisruptionTarget", "True").is_none()
    }

    /// Returns the strongest cause for which the pod failed or cannot start. For a pod that succeeded,
    /// returns only a note: the kernel killed a child process, or the pod was being stopped.
    pub(super) fn cause(&self) -> Option<Cause> {
        let end = self.termination();
        if self.has_succeeded() {
            return self.interruption().or_else(|| {
                end.map(|(_, cause)| cause).filter(|cause| cause.reason == Some(Reason::ChildOOMKilled))
            });
        }
        let ended_as = |kind| end.as_ref().is_some_and(|(end, _)| *end == kind);
        let (out_of_memory, lost) = (ended_as(Termination::OutOfMemory), ended_as(Termination::Lost));
        let by_signal = end.as_ref().is_some_and(|(end, _)| matches!(end, Termination::Signaled(9 | 15)));
        let is_deleted = (by_signal || lost || end.is_none()) && self.is_deleted_by_another_client();
        let end = end.map(|(_, cause)| cause);
        self.eviction()
            .or_else(|| self.rejection())
            .or_else(|| end.clone().filter(|_| out_of_memory))
            .or_else(|| self.disruption())
            .or_else(|| self.deadline())
            .or_else(|| self.init_failure())
            // A lost container may never have run. The reason for which it waited is better evidence than the
            // loss.
            .or_else(|| if lost && !self.has_run() { self.startup_cause() } else { None })
            .or_else(|| if is_deleted && self.has_run() { self.deletion_cause(end.as_ref()) } else { None })
            .or_else(|| if by_signal { self.probe_failure(end.as_ref()) } else { None })
            .or(end)
            .or_else(|| self.startup_cause())
    }

    /// Returns the note for a pod that succeeded while it was being stopped: its work may be incomplete.
    fn interruption(&self) -> Option<Cause> {
        let evicted = self.events().kubelet_eviction().map(|cause| Cause {
            description: format!("but it was being {} when it ended", cause.description),
            ..cause
        });
        let disrupted = || {
            let cause = self.disruption()?;
            Some(Cause {
                description: format!("but it was being stopped when it ended: {}", cause.description),
                ..cause
            })
        };
        // The kubelet stops the main container of a pod only if the pod is being deleted or evicted.
        let stopped = || {
            let cause = self.events().stop_cause(self.main_name(), false)?;
            let description = format!("but its node was stopping it when it ended: {}", cause.description);
            Some(Cause { reason: Some(Reason::Disrupted), description, ..cause })
        };
        let note = evicted.or_else(disrupted).or_else(stopped)?;
        Some(Cause {
            hint: Some("the results may be incomplete; check them, or submit the job again".to_owned()),
            ..note
        })
    }

    fn deletion_cause(&self, end: Option<&Cause>) -> Option<Cause> {
        let (_, state) = self.deletion()?;
        let deleted = state.metadata.deletion_timestamp.as_ref()?;
        let how = end.map(|end| format!(", and it was {}", end.description)).unwrap_or_default();
        let mut cause = node::pod_deleted(&how).with_evidence(evidence(
            "pod",
            self.name(),
            "metadata.deletionTimestamp",
            &to_rfc3339(deleted),
        ));
        cause.evidence.extend(end.into_iter().flat_map(|end| end.evidence.clone()));
        cause.low_confidence = true;
        Some(cause)
    }

    fn probe_failure(&self, end: Option<&Cause>) -> Option<Cause> {
        let mut cause = self.events().probe_failure(self.main_name())?;
        cause.evidence.extend(end.into_iter().flat_map(|end| end.evidence.clone()));
        Some(cause)
    }

    /// Returns the cause of a pod that its node rejected: the pod failed with a reason, and no container ever
    /// ran.
    pub(super) fn rejection(&self) -> Option<Cause> {
        let reason = self.reason().filter(|reason| !matches!(*reason, "Evicted" | "DeadlineExceeded"))?;
        if self.phase() != "Failed" || self.has_run() || node::end_by_node_text(reason).is_some() {
            return None;
        }
        let message = self.status().and_then(|status| status.message.as_deref());
        Some(self.with_reason(node::rejected_by_node(reason, message), reason))
    }

    /// Returns the cause that prevents, or prevented, the start of the main container.
    fn startup_cause(&self) -> Option<Cause> {
        self.blocking_cause()
            .or_else(|| self.unschedulable())
            .or_else(|| self.blocking_sidecar())
            .or_else(|| self.cause_from_events())
    }

    fn cause_from_events(&self) -> Option<Cause> {
        if self.has_run() && !self.has_ended() {
            return None;
        }
        let events = self.events();
        let by_job = self.context.events.job_deleted(self.name());
        let stop = if self.is_active() { None } else { events.stop_cause(self.main_name(), by_job) };
        let cause = stop.or_else(|| events.startup_cause())?;
        let is_outdated = match cause.reason {
            Some(Reason::Unschedulable) => self.is_scheduled(),
            Some(Reason::Evicted | Reason::Disrupted | Reason::Signaled) => false,
            // All other causes prevent the start of a container. They are outdated if the main container has
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
        let (container, worst, mut cause) = ended
            .filter_map(|container| {
                let at = container.last_terminated().and_then(|(_, end)| instant(end.finished_at.as_ref()));
                let (end, cause) = container.failure(self.has_succeeded())?;
                Some(((end.rank(), at.is_none(), at), container, end, cause))
            })
            .min_by_key(|(key, ..)| *key)
            .map(|(_, container, end, cause)| (container, end, cause))?;
        if self.is_companion(&container) {
            cause = self.companion_failure(&container, worst, cause);
        }
        let is_ambiguous =
            matches!(worst, Termination::Signaled(_) | Termination::ExitCode(_) | Termination::Lost);
        cause.low_confidence = is_ambiguous && self.ended_by_deletion();
        Some((worst, cause))
    }

    /// Rewrites the failure of a container that does not do the work of the job. Its resources do not come
    /// from the job spec.
    fn companion_failure(&self, companion: &Container<'a>, end: Termination, cause: Cause) -> Cause {
        let name = quoted(companion.name());
        let work = self.main_container().and_then(|main| Some((main, main.terminated()?)));
        let work = match work {
            Some((main, ended)) if Termination::from_state(ended) == Termination::Succeeded => {
                format!("; the work of the job, in {}, ended with exit code 0", quoted(main.name()))
            }
            _ => String::new(),
        };
        let limit = companion.memory_limit().map(|limit| format!(" of {limit}")).unwrap_or_default();
        let hint = match end {
            Termination::OutOfMemory | Termination::ChildOutOfMemory => {
                format!(
                    "the memory limit{limit} belongs to {name}, which is not part of the job: ask the administrators \
                     of the cluster to raise it"
                )
            }
            Termination::Signaled(9) => format!(
                "{name} is not part of the job: ask the administrators of the cluster why it was killed; exceeding its \
                 memory limit{limit} is possible, and not proved"
            ),
            _ => {
                format!("{name} is not part of the job: ask the administrators of the cluster why it failed")
            }
        };
        Cause { description: format!("{}{work}", cause.description), hint: Some(hint), ..cause }
    }

    /// Returns the containers whose combination keeps the pod open: the container of the work, which has ended,
    /// and one that still runs.
    fn holding(&self) -> Option<(Container<'a>, Container<'a>)> {
        let main = self.main_container().filter(|main| main.terminated().is_some())?;
        let companion = self.containers().find(|other| self.is_companion(other) && other.is_running())?;
        Some((main, companion))
    }

    /// Describes a pod whose work has ended and that another container keeps open.
    pub(super) fn held_open(&self) -> Option<(String, String, Evidence)> {
        let (main, companion) = self.holding()?;
        let ended = main.terminated()?;
        let at = ended.finished_at.as_ref().map(|at| format!(" at {}", to_rfc3339(at))).unwrap_or_default();
        let (name, other) = (quoted(main.name()), quoted(companion.name()));
        let message = format!(
            "its work, in the container {name}, ended with exit code {}{at}; the container {other} still runs and keeps the \
             pod open",
            ended.exit_code
        );
        Some((message, keeps_open_hint(&other), main.exit_code_evidence(ended)))
    }

    /// Returns the name of the container that kept the pod open until its deletion although the work had ended,
    /// and the exit code of the work if it is known.
    pub(super) fn was_held_open(&self) -> Option<(String, Option<i32>)> {
        let main = self.main_name()?;
        let states = [self.pod].into_iter().chain(self.earlier());
        for pod in states {
            let state = Self { pod, ..*self };
            let Some(work) = state.main_container().and_then(|main| main.terminated()) else { continue };
            let requested = self.deletion().map(|(requested, _)| requested);
            let ended = instant(work.finished_at.as_ref());
            let before_deletion =
                requested.is_none() || ended.is_some_and(|ended| requested.is_some_and(|at| ended < at));
            let companion = state.containers().find(|other| {
                state.is_companion(other)
                    && (other.is_running()
                        || other.terminated().is_some_and(|end| instant(end.finished_at.as_ref()) > ended))
            });
            if let Some(companion) = companion.filter(|_| before_deletion) {
                return Some((quoted(companion.name()), Some(work.exit_code)));
            }
        }
        events_show_held_open(&self.events(), main)
    }

    /// Returns the cause of a main container that waits for a native sidecar: an init container that keeps
    /// running.
    fn blocking_sidecar(&self) -> Option<Cause> {
        if self.has_run() {
            return None;
        }
        let sidecar = Container::all(self.pod, ContainerRole::Init).find(|container| {
            container.is_sidecar()
                && (container.back_off().is_some() || (container.is_running() && !container.is_started()))
        })?;
        let name = quoted(sidecar.name());
        let restarts = match sidecar.restart_count() {
            0 => String::new(),
            1 => ", which was restarted once".to_owned(),
            count => format!(", which was restarted {count} times"),
        };
        let last =
            sidecar.failure(true).map(|(_, cause)| format!("; {}", cause.description)).unwrap_or_default();
        let state = if sidecar.is_running() { "has not become ready" } else { "fails" };
        let mut cause = Cause::new(None, format!("waits for its sidecar {name}{restarts}: it {state}{last}"))
            .with_hint(format!(
                "its work starts when {name} has started; ask the administrators of the cluster about {name}"
            ));
        cause.evidence.extend(sidecar.back_off());
        Some(cause)
    }

    fn init_failure(&self) -> Option<Cause> {
        // An init container that was restarted and runs again may still succeed.
        let (end, mut cause) = Container::all(self.pod, ContainerRole::Init)
            .filter(|container| !container.is_sidecar() && !container.is_running())
            .filter_map(|container| container.failure(true))
            .find(|(end, _)| *end != Termination::ChildOutOfMemory)?;
        cause.reason = Some(Reason::InitFailed);
        cause.low_confidence = end != Termination::OutOfMemory && self.ended_by_deletion();
        Some(cause)
    }

    fn blocking_cause(&self) -> Option<Cause> {
        let is_over = self.gone || self.has_ended() || self.is_being_deleted();
        // While a pod is being deleted, its containers no longer show the reason for which they waited.
        let before = || {
            let mut states: Vec<_> = self.earlier().filter(|_| is_over && !self.has_run()).collect();
            states.sort_by_key(|pod| std::cmp::Reverse(version_of(pod)));
            states.into_iter().find_map(blocking_cause)
        };
        let mut cause = blocking_cause(self.pod).or_else(before)?;
        // The message "Back-off pulling image" does not contain the error. The event of the failed pull
        // contains it.
        if cause.reason == Some(Reason::ImagePull)
            && let Some(failure) = self.events().pull_failure()
            && !self.waits_with_error(failure.error)
        {
            cause.description = format!("{}; {}", cause.description, failure.message);
            cause.hint = failure.hint.map(str::to_owned).or(cause.hint);
            cause.evidence.push(failure.evidence);
        }
        Some(cause)
    }

    /// Returns whether a container waits with a message that contains this error.
    fn waits_with_error(&self, error: &str) -> bool {
        let pods = [self.pod].into_iter().chain(self.earlier());
        let mut all = pods.flat_map(|pod| {
            Container::all(pod, ContainerRole::Init).chain(Container::all(pod, ContainerRole::Main))
        });
        all.any(|container| {
            container
                .waiting()
                .and_then(|waiting| waiting.message.as_deref())
                .is_some_and(|message| message.contains(error))
        })
    }

    /// Describes how often the node tried to start the containers, and since when.
    pub(super) fn retries_text(&self) -> String {
        let failures = self.events().failures_to_start();
        let since = failures.since.or_else(|| {
            let (_, scheduled) = self.condition("PodScheduled", "True")?;
            instant(scheduled.last_transition_time.as_ref())
        });
        let times = match failures.count {
            0 | 1 => String::new(),
            count => format!(", {count} times so far"),
        };
        let since = since.map(|since| format!(" since {}", whole_seconds(since))).unwrap_or_default();
        format!("its node has been retrying{since}{times}")
    }

    /// Returns the node that does not respond and the time since which it has not, if the pod is on such a
    /// node. The node controller marks the pod as not ready although its container still runs.
    pub(super) fn lost_node(&self) -> Option<LostNode> {
        let node = self.node_name().filter(|_| self.is_active())?;
        let (index, ready) = self.condition("Ready", "False")?;
        let without_reason = ready.reason.as_deref().is_none_or(str::is_empty);
        let runs = self.containers().any(|container| container.is_running());
        let event = self.events().node_not_ready();
        let by_taint = self
            .condition("DisruptionTarget", "True")
            .is_some_and(|(_, condition)| condition.reason.as_deref() == Some("DeletionByTaintManager"));
        // A kubelet that reports a container as not ready also names the reason.
        let is_lost = without_reason && (runs || event.is_some()) || event.is_some() && (!runs || by_taint);
        if !is_lost {
            return None;
        }
        let since =
            event.as_ref().and_then(|(at, _)| *at).or_else(|| instant(ready.last_transition_time.as_ref()));
        let evidence = event.map_or_else(
            || evidence("pod", self.name(), format!("status.conditions[{index}].status"), "False"),
            |(_, evidence)| evidence,
        );
        Some(LostNode { node: quoted(node), since, evidence })
    }

    /// Returns the node that was lost while the pod was on it. The pod is over.
    pub(super) fn was_on_lost_node(&self) -> bool {
        let by_gc = self
            .condition("DisruptionTarget", "True")
            .is_some_and(|(_, condition)| condition.reason.as_deref() == Some("DeletionByPodGC"));
        by_gc
            || self.reason() == Some("NodeLost")
            || (self.gone || self.has_ended()) && self.events().node_not_ready().is_some()
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
        let what = node::end_by_node_text(reason)?;
        Some(self.with_reason(node::disrupted(format!("{what}{}", self.status_message())), reason))
    }

    fn unschedulable(&self) -> Option<Cause> {
        let (index, condition) = self.condition("PodScheduled", "False")?;
        let reason = condition.reason.as_deref().filter(|reason| *reason == "Unschedulable")?;
        let mut cause = scheduler::unschedulable(condition.message.as_deref().unwrap_or_default());
        cause.evidence.push(evidence(
            "pod",
            self.name(),
            format!("status.conditions[{index}].reason"),
            reason,
        ));
        if let Some((answer, evidence)) = self.events().autoscaler_answer() {
            cause.description = format!("{}; {answer}", cause.description);
            cause.evidence.push(evidence);
        }
        Some(cause)
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
    has_container_run(pod, None)
}

/// Returns whether a process of the container `name`, or of any main container, was ever observed.
fn has_container_run(pod: &Pod, name: Option<&str>) -> bool {
    Container::all(pod, ContainerRole::Main)
        .filter(|container| name.is_none_or(|name| name == container.name()))
        .any(|container| container.has_run())
}

/// Returns `true` if a later state of a pod has lost information: that a container ran, why it did not start,
/// or when the deletion of the pod was requested.
///
/// Kubernetes overwrites all of them while it deletes a pod. The reason for which a container waits becomes
/// `ContainerCreating`, and its termination becomes `ContainerStatusUnknown`. The last deletion by the kubelet
/// replaces the time of the first one. A program that watches pods must keep the earlier state for
/// [`JobObjects::earlier_pods`].
#[must_use]
pub fn is_less_informative(later: &Pod, earlier: &Pod) -> bool {
    let lost_deletion = earlier.metadata.deletion_timestamp.is_some()
        && earlier.metadata.deletion_grace_period_seconds > later.metadata.deletion_grace_period_seconds;
    let lost_start = has_run(earlier) && !has_run(later);
    let is_blocked = |pod| !has_run(pod) && blocking_cause(pod).is_some();
    let lost_cause = !has_run(later) && is_blocked(earlier) && !is_blocked(later);
    lost_deletion || lost_start || lost_cause
}

/// Returns the version of a state of a pod. A later state has a higher version.
fn version_of(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok())
}

/// Returns the uid of a pod, or its namespace and name if it has no uid.
fn identity_of(pod: &Pod) -> (&str, &str) {
    let metadata = &pod.metadata;
    match metadata.uid.as_deref() {
        Some(uid) if !uid.is_empty() => (uid, ""),
        _ => {
            (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
        }
    }
}

/// Returns the container that kept a pod open according to the pod's events: the kubelet stopped it, and it did
/// not have to stop the container `main`.
pub(super) fn events_show_held_open(events: &PodEvents<'_, '_>, main: &str) -> Option<(String, Option<i32>)> {
    if events.main_start(Some(main)).is_none() || events.killing(Some(main)).is_some() {
        return None;
    }
    let companion = events.companion_killed(main).filter(|_| events.companion_started(main).is_some())?;
    Some((quoted(companion), None))
}

/// The advice for a container that keeps a pod open.
pub(super) fn keeps_open_hint(companion: &str) -> String {
    format!(
        "exclude the job from whatever adds {companion} to its pod (for Istio, the pod label `sidecar.istio.io/inject: \
         \"false\"`), or have it added as a native sidecar, which ends with the work; ask the administrators of the cluster"
    )
}

/// The grace period of pods that set none.
const DEFAULT_GRACE_SECONDS: u64 = 30;

/// A node that does not respond.
pub(super) struct LostNode {
    /// The name in backticks.
    pub node: String,
    pub since: Option<Timestamp>,
    pub evidence: Evidence,
}

impl LostNode {
    /// Describes the node, such as "its node `n1` has not responded since …".
    pub(super) fn text(&self) -> String {
        match self.since {
            Some(since) => format!("its node {} has not responded since {}", self.node, whole_seconds(since)),
            None => format!("its node {} does not respond", self.node),
        }
    }
}

/// Returns the first cause that prevents the start of a container. A container that only needs more time
/// has none.
fn blocking_cause(pod: &Pod) -> Option<Cause> {
    let mut all = Container::all(pod, ContainerRole::Init).chain(Container::all(pod, ContainerRole::Main));
    all.find_map(|container| container.blocking_cause())
}
