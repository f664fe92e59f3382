//! Causes from Kubernetes events. Often only events record a pod that no longer exists. Events are weaker
//! evidence than the state of a pod.
//!
//! The kubelet, the scheduler and the controllers add reasons with each release. An event with an unknown
//! reason is reported in its own words.

use super::admission::rejected;
use super::container::{config_error, invalid_image, not_started_in_image, pull_hint};
use super::node::{disrupted, evicted, rejected_by_node, stopped_from_outside};
use super::rules::{self, matching_rule};
use super::scheduler::unschedulable;
use super::time::{instant, micro_instant};
use crate::status::cause::{Cause, evidence, quoted};
use crate::status::{Evidence, Reason};
use crate::units::Timestamp;
use k8s_openapi::api::core::v1::Event;
use std::collections::{BTreeMap, BTreeSet};

/// The events of a job and of its pods, oldest first.
pub(super) struct Events<'a> {
    job_events: Vec<&'a Event>,
    pod_events: BTreeMap<&'a str, Vec<&'a Event>>,
    /// Events about the job's entry in a queue, such as a `Workload` of Kueue.
    queue_events: Vec<&'a Event>,
}

/// The failure of an image pull.
pub(super) struct PullFailure<'a> {
    /// The error, without the name of the image before it.
    pub error: &'a str,
    pub message: String,
    pub hint: Option<&'static str>,
    pub evidence: Evidence,
}

/// How often something was tried, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrences {
    pub count: u32,
    pub since: Option<Timestamp>,
}

impl<'a> Events<'a> {
    pub(super) fn new(events: &'a [Event]) -> Self {
        let mut events: Vec<_> = events.iter().collect();
        events.sort_by_key(|event| {
            (event_time(event), event.metadata.name.as_deref(), event.message.as_deref())
        });
        let mut grouped =
            Self { job_events: Vec::new(), pod_events: BTreeMap::new(), queue_events: Vec::new() };
        for event in events {
            let about = &event.involved_object;
            match (about.kind.as_deref(), about.name.as_deref()) {
                (Some("Job"), _) => grouped.job_events.push(event),
                (Some("Pod"), Some(name)) => grouped.pod_events.entry(name).or_default().push(event),
                (Some("Workload"), _) => grouped.queue_events.push(event),
                _ => {}
            }
        }
        grouped
    }

    /// Returns the events of one pod.
    pub(super) fn of_pod(&self, name: Option<&str>) -> PodEvents<'_, 'a> {
        PodEvents(name.and_then(|name| self.pod_events.get(name)).map_or(&[], Vec::as_slice))
    }

