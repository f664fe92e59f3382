//! Hand-built objects and what is to be read off them.

mod properties;

use super::*;
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

/// A job of three attempts with a timeout of fifteen minutes and two GPUs.
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

/// The pod of an attempt: made ten seconds apart, scheduled one second later.
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
        },
        "spec": {"containers": [spec()], "nodeName": "n1"},
        "status": status,
    })
}

fn container(state: Json) -> Json {
    json!({"name": "job", "image": "registry.internal/embed:1", "state": state})
}

/// An attempt whose container ended eight seconds after its pod was made.
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

/// What was seen, owned.
#[derive(Debug, Clone, Default)]
struct Scene {
    job: Option<Job>,
    pods: Vec<Pod>,
    gone: Vec<Pod>,
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

    fn events(self, events: &[Json]) -> Self {
        Self { events: read(events), ..self }
    }

    fn seen(&self) -> Seen<'_> {
        Seen { job: self.job.as_ref(), pods: &self.pods, gone_pods: &self.gone, events: &self.events }
    }

    fn classify(&self) -> Status {
        let status = classify(&self.seen());
        self.check(&status);
        status
    }

    /// What holds of every status.
    fn check(&self, status: &Status) {
        let lives = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        };
        let lives = self.pods.iter().any(lives);
        let is_final = status.phase.is_final() || (status.phase == Unknown && self.job.is_none());
        assert_eq!(status.holds, lives || !is_final, "{status:?}");
        assert!(!status.message.is_empty());
        for text in [Some(&status.message), status.hint.as_ref()].into_iter().flatten() {
            assert!(text.chars().count() < 2000 && !text.contains(char::is_control), "{text:?}");
        }
        assert!(status.runs.is_sorted_by_key(|run| run.scheduled));
        for evidence in &status.evidence {
            assert_eq!(self.resolve(evidence).as_deref(), Some(evidence.value.as_str()), "{evidence:?}");
        }
    }

    /// What really stands where a piece of evidence says.
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
                let all = self.pods.iter().chain(&self.gone);
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
fn expect(scene: &Scene, phase: Phase, reason: Option<Reason>, says: &str) -> Status {
    let status = scene.classify();
    assert_eq!((status.phase, status.reason), (phase, reason), "{status:#?}");
    let told = format!("{} / {}", status.message, status.hint.as_deref().unwrap_or_default());
    assert!(told.contains(says), "`{says}` is not in `{told}`");
    status
}

use Phase::{Cancelled, Failed, Pending, Running, Succeeded, Unknown};

#[test]
fn the_cause_of_a_failure_is_that_of_the_newest_attempt() {
    for (reason, code, is, says) in [
        ("OOMKilled", 137, Reason::OOMKilled, "exceeding its memory limit of 64Mi, attempt 2 of 3"),
        ("OOMKilled", 0, Reason::OOMKilled, "raise `resources.memory` above 64Mi"),
        ("Error", 137, Reason::Signaled, "signal 9 (SIGKILL)"),
        ("Error", 143, Reason::Signaled, "signal 15 (SIGTERM)"),
        ("Error", 129, Reason::Signaled, "signal 1 "),
        ("Error", 192, Reason::Signaled, "signal 64,"),
        ("Error", 193, Reason::NonZeroExit, "exit code 193"),
        ("Error", 128, Reason::NonZeroExit, "exit code 128"),
        ("Error", 255, Reason::NonZeroExit, "exit code 255"),
        ("Error", 126, Reason::NonZeroExit, "cannot be executed"),
        ("Error", 127, Reason::NonZeroExit, "not found"),
        ("Error", -1, Reason::NonZeroExit, "exit code -1"),
        ("Error", 3, Reason::NonZeroExit, "exit code 3, attempt 2 of 3"),
        ("StartError", 128, Reason::StartError, "`command` and `args`"),
        ("ContainerCannotRun", 127, Reason::StartError, "could not be started"),
        ("ContainerStatusUnknown", 137, Reason::Disrupted, "lost by its node"),
    ] {
        let scene =
            Scene::of(failed()).pods(&[ended(1, "Failed", reason, code), ended(0, "Failed", "Error", 77)]);
        let status = expect(&scene, Failed, Some(is), says);
        assert_eq!((status.exit_code, status.attempts), (Some(code), 2));
        assert_eq!(status.evidence[0].object, "pod/embed-1");
        assert_eq!(status.evidence.last().unwrap().value, "BackoffLimitExceeded");
        assert_eq!(status.finished_at, Some(instant_at(60)));
        assert_eq!(status.started_at, Some(instant_at(0)));
    }
}

#[test]
fn an_out_of_memory_kill_is_named_by_its_own_evidence() {
    let status = Scene::of(failed()).pods(&[ended(0, "Failed", "OOMKilled", 137)]).classify();
    let first = Evidence {
        object: "pod/embed-0".to_owned(),
        path: "status.containerStatuses[0].state.terminated.reason".to_owned(),
        value: "OOMKilled".to_owned(),
    };
    assert_eq!(status.evidence[0], first);
    assert_eq!(status.evidence[1].value, "137");
}

