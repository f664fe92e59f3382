//! Causes from Kubernetes events. Often only events record a pod that no longer exists. Events are weaker
//! evidence than the state of a pod.

use super::container::{config_error, pull_hint};
use super::node::{disrupted, evicted};
use super::scheduler::unschedulable;
use super::time::{instant, micro_instant};
use crate::status::cause::{Cause, evidence, quoted};
use crate::status::termination::{ProgramSource, not_started};
use crate::status::{Evidence, Reason};
use crate::units::Timestamp;
use k8s_openapi::api::core::v1::Event;
use std::collections::BTreeMap;

/// The events of a job and of its pods, oldest first.
pub(super) struct Events<'a> {
    job_events: Vec<&'a Event>,
    pod_events: BTreeMap<&'a str, Vec<&'a Event>>,
}

/// The failure of an image pull.
pub(super) struct PullFailure<'a> {
    /// The error, without the name of the image before it.
    pub error: &'a str,
    pub message: String,
    pub hint: &'static str,
    pub evidence: Evidence,
}

impl<'a> Events<'a> {
    pub(super) fn new(events: &'a [Event]) -> Self {
        let mut events: Vec<_> = events.iter().collect();
        events.sort_by_key(|event| {
            (event_time(event), event.metadata.name.as_deref(), event.message.as_deref())
        });
        let mut grouped = Self { job_events: Vec::new(), pod_events: BTreeMap::new() };
        for event in events {
            let about = &event.involved_object;
            match (about.kind.as_deref(), about.name.as_deref()) {
                (Some("Job"), _) => grouped.job_events.push(event),
                (Some("Pod"), Some(name)) => grouped.pod_events.entry(name).or_default().push(event),
                _ => {}
            }
        }
        grouped
    }

    fn events_of_pod(&self, name: Option<&str>) -> &[&'a Event] {
        name.and_then(|name| self.pod_events.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Returns the cause from the newest event of a pod that has one. Causes that the pod has overcome since
    /// are ignored.
    pub(super) fn pod_cause(&self, pod: Option<&str>) -> Option<Cause> {
        let (mut has_node, mut has_volumes) = (false, false);
        for event in self.events_of_pod(pod).iter().rev() {
            match event.reason.as_deref() {
                Some("Started") if is_about_main_container(event) => return None,
                Some("Scheduled") => has_node = true,
                Some("Pulling" | "Pulled" | "Created") => has_volumes = true,
                Some("FailedScheduling") if has_node || has_volumes => {}
                Some("FailedMount" | "FailedAttachVolume") if has_volumes => {}
                _ => match event_cause(event) {
                    None => {}
                    // The message "Back-off pulling image" does not contain the error. The event of the
                    // failed pull contains it.
                    Some(found) if found.reason == Reason::ImagePull => {
                        return self.failed_pull_event(pod).and_then(event_cause).or(Some(found));
                    }
                    found => return found,
                },
            }
        }
        None
    }

    /// Returns a cause from the events of pods that were not observed. The pod with the newest event comes
    /// first.
    pub(super) fn unobserved_pod_cause(&self, is_observed: impl Fn(&str) -> bool) -> Option<Cause> {
        let unobserved = self.pod_events.iter().filter(|(name, _)| !is_observed(name));
        let mut unobserved: Vec<_> = unobserved
            .map(|(name, events)| (events.last().and_then(|event| event_time(event)), *name))
            .collect();
        unobserved.sort();
        unobserved.into_iter().rev().find_map(|(_, name)| self.pod_cause(Some(name)))
    }

    /// Returns whether an event shows that a main container of any pod started.
    pub(super) fn show_start(&self) -> bool {
        let is_start =
            |event: &Event| event.reason.as_deref() == Some("Started") && is_about_main_container(event);
        self.pod_events.values().flatten().any(|event| is_start(event))
    }

    /// Returns the newest rejection of a pod, if it is newer than `since` or `since` is `None`.
    pub(super) fn rejection(&self, since: Option<Timestamp>) -> Option<Cause> {
        let newest =
            self.job_events.iter().rev().find(|event| event.reason.as_deref() == Some("FailedCreate"))?;
        (since.is_none() || event_time(newest) > since).then(|| rejected(newest))
    }

    /// Returns the error from the registry or the node for an image that could not be pulled.
    pub(super) fn pull_failure(&self, pod: Option<&str>) -> Option<PullFailure<'a>> {
        let event = self.failed_pull_event(pod)?;
        let hint = pull_hint("Failed", message(event));
        let error = message(event).split_once("\": ").map_or(message(event), |(_, error)| error);
        Some(PullFailure { error, message: quoted(message(event)), hint, evidence: event_evidence(event) })
    }

    fn failed_pull_event(&self, pod: Option<&str>) -> Option<&'a Event> {
        let is_pull = |event: &&&Event| {
            event.reason.as_deref() == Some("Failed") && message(event).starts_with("Failed to pull image")
        };
        self.events_of_pod(pod).iter().rev().find(is_pull).copied()
    }
}

