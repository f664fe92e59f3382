//! Tests of the classification with hand-built objects.

mod finished;
mod never_ran;
mod properties;
mod waiting;

use super::*;
use crate::status::{Evidence, Phase, Reason};
use crate::units::Timestamp;
use serde_json::{Value as Json, json};

const AT: &str = "2026-11-21T08:00:00Z";

fn at(seconds: u64) -> String {
    let start: Timestamp = AT.parse().unwrap();
    let at = start.saturating_add(crate::units::Seconds::new(seconds)).to_string();
    format!("{}Z", at.split('.').next().unwrap())
}

fn instant_at(seconds: u64) -> Timestamp {
    at(seconds).parse().unwrap()
}

/// A Job with three attempts, a timeout of fifteen minutes and two GPUs.
fn job(status: Json) -> Json {
    json!({
        "metadata": {"name": "embed", "namespace": "runway-jobs", "uid": "j"},
        "spec": {
            "activeDeadlineSeconds": 900, "backoffLimit": 2, "completions": 1, "parallelism": 1,
            "template": {"spec": {"restartPolicy": "Never", "containers": [spec()]}},
        },
        "status": status,
    })
}

fn spec() -> Json {
    json!({
        "name": "job", "image": "registry.internal/embed:1",
        "resources": {"limits": {"cpu": "1", "memory": "64Mi", "nvidia.com/gpu": "2"}},
    })
}

/// The pod of an attempt. The pods are created ten seconds apart, and each is scheduled one second after
/// its creation.
fn pod(attempt: u64, status: Json) -> Json {
    let mut status = status;
    let scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": at(attempt * 10 + 1)});
    match status.get_mut("conditions") {
        Some(conditions) => conditions.as_array_mut().unwrap().push(scheduled),
        None => status["conditions"] = json!([scheduled]),
    }
    json!({
        "metadata": {
            "name": format!("embed-{attempt}"), "uid": format!("p{attempt}"), "creationTimestamp": at(attempt * 10),
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "embed", "uid": "j", "controller": true}],
        },
        "spec": {"containers": [spec()], "nodeName": "n1"},
        "status": status,
    })
}

fn container(state: Json) -> Json {
    json!({"name": "job", "image": "registry.internal/embed:1", "state": state})
}

/// An attempt whose container ended eight seconds after its pod was created.
fn ended(attempt: u64, phase: &str, reason: &str, code: i32) -> Json {
    let terminated = json!({"reason": reason, "exitCode": code, "startedAt": at(attempt * 10 + 2), "finishedAt": at(attempt * 10 + 8)});
    pod(attempt, json!({"phase": phase, "containerStatuses": [container(json!({"terminated": terminated}))]}))
}

fn waiting(attempt: u64, reason: &str, message: &str) -> Json {
    let waiting = json!({"waiting": {"reason": reason, "message": message}});
    pod(attempt, json!({"phase": "Pending", "containerStatuses": [container(waiting)]}))
}

fn running(attempt: u64) -> Json {
    let running = json!({"running": {"startedAt": at(attempt * 10 + 2)}});
    pod(attempt, json!({"phase": "Running", "containerStatuses": [container(running)]}))
}

fn unscheduled(message: &str) -> Json {
    let condition =
        json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    let mut pod = pod(0, json!({"phase": "Pending"}));
    pod["status"]["conditions"] = json!([condition]);
    pod["spec"]["nodeName"] = Json::Null;
    pod
}

fn event(kind: &str, about: &str, reason: &str, message: &str, seconds: u64) -> Json {
    json!({
        "metadata": {"name": format!("{about}.{reason}.{seconds}")},
        "involvedObject": {"kind": kind, "name": about},
        "reason": reason, "message": message, "lastTimestamp": at(seconds),
    })
}