#[test]
fn an_older_attempt_speaks_where_the_newest_says_nothing() {
    let silent = pod(1, json!({"phase": "Failed"}));
    let scene =
        Scene::of(failed()).gone(&[ended(0, "Failed", "Error", 3)]).pods(std::slice::from_ref(&silent));
    let status = expect(&scene, Failed, Some(Reason::NonZeroExit), "attempt 1 of 3");
    assert_eq!((status.exit_code, status.attempts), (Some(3), 2));
    let scene = Scene::of(failed()).pods(&[silent]);
    expect(&scene, Failed, Some(Reason::BackoffLimitExceeded), "as the controller says");
    expect(
        &Scene::of(failed()),
        Failed,
        Some(Reason::BackoffLimitExceeded),
        "nothing of its attempts is left",
    );
}

#[test]
fn a_signal_of_its_own_field_counts() {
    let mut dead = ended(0, "Failed", "Error", 0);
    dead["status"]["containerStatuses"][0]["state"]["terminated"]["signal"] = json!(11);
    let status = expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::Signaled), "SIGSEGV");
    assert_eq!(status.exit_code, Some(139));
}

#[test]
fn a_child_out_of_memory_is_a_note_to_success() {
    let complete = job(condition("Complete", "", 30));
    let scene = Scene::of(complete)
        .pods(&[ended(1, "Succeeded", "OOMKilled", 0), ended(0, "Failed", "OOMKilled", 137)]);
    let status = expect(&scene, Succeeded, Some(Reason::ChildOOMKilled), "attempt 2 of 3, though the kernel");
    assert_eq!((status.exit_code, status.evidence[0].value.as_str()), (Some(0), "OOMKilled"));
    // What an earlier attempt died of is no note to the one that did it.
    let complete = job(condition("Complete", "", 30));
    let scene = Scene::of(complete)
        .pods(&[ended(1, "Succeeded", "Completed", 0), ended(0, "Failed", "OOMKilled", 137)]);
    let status = expect(&scene, Succeeded, None, "succeeded, attempt 2 of 3");
    assert_eq!(status.evidence[0].value, "Complete");
}

#[test]
fn a_condition_counts_only_if_it_is_true() {
    for value in ["False", "Unknown", "", "true"] {
        for kind in ["Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"] {
            let status =
                json!({"conditions": [{"type": kind, "status": value, "reason": "DeadlineExceeded"}]});
            expect(&Scene::of(job(status)).pods(&[running(0)]), Running, None, "runs, attempt 1 of 3");
        }
    }
    let status = json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "False", "reason": "PreemptionByScheduler"}]});
    expect(&Scene::of(job(json!({}))).pods(&[pod(0, status)]), Running, None, "runs");
}

#[test]
fn an_announced_end_is_none() {
    let announced = job(condition("FailureTarget", "DeadlineExceeded", 900));
    let status = expect(
        &Scene::of(announced).pods(&[running(0)]),
        Running,
        Some(Reason::DeadlineExceeded),
        "being ended",
    );
    assert!(status.holds && status.finished_at.is_none());
    let announced = job(condition("FailureTarget", "PodFailurePolicy", 30));
    let scene = Scene::of(announced).pods(&[ended(0, "Failed", "Error", 42)]);
    let status = expect(&scene, Running, Some(Reason::NonZeroExit), "it has failed");
    assert!(status.holds);
    let announced = job(condition("SuccessCriteriaMet", "CompletionsReached", 30));
    let scene = Scene::of(announced).pods(&[ended(0, "Succeeded", "Completed", 0)]);
    assert!(expect(&scene, Running, None, "has done what it was to do").holds);
}

#[test]
fn a_failed_job_runs_and_holds_until_its_pods_have_ended() {
    let late = || Scene::of(job(condition("Failed", "DeadlineExceeded", 900)));
    let mut terminating = running(0);
    terminating["metadata"]["deletionTimestamp"] = json!(at(930));
    let ending = late().pods(std::slice::from_ref(&terminating)).classify();
    assert_eq!((ending.phase, ending.reason, ending.holds), (Running, Some(Reason::DeadlineExceeded), true));
    assert!(!late().pods(&[ended(0, "Failed", "Error", 137)]).classify().holds);
    assert!(!late().gone(std::slice::from_ref(&terminating)).classify().holds);
    // Listed and gone: the list counts.
    assert!(late().pods(std::slice::from_ref(&terminating)).gone(&[terminating]).classify().holds);
}