    /// Returns the names of the pods for which an event exists, or that the Job controller created.
    pub(super) fn pod_names(&self) -> BTreeSet<&'a str> {
        let created = self.job_events.iter().filter_map(|event| created_pod(event));
        self.pod_events.keys().copied().chain(created).collect()
    }

    /// Returns the number of pods that the Job controller created according to combined events. Such an event
    /// only names the last of its pods.
    pub(super) fn unnamed_pods(&self) -> u32 {
        let combined = self.job_events.iter().filter(|event| is_combined(event));
        let created = combined.filter(|event| created_pod(event).is_some());
        created.map(|event| occurrences(event).count.saturating_sub(1)).fold(0, u32::saturating_add)
    }

    /// Returns the time at which the Job controller created the first pod.
    pub(super) fn first_creation(&self) -> Option<Timestamp> {
        let created = self.job_events.iter().filter(|event| created_pod(event).is_some());
        created.filter_map(|event| first_time(event)).min()
    }

    /// Returns whether the Job controller deleted this pod.
    pub(super) fn job_deleted(&self, pod: Option<&str>) -> bool {
        let deleted = self.job_events.iter().filter(|event| has_reason(event, "SuccessfulDelete"));
        let names = deleted.filter_map(|event| message(event).strip_prefix("Deleted pod: "));
        pod.is_some_and(|pod| names.into_iter().any(|name| name == pod))
    }

    /// Returns a cause from the events of pods that were not observed. The pod with the newest event comes
    /// first.
    pub(super) fn unobserved_pod_cause(
        &self,
        main: Option<&str>,
        is_observed: impl Fn(&str) -> bool,
    ) -> Option<Cause> {
        let unobserved = self.pod_events.iter().filter(|(name, _)| !is_observed(name));
        let mut unobserved: Vec<_> = unobserved
            .map(|(name, events)| (events.last().and_then(|event| event_time(event)), *name))
            .collect();
        unobserved.sort();
        unobserved.into_iter().rev().find_map(|(_, name)| {
            let events = self.of_pod(Some(name));
            events.gone_pod_cause(main, self.job_deleted(Some(name)))
        })
    }

    /// Returns the events of the pod with the newest event.
    pub(super) fn newest_pod(&self) -> Option<(&'a str, PodEvents<'_, 'a>)> {
        let newest = self
            .pod_events
            .iter()
            .max_by_key(|(name, events)| (events.last().and_then(|event| event_time(event)), **name));
        newest.map(|(name, events)| (*name, PodEvents(events)))
    }

    /// Returns whether an event shows that a main container of any pod started.
    pub(super) fn show_start(&self) -> bool {
        self.pod_events.values().any(|events| PodEvents(events).main_start(None).is_some())
    }

    /// Returns the newest rejection of a pod, if it is newer than `since` or `since` is `None`.
    pub(super) fn rejection(&self, since: Option<Timestamp>) -> Option<Cause> {
        let newest = self.job_events.iter().rev().find(|event| has_reason(event, "FailedCreate"))?;
        (since.is_none() || event_time(newest) > since)
            .then(|| rejected(message(newest)).with_evidence(event_evidence(newest)))
    }

    /// Returns how often the API server rejected a pod of the job.
    pub(super) fn rejections(&self) -> Occurrences {
        let rejections = self.job_events.iter().filter(|event| has_reason(event, "FailedCreate"));
        rejections.map(|event| occurrences(event)).fold(Occurrences::NONE, Occurrences::plus)
    }

    /// Returns the newest event of a queue about the job: what it waits for, or why it was stopped.
    pub(super) fn queue_answer(&self) -> Option<(String, Evidence)> {
        let is_of_queue = |event: &&&Event| source(event).is_some_and(|source| source.contains("kueue"));
        let informative =
            |event: &&&Event| !message(event).is_empty() && !has_reason(event, "CreatedWorkload");
        let all = self.queue_events.iter().chain(&self.job_events);
        let newest = all.filter(is_of_queue).filter(informative).max_by_key(|event| event_time(event))?;
        Some((quoted(message(newest)), event_evidence(newest)))
    }
}

impl Occurrences {
    pub(super) const NONE: Self = Self { count: 0, since: None };

    pub(super) fn plus(self, other: Self) -> Self {
        let since = match (self.since, other.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { count: self.count.saturating_add(other.count), since }
    }
}

/// The events of one pod, oldest first.
#[derive(Clone, Copy)]
pub(super) struct PodEvents<'e, 'a>(&'e [&'a Event]);

