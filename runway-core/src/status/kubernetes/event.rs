//! Causes from events. Often only events record a pod that no longer exists. They are weaker evidence than a
//! pod's state.

use super::container::{config_error, pull_hint};
use super::node::{disrupted, evicted};
use super::scheduler::unschedulable;
use super::time::{fine_instant, instant};
use crate::status::cause::{Cause, evidence, quoted};
use crate::status::ending::{Place, not_started};
use crate::status::{Evidence, Reason};
use crate::units::Timestamp;
use k8s_openapi::api::core::v1::Event;
use std::collections::BTreeMap;

/// The events of a job and of its pods, oldest first.
pub(super) struct Events<'a> {
    of_job: Vec<&'a Event>,
    of_pods: BTreeMap<&'a str, Vec<&'a Event>>,
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
        events.sort_by_key(|event| (at(event), event.metadata.name.as_deref(), event.message.as_deref()));
        let mut sorted = Self { of_job: Vec::new(), of_pods: BTreeMap::new() };
        for event in events {
            let about = &event.involved_object;
            match (about.kind.as_deref(), about.name.as_deref()) {
                (Some("Job"), _) => sorted.of_job.push(event),
                (Some("Pod"), Some(name)) => sorted.of_pods.entry(name).or_default().push(event),
                _ => {}
            }
        }
        sorted
    }

    fn of_pod(&self, name: Option<&str>) -> &[&'a Event] {
        name.and_then(|name| self.of_pods.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Returns the cause from the newest event of a pod that has one. Causes that the pod has overcome since
    /// are ignored.
    pub(super) fn cause_of(&self, pod: Option<&str>) -> Option<Cause> {
        let (mut has_node, mut has_volumes) = (false, false);
        for event in self.of_pod(pod).iter().rev() {
            match event.reason.as_deref() {
                Some("Started") if is_of_the_work(event) => return None,
                Some("Scheduled") => has_node = true,
                Some("Pulling" | "Pulled" | "Created") => has_volumes = true,
                Some("FailedScheduling") if has_node || has_volumes => {}
                Some("FailedMount" | "FailedAttachVolume") if has_volumes => {}
                _ => match cause(event) {
                    None => {}
                    // "Back-off pulling image" does not contain the error. The event of the first failure
                    // does.
                    Some(found) if found.reason == Reason::ImagePull => {
                        return self.failed_pull(pod).and_then(cause).or(Some(found));
                    }
                    found => return found,
                },
            }
        }
        None
    }

    /// Returns a cause from the events of pods that were not observed. The pod with the newest event comes
    /// first.
    pub(super) fn causes_of_unseen(&self, is_seen: impl Fn(&str) -> bool) -> Option<Cause> {
        let unseen = self.of_pods.iter().filter(|(name, _)| !is_seen(name));
        let mut unseen: Vec<_> =
            unseen.map(|(name, events)| (events.last().and_then(|event| at(event)), *name)).collect();
        unseen.sort();
        unseen.into_iter().rev().find_map(|(_, name)| self.cause_of(Some(name)))
    }

    /// Returns whether an event shows that a main container of any pod started.
    pub(super) fn tell_of_a_start(&self) -> bool {
        let is_start = |event: &Event| event.reason.as_deref() == Some("Started") && is_of_the_work(event);
        self.of_pods.values().flatten().any(|event| is_start(event))
    }

    /// Returns the newest rejection of a pod, if it is newer than `since`.
    pub(super) fn rejection(&self, since: Option<Timestamp>) -> Option<Cause> {
        let newest =
            self.of_job.iter().rev().find(|event| event.reason.as_deref() == Some("FailedCreate"))?;
        (since.is_none() || at(newest) > since).then(|| rejected(newest))
    }

    /// Returns the error from the registry or the node for an image that could not be pulled.
    pub(super) fn pull_failure(&self, pod: Option<&str>) -> Option<PullFailure<'a>> {
        let event = self.failed_pull(pod)?;
        let hint = pull_hint("Failed", message(event));
        let error = message(event).split_once("\": ").map_or(message(event), |(_, error)| error);
        Some(PullFailure { error, message: quoted(message(event)), hint, evidence: seen(event) })
    }

    fn failed_pull(&self, pod: Option<&str>) -> Option<&'a Event> {
        let is_pull = |event: &&&Event| {
            event.reason.as_deref() == Some("Failed") && message(event).starts_with("Failed to pull image")
        };
        self.of_pod(pod).iter().rev().find(is_pull).copied()
    }
}