#[test]
fn a_deadline_is_told_by_the_job_alone() {
    let late = || Scene::of(job(condition("Failed", "DeadlineExceeded", 900)));
    let status =
        expect(&late(), Failed, Some(Reason::DeadlineExceeded), "took longer than its timeout of 15m");
    assert_eq!(status.evidence[0].path, "status.conditions[1].reason");
    expect(&late().gone(&[running(0)]), Failed, Some(Reason::DeadlineExceeded), "raise `timeout`");
    // What a deletion does to a process is no cause.
    let mut killed = ended(0, "Failed", "Error", 143);
    killed["metadata"]["deletionTimestamp"] = json!(at(38));
    killed["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let status = expect(&late().gone(&[killed]), Failed, Some(Reason::DeadlineExceeded), "took longer");
    assert!(!status.message.contains("before that"), "{}", status.message);
    let scene = late().gone(&[ended(0, "Failed", "OOMKilled", 137), running(1)]);
    expect(
        &scene,
        Failed,
        Some(Reason::DeadlineExceeded),
        "attempt 2 of 3; before that: killed by the kernel",
    );
    let pod = pod(
        0,
        json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"}),
    );
    expect(
        &Scene::of(failed()).pods(&[pod]),
        Failed,
        Some(Reason::DeadlineExceeded),
        "Pod was active too long",
    );
}

#[test]
fn a_deadline_before_the_first_start_says_why() {
    let late = || Scene::of(job(condition("Failed", "DeadlineExceeded", 900)));
    let is = Some(Reason::DeadlineExceeded);
    expect(
        &late().gone(&[waiting(0, "ImagePullBackOff", "Back-off")]),
        Failed,
        is,
        "never ran within its timeout of 15m: its image",
    );
    expect(
        &late().gone(&[unscheduled("0/1 nodes are available: 1 Insufficient cpu.")]),
        Failed,
        is,
        "never ran",
    );
    let pull = event("Pod", "embed-0", "Failed", "Failed to pull image \"x\": manifest unknown", 20);
    let status = expect(
        &late().events(std::slice::from_ref(&pull)),
        Failed,
        is,
        "never ran within its timeout of 15m: its image",
    );
    assert_eq!(status.evidence[1].object, "event/embed-0.Failed.20");
    let started = event("Pod", "embed-0", "Started", "Started container job", 30);
    let status = expect(&late().events(&[started, pull]), Failed, is, "took longer");
    assert!(!status.message.contains("image"));
    let rejected =
        event("Job", "embed", "FailedCreate", "pods \"embed-\" is forbidden: exceeded quota: q", 3);
    expect(
        &late().events(&[rejected]),
        Failed,
        is,
        "never ran within its timeout of 15m: the cluster does not let its pods in",
    );
}

#[test]
fn what_keeps_a_job_from_starting_is_told_at_once() {
    for (reason, is, says) in [
        ("ErrImagePull", Reason::ImagePull, "`registry.internal/embed:1` cannot be had"),
        (
            "ImagePullBackOff",
            Reason::ImagePull,
            "its 2 nvidia.com/gpu until its deadline, 15m after it was started",
        ),
        ("ErrImageNeverPull", Reason::ImagePull, "`image_pull_policy`"),
        ("RegistryUnavailable", Reason::ImagePull, "its node tries again"),
        ("ImageInspectError", Reason::ImagePull, "will not start by itself"),
        ("InvalidImageName", Reason::InvalidImage, "will not start by itself"),
        ("CreateContainerConfigError", Reason::ConfigError, "will not start by itself"),
        ("CreateContainerError", Reason::ConfigError, "what is said"),
        ("RunContainerError", Reason::StartError, "what is said"),
    ] {
        let scene = Scene::of(job(json!({"active": 1}))).pods(&[waiting(0, reason, "what is said")]);
        let status = expect(&scene, Pending, Some(is), says);
        assert_eq!((status.evidence[0].value.as_str(), status.holds), (reason, true));
        assert_eq!(status.runs, [crate::price::Attempt { scheduled: instant_at(1), ended: None }]);
    }
    for reason in ["ContainerCreating", "PodInitializing", ""] {
        expect(&Scene::of(job(json!({}))).pods(&[waiting(0, reason, "")]), Pending, None, "has a node");
    }
}

#[test]
fn the_exit_code_of_a_failed_job_is_that_of_the_pod_that_failed() {
    let failed = ended(0, "Failed", "Error", 5);
    let succeeded = ended(1, "Succeeded", "Completed", 0);
    let scene = Scene::of(job(condition("Failed", "BackoffLimitExceeded", 900))).pods(&[failed, succeeded]);
    let status = scene.classify();
    assert_eq!((status.phase, status.reason, status.exit_code), (Failed, Some(Reason::NonZeroExit), Some(5)));
}

#[test]
fn what_ended_before_its_deletion_was_not_cancelled() {
    let marked = |kind: &str, at: u64| {
        let mut object = job(condition(kind, "BackoffLimitExceeded", at));
        object["metadata"]["annotations"]["runway.dev/cancelled-at"] = json!("1970-01-01T00:00:00Z");
        object["metadata"]["deletionTimestamp"] = json!(self::at(900));
        Scene::of(object).classify().phase
    };
    // The mark was set, and the deletion failed at first.
    assert_eq!((marked("Complete", 800), marked("Failed", 800)), (Succeeded, Failed));
    assert_eq!((marked("Complete", 900), marked("Failed", 900)), (Succeeded, Cancelled));
    assert_eq!((marked("Complete", 901), marked("Failed", 901)), (Cancelled, Cancelled));
}

#[test]
fn a_hint_fits_what_the_registry_said() {
    for (message, says) in [
        ("dial tcp: lookup registry.internal: no such host", "cannot be reached"),
        ("lookup registry.internal: no such host", "will not start by itself"),
        ("dial tcp 10.0.0.5:443: connect: connection refused", "does not answer"),
        ("dial tcp 10.0.0.5:443: i/o timeout", "its node tries again"),
        ("toomanyrequests: You have reached your pull rate limit", "its node tries again"),
        ("401 Unauthorized", "image_pull_secrets"),
        ("manifest for x@sha256:ab401cd403 not found", "check the name and the tag"),
        ("manifest unknown", "check the name and the tag"),
    ] {
        let pull = event("Pod", "embed-0", "Failed", &format!("Failed to pull image \"x\": {message}"), 20);
        let scene = Scene::of(job(json!({})))
            .pods(&[waiting(0, "ImagePullBackOff", "Back-off pulling image")])
            .events(&[pull]);
        let status = expect(&scene, Pending, Some(Reason::ImagePull), says);
        assert!(status.message.contains(message), "{}", status.message);
    }
}

#[test]
fn a_job_without_a_node_says_what_is_missing() {
    for (message, says) in [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "`resources.gpu`"),
        ("0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.", "`resources.cpu`"),
        ("0/3 nodes are available: 3 Insufficient memory. preemption: 0/3", "`resources.memory`"),
        ("0/3 nodes are available: 3 Insufficient ephemeral-storage.", "`resources.ephemeral_storage`"),
        ("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.", "`gpu_type`"),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", "taint"),
        ("no nodes available to schedule pods", "meanwhile it holds its 2 nvidia.com/gpu"),
        ("", "meanwhile"),
    ] {
        let status = expect(
            &Scene::of(job(json!({}))).pods(&[unscheduled(message)]),
            Pending,
            Some(Reason::Unschedulable),
            says,
        );
        assert_eq!((status.runs.len(), status.attempts), (0, 1));
        assert!(status.message.contains(message));
    }
}