impl<'a> PodEvents<'_, 'a> {
    fn newest(&self, reasons: &[&str]) -> Option<&'a Event> {
        self.0
            .iter()
            .rev()
            .find(|event| event.reason.as_deref().is_some_and(|one| reasons.contains(&one)))
            .copied()
    }

    /// Returns the newest start of a main container, or of the container `main`.
    pub(super) fn main_start(&self, main: Option<&str>) -> Option<&'a Event> {
        self.0.iter().rev().find(|event| has_reason(event, "Started") && is_about_main(event, main)).copied()
    }

    /// Returns whether a main container other than `main` started.
    pub(super) fn companion_started(&self, main: &str) -> Option<&'a str> {
        self.companion(main, "Started")
    }

    /// Returns the name of a main container other than `main` that the kubelet stopped.
    pub(super) fn companion_killed(&self, main: &str) -> Option<&'a str> {
        self.companion(main, "Killing")
    }

    fn companion(&self, main: &str, reason: &str) -> Option<&'a str> {
        let containers = self.0.iter().filter(|event| has_reason(event, reason));
        containers.filter_map(|event| container_name(event)).find(|name| *name != main)
    }

    /// Returns the event with which the kubelet stopped a main container, or the container `main`.
    pub(super) fn killing(&self, main: Option<&str>) -> Option<&'a Event> {
        self.0.iter().rev().find(|event| has_reason(event, "Killing") && is_about_main(event, main)).copied()
    }

    /// Returns a cause for a pod that never started, or that failed and has no better evidence. The pod still
    /// exists, or its state was observed.
    pub(super) fn startup_cause(&self) -> Option<Cause> {
        let (mut has_node, mut has_volumes) = (false, false);
        let mut unknown = None;
        for event in self.0.iter().rev() {
            match event.reason.as_deref() {
                Some("Started") if is_about_main(event, None) => break,
                Some("Scheduled") => has_node = true,
                Some("Pulling" | "Pulled" | "Created") => has_volumes = true,
                Some("FailedScheduling") if has_node || has_volumes => {}
                Some("FailedMount" | "FailedAttachVolume") if has_volumes => {}
                _ => match startup_event_cause(event) {
                    // The message "Back-off pulling image" does not contain the error. The event of the
                    // failed pull contains it.
                    Some(found) if found.reason == Some(Reason::ImagePull) => {
                        return self.failed_pull().and_then(startup_event_cause).or(Some(found));
                    }
                    Some(found) => return Some(found),
                    None if !has_volumes && unknown.is_none() => unknown = unknown_warning(event),
                    None => {}
                },
            }
        }
        unknown
    }

    /// Returns the cause of a pod that no longer exists and was not observed. `by_job` tells whether the Job
    /// controller deleted the pod.
    pub(super) fn gone_pod_cause(&self, main: Option<&str>, by_job: bool) -> Option<Cause> {
        self.rejection().or_else(|| self.stop_cause(main, by_job)).or_else(|| self.startup_cause())
    }

    /// Returns the cause of a pod that its kubelet rejected. The kubelet writes an event with the reason of the
    /// rejection, and none about a container.
    pub(super) fn rejection(&self) -> Option<Cause> {
        let about_containers = ["Pulling", "Pulled", "Created", "Started", "Killing", "Failed", "BackOff"];
        if self.newest(&about_containers).is_some() {
            return None;
        }
        let is_rejection = |event: &&&Event| {
            source(event) == Some("kubelet")
                && startup_event_cause(event).is_none()
                && unknown_warning(event).is_some()
        };
        let event = self.0.iter().rev().find(is_rejection)?;
        let reason = event.reason.as_deref().unwrap_or_default();
        Some(rejected_by_node(reason, Some(message(event))).with_evidence(event_evidence(event)))
    }

    /// Returns the cause that stopped the pod's container, if it is newer than the start of the container.
    pub(super) fn stop_cause(&self, main: Option<&str>, by_job: bool) -> Option<Cause> {
        let started = self.main_start(main).and_then(event_time);
        let is_current = |event: &&Event| started.is_none() || event_time(event) >= started;
        for reason in ["Evicted", "Preempted", "NodeShutdown", "TaintManagerEviction", "NodeNotReady"] {
            if let Some(cause) = self.newest(&[reason]).filter(is_current).and_then(stop_event_cause) {
                return Some(cause);
            }
        }
        if let Some(cause) = self.probe_failure(main) {
            return Some(cause);
        }
        let killing = self.killing(main).filter(is_current).filter(|_| !by_job && started.is_some())?;
        Some(stopped_from_outside().with_evidence(event_evidence(killing)))
    }

    /// Returns the cause of a container that the kubelet killed because a probe failed.
    pub(super) fn probe_failure(&self, main: Option<&str>) -> Option<Cause> {
        let probe = self.newest(&["Unhealthy"]).filter(|event| is_about_main(event, main));
        let kill = self.killing(main)?;
        // The kubelet writes "Stopping container NAME" for every other end of a container.
        let by_probe = message(kill).contains("probe");
        let detail = probe
            .filter(|_| by_probe)
            .map_or_else(String::new, |probe| format!(": {}", quoted(message(probe))));
        let cause = Cause::new(
            Reason::Signaled,
            format!("stopped by its node, because a probe failed ({}){detail}", quoted(message(kill))),
        );
        by_probe.then(|| {
            cause
                .with_hint(
                    "the pod has a probe, which the job does not set: ask the administrators of the cluster",
                )
                .with_evidence(event_evidence(kill))
        })
    }

    /// Returns the newest event which says that the node does not respond.
    pub(super) fn node_not_ready(&self) -> Option<(Option<Timestamp>, Evidence)> {
        self.newest(&["NodeNotReady"]).map(|event| (event_time(event), event_evidence(event)))
    }

    /// Returns an eviction of the pod by its kubelet.
    pub(super) fn kubelet_eviction(&self) -> Option<Cause> {
        self.newest(&["Evicted"])
            .and_then(stop_event_cause)
            .filter(|cause| cause.reason == Some(Reason::Evicted))
    }

    /// Returns the answer of an autoscaler to a pod without a node.
    pub(super) fn autoscaler_answer(&self) -> Option<(String, Evidence)> {
        let is_other = |event: &&&Event| {
            !has_reason(event, "Scheduled")
                && source(event).is_some_and(|source| !source.ends_with("-scheduler"))
        };
        let newest = self.0.iter().rev().find(is_other)?;
        let source = source(newest).unwrap_or_default();
        let reason = newest.reason.as_deref().unwrap_or_default();
        Some((
            format!("{} of {}: {}", bare(reason), bare(source), quoted(message(newest))),
            event_evidence(newest),
        ))
    }

    /// Returns how often the kubelet reported a failure to start the pod's containers.
    pub(super) fn failures_to_start(&self) -> Occurrences {
        let failures = self
            .0
            .iter()
            .filter(|event| startup_event_cause(event).or_else(|| unknown_warning(event)).is_some());
        // Each retry can write several events. The one that occurred most often counts.
        let since = failures.clone().filter_map(|event| first_time(event)).min();
        let count = failures.map(|event| occurrences(event).count).max().unwrap_or(0);
        Occurrences { count, since }
    }

    /// Returns the error from the registry or the node for an image that could not be pulled.
    pub(super) fn pull_failure(&self) -> Option<PullFailure<'a>> {
        let event = self.failed_pull()?;
        let error = message(event).split_once("\": ").map_or(message(event), |(_, error)| error);
        Some(PullFailure {
            error,
            message: quoted(message(event)),
            hint: pull_hint(message(event)),
            evidence: event_evidence(event),
        })
    }

    fn failed_pull(&self) -> Option<&'a Event> {
        let is_pull = |event: &&&Event| {
            has_reason(event, "Failed") && message(event).starts_with("Failed to pull image")
        };
        self.0.iter().rev().find(is_pull).copied()
    }
}