fn condition(kind: &str, reason: &str, seconds: u64) -> Json {
    json!({"startTime": AT, "conditions": [
        {"type": "Suspended", "status": "False"},
        {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": at(seconds), "message": "as the controller says"},
    ]})
}

fn failed() -> Json {
    job(condition("Failed", "BackoffLimitExceeded", 60))
}

/// The objects of one job. Unlike [`JobObjects`], this type owns them.
#[derive(Debug, Clone, Default)]
struct Scene {
    job: Option<Job>,
    pods: Vec<Pod>,
    gone: Vec<Pod>,
    earlier: Vec<Pod>,
    events: Vec<Event>,
}

fn read<T: serde::de::DeserializeOwned>(all: &[Json]) -> Vec<T> {
    all.iter().map(|json| serde_json::from_value(json.clone()).unwrap()).collect()
}

impl Scene {
    fn of(job: Json) -> Self {
        Self { job: Some(serde_json::from_value(job).unwrap()), ..Self::default() }
    }

    fn orphaned() -> Self {
        Self::default()
    }

    fn pods(self, pods: &[Json]) -> Self {
        Self { pods: read(pods), ..self }
    }

    fn gone(self, pods: &[Json]) -> Self {
        Self { gone: read(pods), ..self }
    }

    fn earlier(self, pods: &[Json]) -> Self {
        Self { earlier: read(pods), ..self }
    }

    fn events(self, events: &[Json]) -> Self {
        Self { events: read(events), ..self }
    }

    fn objects(&self) -> JobObjects<'_> {
        JobObjects {
            job: self.job.as_ref(),
            pods: &self.pods,
            gone_pods: &self.gone,
            earlier_pods: &self.earlier,
            events: &self.events,
        }
    }

    fn classify(&self) -> Status {
        let status = classify(&self.objects());
        self.check_invariants(&status);
        status
    }

    /// Asserts the properties of every status.
    fn check_invariants(&self, status: &Status) {
        let is_active = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        };
        let has_active_pods = self.pods.iter().any(is_active);
        let is_final = status.phase.is_final() || (status.phase == Unknown && self.job.is_none());
        assert_eq!(status.occupies_resources, has_active_pods || !is_final, "{status:?}");
        assert!(!status.message.is_empty());
        for text in [Some(&status.message), status.hint.as_ref()].into_iter().flatten() {
            assert!(text.chars().count() < 2000 && !text.contains(char::is_control), "{text:?}");
        }
        assert!(status.attempt_spans.is_sorted_by_key(|run| run.scheduled));
        for evidence in &status.evidence {
            assert_eq!(self.resolve(evidence).as_deref(), Some(evidence.value.as_str()), "{evidence:?}");
        }
    }

    /// Returns the value in the object to which a piece of evidence points.
    fn resolve(&self, evidence: &Evidence) -> Option<String> {
        let (kind, name) = evidence.object.split_once('/').unwrap();
        let named = |objects: Vec<Json>| {
            objects
                .into_iter()
                .filter(|object| object["metadata"]["name"].as_str().unwrap_or_default() == name)
        };
        let json = |value: Result<Json, _>| value.unwrap();
        let objects: Vec<_> = match kind {
            "job" => named(self.job.iter().map(|job| json(serde_json::to_value(job))).collect()).collect(),
            "pod" => {
                let all = self.pods.iter().chain(&self.gone).chain(&self.earlier);
                named(all.map(|pod| json(serde_json::to_value(pod))).collect()).collect()
            }
            _ => named(self.events.iter().map(|event| json(serde_json::to_value(event))).collect()).collect(),
        };
        objects.iter().find_map(|object| {
            let pointer = match evidence.path.split_once("['") {
                Some((path, key)) => {
                    let key = key.trim_end_matches("']").replace('~', "~0").replace('/', "~1");
                    format!("/{}/{key}", path.replace('.', "/"))
                }
                None => format!("/{}", evidence.path.replace(['.', '['], "/").replace(']', "")),
            };
            let found = object.pointer(&pointer)?;
            let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            (text == evidence.value).then_some(text)
        })
    }
}

#[track_caller]
fn expect(scene: &Scene, phase: Phase, reason: Option<Reason>, expected: &str) -> Status {
    let status = scene.classify();
    assert_eq!((status.phase, status.reason), (phase, reason), "{status:#?}");
    let output = format!("{} / {}", status.message, status.hint.as_deref().unwrap_or_default());
    assert!(output.contains(expected), "`{expected}` is not in `{output}`");
    status
}

use Phase::{Cancelled, Failed, Pending, Running, Succeeded, Unknown};