#[test]
fn an_eviction_names_what_ran_short() {
    for (message, says) in [
        (
            "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ",
            "`resources.ephemeral_storage`, or write less",
        ),
        ("Usage of EmptyDir volume \"shm\" exceeds the limit \"1Mi\". ", "`resources.shm`"),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ", "or write less"),
        ("Container job exceeded its local ephemeral storage limit \"1Gi\". ", "or write less"),
        ("The node was low on resource: memory. ", "`resources.memory`"),
        ("The node had condition: [DiskPressure]. ", "short of storage"),
        ("The node was low on resource: pids. ", "thrown out by its node"),
    ] {
        // Since 1.26 the kubelet adds the condition too.
        let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"});
        let status =
            json!({"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [target]});
        let status =
            expect(&Scene::of(failed()).pods(&[pod(0, status)]), Failed, Some(Reason::Evicted), says);
        assert_eq!(status.evidence[0].path, "status.reason");
    }
}

#[test]
fn a_disruption_is_not_the_jobs_fault() {
    for reason in [
        "PreemptionByScheduler",
        "DeletionByTaintManager",
        "EvictionByEvictionAPI",
        "DeletionByPodGC",
        "TerminationByKubelet",
        "New",
    ] {
        let mut dead = ended(0, "Failed", "Error", 143);
        dead["status"]["conditions"] =
            json!([{"type": "DisruptionTarget", "status": "True", "reason": reason}]);
        let status = expect(
            &Scene::of(failed()).pods(&[dead]),
            Failed,
            Some(Reason::Disrupted),
            "nothing is wrong with the job",
        );
        assert_eq!((status.evidence[1].value.as_str(), status.exit_code), (reason, Some(143)));
    }
    for reason in [
        "NodeLost",
        "Preempting",
        "Shutdown",
        "NodeShutdown",
        "Terminated",
        "NodeAffinity",
        "UnexpectedAdmissionError",
        "OutOfcpu",
        "OutOfnvidia.com/gpu",
    ] {
        let status = json!({"phase": "Failed", "reason": reason, "message": "as the node says"});
        expect(
            &Scene::of(failed()).pods(&[pod(0, status)]),
            Failed,
            Some(Reason::Disrupted),
            "as the node says",
        );
    }
    // The kernel's word is stronger.
    let mut dead = ended(0, "Failed", "OOMKilled", 137);
    dead["status"]["conditions"] =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]);
    expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::OOMKilled), "64Mi");
}