/// Returns whether [`classify`](super::classify) can use an event as evidence. A program that watches events
/// can drop all others.
#[must_use]
pub fn is_evidence(event: &Event) -> bool {
    let reason = event.reason.as_deref().unwrap_or_default();
    let is_of_queue = || source(event).is_some_and(|source| source.contains("kueue"));
    match event.involved_object.kind.as_deref() {
        Some("Job") => {
            matches!(reason, "FailedCreate" | "SuccessfulCreate" | "SuccessfulDelete") || is_of_queue()
        }
        Some("Pod") => {
            let is_cause = startup_event_cause(event)
                .or_else(|| stop_event_cause(event))
                .or_else(|| unknown_warning(event));
            // The scheduler's answer is also a condition of the pod.
            reason != "FailedScheduling" && is_cause.is_some()
                || matches!(reason, "Started" | "Killing" | "Unhealthy")
                || matches!(reason, "TriggeredScaleUp" | "NotTriggerScaleUp" | "Nominated")
        }
        Some("Workload") => is_of_queue(),
        _ => false,
    }
}

fn has_reason(event: &Event, reason: &str) -> bool {
    event.reason.as_deref() == Some(reason)
}

/// Returns the name of the main container that an event is about.
fn container_name(event: &Event) -> Option<&str> {
    event.involved_object.field_path.as_deref()?.strip_prefix("spec.containers{")?.strip_suffix('}')
}