/// Returns whether an event is about a main container rather than an init container.
fn is_about_main_container(event: &Event) -> bool {
    let path = event.involved_object.field_path.as_deref();
    path.is_none_or(|path| path.is_empty() || path.starts_with("spec.containers{"))
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

fn message(event: &Event) -> &str {
    event.message.as_deref().unwrap_or_default()
}

fn event_evidence(event: &Event) -> Evidence {
    let reason = event.reason.as_deref().unwrap_or_default();
    evidence("event", event.metadata.name.as_deref(), "reason", reason)
}

fn event_cause(event: &Event) -> Option<Cause> {
    let message = message(event);
    let mentions = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let cause = match event.reason.as_deref()? {
        "Failed" if mentions(&["InvalidImageName"]) => invalid_image(message),
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
            not_started(Some(message), ProgramSource::Image)
        }
        "Failed" if message.starts_with("Error: ") => config_error(&quoted(message)),
        "BackOff" if mentions(&["pulling image"]) => pull_failed(message),
        "ErrImageNeverPull" => pull_failed(message),
        "InspectFailed" => invalid_image(message),
        "FailedScheduling" => unschedulable(message),
        "FailedMount" | "FailedAttachVolume" => config_error(&quoted(message)),
        "Evicted" => evicted(Some(message)),
        "Preempted" | "TaintManagerEviction" | "NodeShutdown" => {
            disrupted(format!("disrupted because it lost its node: {}", quoted(message)))
        }
        _ => return None,
    };
    Some(cause.with_evidence(event_evidence(event)))
}

fn pull_failed(message: &str) -> Cause {
    let never = message.contains("pull policy of Never") || message.contains("ErrImageNeverPull");
    let hint = pull_hint(if never { "ErrImageNeverPull" } else { "Failed" }, message);
    Cause::new(Reason::ImagePull, format!("its image cannot be pulled ({})", quoted(message))).with_hint(hint)
}

fn invalid_image(message: &str) -> Cause {
    Cause::new(Reason::InvalidImage, format!("its image is not a valid image name ({})", quoted(message)))
        .with_hint("write `image` as `registry/path:tag`, in lower case")
}

fn rejected(event: &Event) -> Cause {
    let message = message(event);
    let mentions = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let hint = if mentions(&["exceeded quota"]) {
        "the namespace's ResourceQuota is used up; Kubernetes retries until other pods have ended"
    } else if mentions(&["PodSecurity"]) {
        "the namespace enforces a stricter Pod Security profile; ask the administrators of the cluster"
    } else if mentions(&["admission webhook"]) {
        "an admission webhook of the cluster rejects the pods; change the job, or the webhook"
    } else if mentions(&["must specify limits", "maximum", "minimum"]) {
        "the namespace's LimitRange or ResourceQuota does not allow these resources"
    } else {
        "the cluster rejects the pods; ask the administrators of the cluster"
    };
    let description = format!("the cluster rejects its pods: {}", quoted(message));
    Cause::new(Reason::PodsRejected, description).with_hint(hint).with_evidence(event_evidence(event))
}