#[test]
fn what_goes_before_the_work_can_fail_too() {
    let init = |state: Json| {
        let status = json!({"name": "fetch", "state": state});
        let waits = container(json!({"waiting": {"reason": "PodInitializing"}}));
        json!({"phase": "Failed", "initContainerStatuses": [{"name": "first", "state": {"terminated": {"exitCode": 0}}}, status], "containerStatuses": [waits]})
    };
    let dead = pod(0, init(json!({"terminated": {"exitCode": 4, "reason": "Error", "finishedAt": at(5)}})));
    let status = expect(
        &Scene::of(failed()).pods(&[dead]),
        Failed,
        Some(Reason::InitFailed),
        "init container `fetch`: ended with exit code 4",
    );
    assert_eq!(status.evidence[0].path, "status.initContainerStatuses[1].state.terminated.exitCode");
    assert_eq!((status.exit_code, status.runs[0].ended), (None, Some(instant_at(5))));
    let dead = pod(0, init(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})));
    expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::InitFailed), "killed by the kernel");
    let mut stuck = pod(0, init(json!({"waiting": {"reason": "ErrImagePull"}})));
    stuck["status"]["phase"] = json!("Pending");
    expect(
        &Scene::of(job(json!({}))).pods(&[stuck]),
        Pending,
        Some(Reason::ImagePull),
        "init container `fetch`",
    );
    let mut works = pod(0, init(json!({"running": {}})));
    works["status"]["phase"] = json!("Pending");
    expect(
        &Scene::of(job(json!({}))).pods(std::slice::from_ref(&works)),
        Pending,
        None,
        "init containers run",
    );
    // What runs beside the work is ended after it.
    let mut beside = ended(0, "Succeeded", "Completed", 0);
    beside["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always"}]);
    beside["status"]["initContainerStatuses"] =
        json!([{"name": "proxy", "state": {"terminated": {"exitCode": 143}}}]);
    expect(&Scene::of(job(condition("Complete", "", 30))).pods(&[beside]), Succeeded, None, "succeeded");
}

#[test]
fn rejected_pods_are_told_by_events() {
    for (message, says) in [
        ("pods \"embed-\" is forbidden: exceeded quota: q, requested: pods=1", "ResourceQuota is used up"),
        ("pods \"embed-\" is forbidden: violates PodSecurity \"restricted:latest\"", "stricter"),
        ("admission webhook \"x\" denied the request: no", "webhook"),
        ("pods \"embed-\" is forbidden: service account not found", "the cluster refuses its pods"),
    ] {
        let rejection = event("Job", "embed", "FailedCreate", &format!("Error creating: {message}"), 3);
        let scene = Scene::of(job(json!({"startTime": AT}))).events(std::slice::from_ref(&rejection));
        let status = expect(&scene, Pending, Some(Reason::PodsRejected), says);
        assert_eq!((status.attempts, status.evidence[0].value.as_str()), (0, "FailedCreate"));
        // It was let in after that.
        expect(&scene.clone().pods(&[running(1)]), Running, None, "runs");
        expect(
            &Scene::of(job(json!({"active": 1}))).events(&[rejection]),
            Pending,
            None,
            "not been seen yet",
        );
    }
    let rejection = event("Job", "embed", "FailedCreate", "exceeded quota", 30);
    let scene = Scene::of(job(json!({"failed": 1}))).pods(&[ended(0, "Failed", "Error", 1)]);
    expect(&scene.clone().events(&[rejection]), Pending, Some(Reason::PodsRejected), "not let its pods in");
    let earlier = event("Job", "embed", "FailedCreate", "exceeded quota", 0);
    expect(&scene.events(&[earlier]), Running, Some(Reason::NonZeroExit), "another attempt");
}