/// Returns whether an event is about the container `main`, or about any main container if `main` is `None`.
/// An event without a path counts, because not every kubelet writes one.
fn is_about_main(event: &Event, main: Option<&str>) -> bool {
    match event.involved_object.field_path.as_deref() {
        None | Some("") => true,
        Some(path) => {
            path.starts_with("spec.containers{")
                && main.is_none_or(|main| container_name(event).is_none_or(|name| name == main))
        }
    }
}

/// Returns the component that wrote an event, such as `kubelet`.
fn source(event: &Event) -> Option<&str> {
    let component = event.source.as_ref().and_then(|source| source.component.as_deref());
    [component, event.reporting_component.as_deref()].into_iter().flatten().find(|name| !name.is_empty())
}

/// Returns the time of the last occurrence of an event.
pub(super) fn event_time(event: &Event) -> Option<Timestamp> {
    [
        event.series.as_ref().and_then(|series| micro_instant(series.last_observed_time.as_ref())),
        instant(event.last_timestamp.as_ref()),
        micro_instant(event.event_time.as_ref()),
        instant(event.first_timestamp.as_ref()),
        instant(event.metadata.creation_timestamp.as_ref()),
    ]
    .into_iter()
    .flatten()
    .next()
}

/// Returns the time of the first occurrence of an event.
fn first_time(event: &Event) -> Option<Timestamp> {
    instant(event.first_timestamp.as_ref())
        .or_else(|| micro_instant(event.event_time.as_ref()))
        .or_else(|| event_time(event))
}

/// Returns how often an event occurred, at least once.
fn occurrences(event: &Event) -> Occurrences {
    let series = event.series.as_ref().and_then(|series| series.count);
    let count = event.count.max(series).and_then(|count| u32::try_from(count).ok());
    Occurrences { count: count.unwrap_or(1).max(1), since: first_time(event) }
}

/// The API server's clients put this before the message of an event that stands for several similar ones.
const COMBINED: &str = "(combined from similar events): ";

fn is_combined(event: &Event) -> bool {
    event.message.as_deref().is_some_and(|message| message.starts_with(COMBINED))
}

fn message(event: &Event) -> &str {
    let message = event.message.as_deref().unwrap_or_default();
    message.strip_prefix(COMBINED).unwrap_or(message)
}

/// Returns the name of the pod whose creation an event of a Job reports.
#[must_use]
pub fn created_pod(event: &Event) -> Option<&str> {
    if has_reason(event, "SuccessfulCreate") { message(event).strip_prefix("Created pod: ") } else { None }
}

fn event_evidence(event: &Event) -> Evidence {
    let reason = event.reason.as_deref().unwrap_or_default();
    evidence("event", event.metadata.name.as_deref(), "reason", reason)
}

/// Returns a word from an event as printable text without quotes.
fn bare(word: &str) -> String {
    quoted(word).replace('`', "")
}