/// Returns whether an event is about a main container rather than an init container.
fn is_of_the_work(event: &Event) -> bool {
    let path = event.involved_object.field_path.as_deref();
    path.is_none_or(|path| path.is_empty() || path.starts_with("spec.containers{"))
}

/// Returns the time of the last occurrence of an event.
pub(super) fn at(event: &Event) -> Option<Timestamp> {
    [
        event.series.as_ref().and_then(|series| fine_instant(series.last_observed_time.as_ref())),
        instant(event.last_timestamp.as_ref()),
        fine_instant(event.event_time.as_ref()),
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

fn seen(event: &Event) -> Evidence {
    let reason = event.reason.as_deref().unwrap_or_default();
    evidence("event", event.metadata.name.as_deref(), "reason", reason)
}

fn cause(event: &Event) -> Option<Cause> {
    let message = message(event);
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let cause = match event.reason.as_deref()? {
        "Failed" if says(&["InvalidImageName"]) => invalid_image(message),
        "Failed"
            if says(&["Failed to pull image", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"]) =>
        {
            pull(message)
        }
        "Failed" if says(&["OCI runtime", "containerd task", "executable file", "start container"]) => {
            not_started(Some(message), Place::Image)
        }
        "Failed" if message.starts_with("Error: ") => config_error(&quoted(message)),
        "BackOff" if says(&["pulling image"]) => pull(message),
        "ErrImageNeverPull" => pull(message),
        "InspectFailed" => invalid_image(message),
        "FailedScheduling" => unschedulable(message),
        "FailedMount" | "FailedAttachVolume" => config_error(&quoted(message)),
        "Evicted" => evicted(Some(message)),
        "Preempted" | "TaintManagerEviction" | "NodeShutdown" => {
            disrupted(format!("disrupted because it lost its node: {}", quoted(message)))
        }
        _ => return None,
    };
    Some(cause.seen(seen(event)))
}

fn pull(message: &str) -> Cause {
    let never = message.contains("pull policy of Never") || message.contains("ErrImageNeverPull");
    let hint = pull_hint(if never { "ErrImageNeverPull" } else { "Failed" }, message);
    Cause::new(Reason::ImagePull, format!("its image cannot be pulled ({})", quoted(message))).hint(hint)
}

fn invalid_image(message: &str) -> Cause {
    Cause::new(Reason::InvalidImage, format!("its image is not a valid image name ({})", quoted(message)))
        .hint("write `image` as `registry/path:tag`, in lower case")
}

fn rejected(event: &Event) -> Cause {
    let message = message(event);
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let hint = if says(&["exceeded quota"]) {
        "the namespace's ResourceQuota is used up; Kubernetes retries until other pods have ended"
    } else if says(&["PodSecurity"]) {
        "the namespace enforces a stricter Pod Security profile; ask the administrators of the cluster"
    } else if says(&["admission webhook"]) {
        "an admission webhook of the cluster rejects the pods; change the job, or the webhook"
    } else if says(&["must specify limits", "maximum", "minimum"]) {
        "the namespace's LimitRange or ResourceQuota does not allow these resources"
    } else {
        "the cluster rejects the pods; ask the administrators of the cluster"
    };
    let what = format!("the cluster rejects its pods: {}", quoted(message));
    Cause::new(Reason::PodsRejected, what).hint(hint).seen(seen(event))
}