#[test]
fn a_cancelled_job_was_cancelled_through_runway() {
    let deleted = |annotated: bool, status: Json| {
        let mut job = job(status);
        job["metadata"]["deletionTimestamp"] = json!(at(40));
        if annotated {
            job["metadata"]["annotations"] = json!({"runway.dev/cancelled-at": at(39)});
        }
        job
    };
    let status =
        expect(&Scene::of(deleted(true, json!({}))).pods(&[running(0)]), Cancelled, None, "being ended");
    assert_eq!((status.holds, status.finished_at), (true, None));
    assert_eq!(status.evidence[0].path, "metadata.annotations['runway.dev/cancelled-at']");
    let mut killed = ended(0, "Failed", "Error", 143);
    killed["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!(at(44));
    killed["metadata"]["deletionTimestamp"] = json!(at(70));
    let scene = Scene::of(deleted(true, json!({}))).gone(std::slice::from_ref(&killed));
    let status = expect(&scene, Cancelled, None, "cancelled");
    assert_eq!(
        (status.holds, status.finished_at, status.exit_code),
        (false, Some(instant_at(44)), Some(143))
    );
    let status = expect(&Scene::of(deleted(true, json!({}))), Cancelled, None, "cancelled");
    assert_eq!(status.finished_at, Some(instant_at(40)));
    // It was over before.
    let scene = Scene::of(deleted(true, condition("Complete", "", 30))).pods(&[ended(
        0,
        "Succeeded",
        "Completed",
        0,
    )]);
    expect(&scene, Succeeded, None, "succeeded");
    expect(
        &Scene::of(deleted(true, condition("Failed", "DeadlineExceeded", 30))),
        Failed,
        Some(Reason::DeadlineExceeded),
        "",
    );
    // It is over because it was cancelled.
    let scene = Scene::of(deleted(true, condition("Failed", "BackoffLimitExceeded", 45))).pods(&[killed]);
    expect(&scene, Cancelled, None, "cancelled");
    // Somebody else.
    let status =
        expect(&Scene::of(deleted(false, json!({}))).pods(&[running(0)]), Running, None, "not by Runway");
    assert!(status.holds);
    expect(
        &Scene::of(deleted(false, json!({}))).pods(&[waiting(0, "ErrImagePull", "")]),
        Pending,
        Some(Reason::ImagePull),
        "not by Runway",
    );
    // Asked for, and not done yet.
    let mut asked = deleted(true, json!({}));
    asked["metadata"]["deletionTimestamp"] = Json::Null;
    expect(&Scene::of(asked).pods(&[running(0)]), Running, None, "runs");
}

#[test]
fn a_job_that_is_gone_is_unknown_unless_its_end_was_seen() {
    assert_eq!(Scene::orphaned().classify(), Status::gone());
    expect(&Scene::orphaned().gone(&[running(0)]), Unknown, None, "gone before its end was seen");
    expect(&Scene::orphaned().gone(&[waiting(0, "ErrImagePull", "")]), Unknown, None, "gone");
    let status = expect(&Scene::orphaned().pods(&[running(0)]), Running, None, "its Job is gone");
    assert!(status.holds);
    expect(&Scene::orphaned().gone(&[ended(0, "Succeeded", "Completed", 0)]), Succeeded, None, "succeeded");
    let status = expect(
        &Scene::orphaned().gone(&[ended(0, "Failed", "Error", 2)]),
        Failed,
        Some(Reason::NonZeroExit),
        "its Job is gone",
    );
    assert_eq!((status.finished_at, status.holds), (Some(instant_at(8)), false));
    // Its end was that of its deletion.
    let mut killed = ended(0, "Failed", "Error", 143);
    killed["metadata"]["deletionTimestamp"] = json!(at(37));
    killed["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    expect(&Scene::orphaned().gone(&[killed]), Unknown, None, "gone");
    let mut lost = ended(0, "Failed", "Error", 143);
    lost["status"]["reason"] = json!("NodeLost");
    expect(&Scene::orphaned().gone(&[lost]), Unknown, None, "gone");
}

#[test]
fn a_suspended_job_is_pending() {
    let mut job = job(json!({"conditions": [{"type": "Suspended", "status": "True"}]}));
    job["spec"]["suspend"] = json!(true);
    let status = expect(&Scene::of(job), Pending, None, "suspended");
    assert_eq!((status.evidence[0].value.as_str(), status.holds), ("true", true));
}

#[test]
fn the_way_of_a_job_without_trouble() {
    expect(&Scene::of(job(Json::Null)), Pending, None, "no pod has been made");
    expect(&Scene::of(job(json!({"active": 1}))), Pending, None, "not been seen yet");
    expect(&Scene::of(job(json!({"active": 1, "ready": 1}))), Running, None, "runs, attempt 1 of 3");
    let mut fresh = pod(0, json!({"phase": "Pending"}));
    expect(&Scene::of(job(json!({}))).pods(std::slice::from_ref(&fresh)), Pending, None, "has a node");
    fresh["spec"]["nodeName"] = Json::Null;
    fresh["status"]["conditions"] = json!([]);
    expect(&Scene::of(job(json!({}))).pods(std::slice::from_ref(&fresh)), Pending, None, "waits for a node");
    fresh["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    expect(&Scene::of(job(json!({}))).pods(&[fresh]), Pending, None, "gate");
    expect(&Scene::of(job(json!({"active": 1}))).pods(&[running(0)]), Running, None, "runs, attempt 1 of 3");
    let scene = Scene::of(job(json!({"active": 1, "failed": 1})))
        .pods(&[running(1)])
        .gone(&[ended(0, "Failed", "Error", 9)]);
    let status = expect(&scene, Running, None, "runs, attempt 2 of 3; attempt 1: ended with exit code 9");
    assert_eq!((status.exit_code, status.attempts), (Some(9), 2));
    let scene = Scene::of(job(json!({"failed": 1}))).pods(&[ended(0, "Failed", "Error", 9)]);
    assert!(expect(&scene, Running, Some(Reason::NonZeroExit), "another attempt, or its end, follows").holds);
    let scene = Scene::of(job(json!({"succeeded": 1}))).pods(&[ended(0, "Succeeded", "Completed", 0)]);
    assert!(expect(&scene, Running, None, "about to say so").holds);
    expect(&Scene::of(job(json!({"succeeded": 1}))), Running, None, "ended");
}

#[test]
fn what_is_ending_still_runs() {
    let mut terminating = pod(0, json!({"phase": "Pending"}));
    terminating["metadata"]["deletionTimestamp"] = json!(at(40));
    expect(
        &Scene::of(job(json!({}))).pods(std::slice::from_ref(&terminating)),
        Running,
        None,
        "is being ended",
    );
    expect(&Scene::of(job(json!({}))).gone(&[terminating]), Running, None, "another attempt");
}

#[test]
fn a_container_that_is_restarted_in_place_shows_its_last_end() {
    let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let mut looping = pod(0, json!({"phase": "Running", "containerStatuses": [container(state)]}));
    looping["status"]["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 5, "reason": "Error"}});
    let status = expect(
        &Scene::of(job(json!({"active": 1}))).pods(std::slice::from_ref(&looping)),
        Running,
        Some(Reason::NonZeroExit),
        "exit code 5",
    );
    assert_eq!(status.evidence[0].path, "status.containerStatuses[0].lastState.terminated.exitCode");
    expect(&Scene::of(failed()).gone(&[looping]), Failed, Some(Reason::NonZeroExit), "exit code 5");
}

#[test]
fn of_several_containers_the_one_that_says_most_is_named() {
    let mut dead = ended(0, "Failed", "Error", 1);
    let other = json!({"name": "cache", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at(9)}}});
    dead["status"]["containerStatuses"].as_array_mut().unwrap().push(other);
    let status = expect(
        &Scene::of(failed()).pods(&[dead]),
        Failed,
        Some(Reason::OOMKilled),
        "its container `cache`: killed",
    );
    assert_eq!((status.exit_code, status.runs[0].ended), (Some(137), Some(instant_at(9))));
    assert_eq!(status.evidence[0].path, "status.containerStatuses[1].state.terminated.reason");
}

#[test]
fn attempts_that_nobody_has_seen_are_counted() {
    let counted = json!({"failed": 2, "active": 1, "uncountedTerminatedPods": {"failed": ["x"]}});
    assert_eq!(Scene::of(job(counted)).pods(&[running(0)]).classify().attempts, 4);
    let scene = Scene::of(job(json!({"failed": 1}))).pods(&[running(2), running(1)]).gone(&[running(0)]);
    assert_eq!(scene.classify().attempts, 3);
    let scene =
        Scene::of(job(json!({"failed": -7, "active": i32::MAX, "succeeded": i32::MAX}))).pods(&[running(0)]);
    assert!(scene.classify().attempts > 1);
}

#[test]
fn attempts_are_billed_from_their_node_to_their_end() {
    use crate::price::Attempt;
    let mut without_condition = ended(2, "Failed", "Error", 1);
    without_condition["status"]["conditions"] = json!([]);
    without_condition["status"]["startTime"] = json!(at(22));
    let lost = pod(1, json!({"phase": "Failed", "reason": "Evicted"}));
    let scene = Scene::of(failed()).pods(&[without_condition, unscheduled("")]).gone(&[
        lost,
        running(3),
        ended(4, "Failed", "Error", 1),
    ]);
    let run = |scheduled, ended: Option<u64>| Attempt {
        scheduled: instant_at(scheduled),
        ended: ended.map(instant_at),
    };
    assert_eq!(scene.classify().runs, [run(11, None), run(22, Some(28)), run(31, None), run(41, Some(48))]);
    // The beginning of time is none.
    let mut unset = ended(0, "Failed", "ContainerStatusUnknown", 137);
    unset["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] =
        json!("1970-01-01T00:00:00Z");
    assert_eq!(Scene::of(failed()).pods(&[unset]).classify().runs, [run(1, None)]);
}

#[test]
fn events_speak_for_pods_that_were_not_seen_in_time() {
    for (reason, message, is) in [
        ("Failed", "Failed to pull image \"x\": not found", Reason::ImagePull),
        ("Failed", "Error: ImagePullBackOff", Reason::ImagePull),
        ("BackOff", "Back-off pulling image \"x\"", Reason::ImagePull),
        (
            "ErrImageNeverPull",
            "Container image \"x\" is not present with pull policy of Never",
            Reason::ImagePull,
        ),
        (
            "InspectFailed",
            "Failed to apply default image tag \"X:\": couldn't parse image reference",
            Reason::InvalidImage,
        ),
        ("Failed", "Error: InvalidImageName", Reason::InvalidImage),
        ("Failed", "Error: failed to create containerd task: OCI runtime create failed", Reason::StartError),
        ("Failed", "Error: secret \"x\" not found", Reason::ConfigError),
        ("FailedMount", "MountVolume.SetUp failed for volume \"x\"", Reason::ConfigError),
        ("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", Reason::Unschedulable),
        ("Evicted", "The node was low on resource: memory.", Reason::Evicted),
        ("Preempted", "Preempted by a pod on node n1", Reason::Disrupted),
    ] {
        let told = event("Pod", "embed-9", reason, message, 3);
        expect(&Scene::of(failed()).events(std::slice::from_ref(&told)), Failed, Some(is), "");
        // Of a pod that has begun since it says nothing.
        let started = event("Pod", "embed-9", "Started", "Started container job", 4);
        expect(&Scene::of(failed()).events(&[told, started]), Failed, Some(Reason::BackoffLimitExceeded), "");
    }
    let mount = event("Pod", "embed-0", "FailedMount", "MountVolume.SetUp failed", 3);
    let pulling = event("Pod", "embed-0", "Pulling", "Pulling image", 4);
    let creating = || Scene::of(job(json!({}))).pods(&[waiting(0, "ContainerCreating", "")]);
    expect(
        &creating().events(std::slice::from_ref(&mount)),
        Pending,
        Some(Reason::ConfigError),
        "MountVolume",
    );
    expect(&creating().events(&[pulling, mount]), Pending, None, "has a node");
    let unscheduled = event("Pod", "embed-0", "FailedScheduling", "Insufficient cpu", 3);
    expect(&creating().events(&[unscheduled]), Pending, None, "has a node");
    // Of another pod.
    let other = event("Pod", "embed-7", "FailedMount", "MountVolume.SetUp failed", 3);
    expect(&creating().events(&[other]), Pending, None, "has a node");
}

#[test]
fn what_others_wrote_is_told_in_bounds() {
    let nasty = format!("\u{1b}[2J{}\u{202e}\n", "long ".repeat(10_000));
    let scene = Scene::of(job(json!({}))).pods(&[waiting(0, "ErrImagePull", &nasty)]);
    let status = scene.classify();
    assert!(!status.message.contains(['\u{1b}', '\u{202e}', '\n']) && status.message.len() < 1000);
    // What a process writes to its termination log is its own affair.
    let mut dead = ended(0, "Failed", "Error", 1);
    dead["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json!("PASSWORD=hunter2");
    let status = Scene::of(failed()).pods(&[dead]).classify();
    assert!(!serde_json::to_string(&status).unwrap().contains("hunter2"));
}

#[test]
fn an_end_that_a_deletion_explains_counts_last() {
    let mut killed = ended(1, "Failed", "Error", 143);
    killed["metadata"]["deletionTimestamp"] = json!(at(48));
    killed["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let scene = Scene::of(failed()).pods(&[ended(0, "Failed", "OOMKilled", 137), killed.clone()]);
    expect(&scene, Failed, Some(Reason::OOMKilled), "attempt 1 of 3");
    expect(&Scene::of(failed()).pods(&[killed]), Failed, Some(Reason::Signaled), "attempt 1 of 3");
}

#[test]
fn attempts_are_told_apart_by_their_age_and_not_by_their_names() {
    let mut newest = ended(5, "Failed", "Error", 5);
    newest["metadata"]["uid"] = json!("a");
    let scene = Scene::of(failed()).pods(&[newest, ended(1, "Failed", "Error", 1)]);
    assert_eq!(expect(&scene, Failed, Some(Reason::NonZeroExit), "exit code 5").exit_code, Some(5));
}

#[test]
fn a_job_that_ends_in_the_second_of_its_cancellation_was_over() {
    let mut done = job(condition("Complete", "", 40));
    done["metadata"]["deletionTimestamp"] = json!(at(40));
    done["metadata"]["annotations"] = json!({"runway.dev/cancelled-at": at(40)});
    expect(&Scene::of(done), Succeeded, None, "succeeded");
}

#[test]
fn a_start_that_only_events_remember_is_a_start() {
    let started = event("Pod", "embed-7", "Started", "Started container job", 5);
    let pull = event("Pod", "embed-8", "Failed", "Failed to pull image \"x\": not found", 20);
    let late = Scene::of(job(condition("Failed", "DeadlineExceeded", 900))).events(&[started, pull]);
    expect(&late, Failed, Some(Reason::DeadlineExceeded), "took longer");
}

#[test]
fn containers_beside_the_work_do_not_hide_it() {
    let with = |phase: &str, other: Json| {
        let mut pod = ended(0, phase, "Error", 3);
        pod["status"]["containerStatuses"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "other", "state": other}));
        pod
    };
    let dead =
        with("Failed", json!({"terminated": {"reason": "StartError", "exitCode": 128, "finishedAt": at(9)}}));
    expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::StartError), "`other`");
    // It ended later than the other one, and nobody knows when.
    let lost = with("Running", json!({"running": {}}));
    assert_eq!(Scene::of(failed()).gone(&[lost]).classify().runs[0].ended, None);
    let mut dead = ended(0, "Failed", "Error", 3);
    dead["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always"}]);
    dead["status"]["initContainerStatuses"] =
        json!([{"name": "proxy", "state": {"terminated": {"exitCode": 143}}}]);
    expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::NonZeroExit), "exit code 3");
}