/// Returns the cause from an event about a pod that does not start.
fn startup_event_cause(event: &Event) -> Option<Cause> {
    let message = message(event);
    let mentions = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let cause = match event.reason.as_deref()? {
        "Failed" if mentions(&["InvalidImageName"]) => invalid_image(&format!("({})", quoted(message))),
        "Failed"
            if mentions(&[
                "Failed to pull image",
                "ErrImagePull",
                "ImagePullBackOff",
                "ErrImageNeverPull",
            ]) =>
        {
            pull_failed(message)
        }
        "Failed" if mentions(&["OCI runtime", "containerd task", "executable file", "start container"]) => {
            not_started_in_image(Some(message))
        }
        "Failed" if message.starts_with("Error: ") => {
            config_error(&quoted(message), message, Some(Reason::ConfigError))
        }
        "BackOff" if mentions(&["pulling image"]) => pull_failed(message),
        "ErrImageNeverPull" => pull_failed(message),
        "InspectFailed" => invalid_image(&format!("({})", quoted(message))),
        "FailedScheduling" => unschedulable(message),
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => volume_not_ready(message),
        "FailedCreatePodSandBox" | "FailedCreatePodContainer" | "NetworkNotReady" => Cause::new(
            None,
            format!("its node cannot create the sandbox or the network of its pod ({})", quoted(message)),
        )
        .with_hint(
            "this can clear when the node retries; if it lasts, ask the administrators of the cluster",
        ),
        _ => return None,
    };
    Some(cause.with_evidence(event_evidence(event)))
}

/// Returns the cause from an event about the end of a pod that another component than the job wanted.
fn stop_event_cause(event: &Event) -> Option<Cause> {
    let message = message(event);
    let cause = match event.reason.as_deref()? {
        // Other components than the kubelet, such as Karpenter, evict pods through the API.
        "Evicted" => match source(event).filter(|source| *source != "kubelet") {
            Some(source) => disrupted(format!("evicted by {}: {}", bare(source), quoted(message))),
            None => evicted(Some(message)),
        },
        "Preempted" => {
            disrupted(format!("preempted: its node was given to another pod: {}", quoted(message)))
        }
        "NodeShutdown" => disrupted(format!("disrupted because its node shut down: {}", quoted(message))),
        // The same reason announces that a deletion was cancelled.
        "TaintManagerEviction" if message.starts_with("Cancelling") => return None,
        "TaintManagerEviction" => disrupted(format!(
            "deleted because of a taint of its node, which was lost or drained: {}",
            quoted(message)
        )),
        "NodeNotReady" => disrupted(format!("its node did not respond: {}", quoted(message))),
        _ => return None,
    };
    Some(cause.with_evidence(event_evidence(event)))
}

/// The reasons of warnings that do not explain why a pod does not start: they are about the configuration of
/// the node, about probes, or about the end of a pod.
const UNRELATED_WARNINGS: &[&str] = &[
    "MissingClusterDNS",
    "DNSConfigForming",
    "CgroupV1",
    "HostPortConflict",
    "Unhealthy",
    "ProbeWarning",
    "FailedPreStopHook",
    "FailedKillPod",
    "ExceededGracePeriod",
    "NodeNotReady",
    "Evicted",
    "BackOff",
    "FailedToRetrieveImagePullSecret",
    "ResizeDeferred",
    "ResizeInfeasible",
    "FailedNodeAllocatableEnforcement",
    "SystemOOM",
];

/// Returns the words of a warning with a reason that is in no list.
fn unknown_warning(event: &Event) -> Option<Cause> {
    let reason = event.reason.as_deref().filter(|reason| !UNRELATED_WARNINGS.contains(reason))?;
    if event.type_.as_deref() != Some("Warning") {
        return None;
    }
    let source = source(event).map_or_else(|| "Kubernetes".to_owned(), bare);
    let cause = Cause::new(None, format!("{source} reports {}: {}", bare(reason), quoted(message(event))));
    Some(cause.with_evidence(event_evidence(event)))
}

fn pull_failed(message: &str) -> Cause {
    Cause::new(Reason::ImagePull, format!("its image cannot be pulled ({})", quoted(message)))
        .with_optional_hint(pull_hint(message))
}

fn volume_not_ready(message: &str) -> Cause {
    let rule = matching_rule(rules::VOLUME, message);
    Cause::new(rule.and_then(|rule| rule.reason), format!("a volume is not ready ({})", quoted(message)))
        .with_hint(
            rule.map_or("the node retries; if it lasts, ask the administrators of the cluster", |rule| {
                rule.hint
            }),
        )
}
