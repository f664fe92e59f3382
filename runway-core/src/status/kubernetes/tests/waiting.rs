//! Jobs that wait or run, and the causes that block them.

use super::*;

#[test]
fn container_start_failure_is_reported_while_pending() {
    for (reason, is, says) in [
        ("ErrImagePull", Reason::ImagePull, "`registry.internal/embed:1` cannot be pulled"),
        (
            "ImagePullBackOff",
            Reason::ImagePull,
            "its 2 nvidia.com/gpu until its deadline, 15m after its start",
        ),
        ("ErrImageNeverPull", Reason::ImagePull, "`image_pull_policy`"),
        ("RegistryUnavailable", Reason::ImagePull, "its node has been retrying"),
        ("ImageInspectError", Reason::ImagePull, "its node has been retrying since"),
        ("InvalidImageName", Reason::InvalidImage, "cannot start without a change"),
        ("CreateContainerConfigError", Reason::ConfigError, "its node has been retrying since"),
        ("RunContainerError", Reason::StartError, "what is said"),
    ] {
        let scene = Scene::of(job(json!({"active": 1}))).pods(&[waiting(0, reason, "what is said")]);
        let status = expect(&scene, Pending, Some(is), says);
        assert_eq!((status.evidence[0].value.as_str(), status.occupies_resources), (reason, true));
        assert_eq!(status.attempt_spans, [AttemptSpan { scheduled: instant_at(1), ended: None }]);
    }
    // A reason that is in no list is reported in its own words.
    for reason in ["CreateContainerError", "ImageVolumeMountFailed", "ReasonOfALaterRelease"] {
        let scene = Scene::of(job(json!({"active": 1}))).pods(&[waiting(0, reason, "what is said")]);
        expect(&scene, Pending, None, &format!("{reason}: `what is said`"));
    }
    for reason in ["ContainerCreating", "PodInitializing", ""] {
        expect(&Scene::of(job(json!({}))).pods(&[waiting(0, reason, "")]), Pending, None, "scheduled");
    }
}

#[test]
fn pull_hint_matches_the_registry_error() {
    for (message, says) in [
        ("dial tcp: lookup registry.internal: no such host", "cannot be resolved"),
        ("lookup registry.internal: no such host", "its node has been retrying"),
        ("dial tcp 10.0.0.5:443: connect: connection refused", "does not respond"),
        ("dial tcp 10.0.0.5:443: i/o timeout", "its node has been retrying"),
        ("toomanyrequests: You have reached your pull rate limit", "its node has been retrying"),
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
fn unschedulable_job_names_the_missing_resource() {
    for (message, says) in [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "`resources.gpu`"),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory, 3 Insufficient cpu.",
            "the cores and the memory free; if no node has that much, lower `resources.cpu` and `resources.memory`;",
        ),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Insufficient nvidia.com/gpu.",
            "lower `resources.cpu`, `resources.memory` and `resources.gpu` or choose another `gpu_type`;",
        ),
        ("0/3 nodes are available: 2 Insufficient pods, 1 Insufficient cpu.", "lower `resources.cpu`;"),
        (
            "0/3 nodes are available: 3 Insufficient pods.",
            "it starts when a node has a place for another pod free;",
        ),
        ("0/3 nodes are available: 3 Insufficient memory. preemption: 0/3", "`resources.memory`"),
        ("0/3 nodes are available: 3 Insufficient ephemeral-storage.", "`resources.ephemeral_storage`"),
        ("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.", "`gpu_type`"),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", "taint"),
        ("no nodes available to schedule pods", "while it waits, it holds its 2 nvidia.com/gpu"),
        ("", "while it waits"),
    ] {
        let status = expect(
            &Scene::of(job(json!({}))).pods(&[unscheduled(message)]),
            Pending,
            Some(Reason::Unschedulable),
            says,
        );
        assert_eq!((status.attempt_spans.len(), status.attempts), (0, 1));
        assert!(status.message.contains(message));
    }
}

#[test]
fn init_container_failure_is_reported() {
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
    assert_eq!((status.exit_code, status.attempt_spans[0].ended), (None, Some(instant_at(5))));
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
        "init containers are running",
    );
    // The kubelet terminates a sidecar after the main container. So exit code 143 of a sidecar is not a
    // failure.
    let mut with_sidecar = ended(0, "Succeeded", "Completed", 0);
    with_sidecar["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always"}]);
    with_sidecar["status"]["initContainerStatuses"] =
        json!([{"name": "proxy", "state": {"terminated": {"exitCode": 143}}}]);
    expect(
        &Scene::of(job(condition("Complete", "", 30))).pods(&[with_sidecar]),
        Succeeded,
        None,
        "succeeded",
    );
}

#[test]
fn rejected_pods_are_reported_from_events() {
    for (message, says) in [
        ("pods \"embed-\" is forbidden: exceeded quota: q, requested: pods=1", "ResourceQuota is used up"),
        ("pods \"embed-\" is forbidden: violates PodSecurity \"restricted:latest\"", "stricter"),
        ("admission webhook \"x\" denied the request: no", "webhook"),
        ("pods \"embed-\" is forbidden: service account not found", "the cluster rejects the pods"),
    ] {
        let rejection = event("Job", "embed", "FailedCreate", &format!("Error creating: {message}"), 3);
        let scene = Scene::of(job(json!({"startTime": AT}))).events(std::slice::from_ref(&rejection));
        let status = expect(&scene, Pending, Some(Reason::PodsRejected), says);
        assert_eq!((status.attempts, status.evidence[0].value.as_str()), (0, "FailedCreate"));
        // An active pod shows that the cluster accepted a pod after the rejection.
        expect(&scene.clone().pods(&[running(1)]), Running, None, "runs");
        expect(
            &Scene::of(job(json!({"active": 1}))).events(&[rejection]),
            Pending,
            None,
            "not been observed yet",
        );
    }
    let rejection = event("Job", "embed", "FailedCreate", "exceeded quota", 30);
    let scene = Scene::of(job(json!({"failed": 1}))).pods(&[ended(0, "Failed", "Error", 1)]);
    expect(&scene.clone().events(&[rejection]), Pending, Some(Reason::PodsRejected), "rejects its pods");
    let earlier = event("Job", "embed", "FailedCreate", "exceeded quota", 0);
    expect(&scene.events(&[earlier]), Running, Some(Reason::NonZeroExit), "another attempt");
}

#[test]
fn suspended_job_is_pending() {
    let mut job = job(json!({"conditions": [{"type": "Suspended", "status": "True"}]}));
    job["spec"]["suspend"] = json!(true);
    let status = expect(&Scene::of(job), Pending, None, "suspended");
    assert_eq!((status.evidence[0].value.as_str(), status.occupies_resources), ("true", true));
}

#[test]
fn healthy_job_passes_through_each_phase() {
    expect(&Scene::of(job(Json::Null)), Pending, None, "no pod has been created");
    expect(&Scene::of(job(json!({"active": 1}))), Pending, None, "not been observed yet");
    expect(&Scene::of(job(json!({"active": 1, "ready": 1}))), Running, None, "runs, attempt 1 of 3");
    let mut fresh = pod(0, json!({"phase": "Pending"}));
    expect(&Scene::of(job(json!({}))).pods(std::slice::from_ref(&fresh)), Pending, None, "scheduled");
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
    assert!(
        expect(&scene, Running, Some(Reason::NonZeroExit), "another attempt or the end of the job follows")
            .occupies_resources
    );
    let scene = Scene::of(job(json!({"succeeded": 1}))).pods(&[ended(0, "Succeeded", "Completed", 0)]);
    assert!(expect(&scene, Running, None, "has not reported it yet").occupies_resources);
    expect(&Scene::of(job(json!({"succeeded": 1}))), Running, None, "ended");
}

#[test]
fn terminating_pod_is_still_running() {
    let mut terminating = pod(0, json!({"phase": "Pending"}));
    terminating["metadata"]["deletionTimestamp"] = json!(at(40));
    expect(
        &Scene::of(job(json!({}))).pods(std::slice::from_ref(&terminating)),
        Running,
        None,
        "is terminating",
    );
    expect(&Scene::of(job(json!({}))).gone(&[terminating]), Running, None, "another attempt");
}

#[test]
fn restarted_container_reports_its_last_termination() {
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
    assert!(status.message.starts_with("waits for its restart"), "{}", status.message);
    assert!(status.evidence.iter().any(|seen| seen.value == "CrashLoopBackOff"), "{:?}", status.evidence);
    let mut with_running_cache = looping.clone();
    let other = json!({"name": "cache", "state": {"running": {}}});
    with_running_cache["status"]["containerStatuses"].as_array_mut().unwrap().push(other);
    let status = expect(
        &Scene::of(job(json!({}))).pods(&[with_running_cache]),
        Running,
        Some(Reason::NonZeroExit),
        "`job`",
    );
    assert!(status.message.starts_with("runs"), "{}", status.message);
    let mut ending = looping.clone();
    ending["metadata"]["deletionTimestamp"] = json!(at(40));
    let ending = Scene::of(job(json!({}))).pods(&[ending]);
    assert!(ending.classify().message.starts_with("is terminating"));
    expect(&Scene::of(failed()).gone(&[looping]), Failed, Some(Reason::NonZeroExit), "exit code 5");
}

#[test]
fn pods_of_indexed_job_are_not_counted_as_attempts() {
    let indexed = |status: Json| {
        let mut job = job(status);
        job["spec"]["completions"] = json!(3);
        job["spec"]["parallelism"] = json!(3);
        job["spec"]["completionMode"] = json!("Indexed");
        job
    };
    let status = indexed(json!({"active": 2, "failed": 1}));
    let pods = [ended(0, "Failed", "Error", 4), running(1), running(2)];
    let status = expect(
        &Scene::of(status).pods(&pods),
        Running,
        None,
        "runs; another of its pods: ended with exit code 4",
    );
    assert!(!status.message.contains("attempt"), "{}", status.message);
    let status = expect(
        &Scene::of(indexed(json!({"failed": 1}))).pods(&pods[..1]),
        Running,
        Some(Reason::NonZeroExit),
        "more pods",
    );
    assert!(!status.message.contains("attempt"), "{}", status.message);
    let mut done = indexed(condition("Complete", "", 60));
    done["status"]["succeeded"] = json!(3);
    assert_eq!(Scene::of(done).classify().message, "succeeded");
    // A Job with one completion has attempts in every completion mode.
    let mut single = job(json!({"active": 1, "failed": 1}));
    single["spec"]["completionMode"] = json!("Indexed");
    expect(&Scene::of(single).pods(&pods[..2]), Running, None, "runs, attempt 2 of 3");
}

#[test]
fn most_informative_container_is_named() {
    let mut dead = ended(0, "Failed", "Error", 1);
    let other = json!({"name": "cache", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at(9)}}});
    dead["status"]["containerStatuses"].as_array_mut().unwrap().push(other);
    let status = expect(
        &Scene::of(failed()).pods(&[dead]),
        Failed,
        Some(Reason::OOMKilled),
        "its container `cache`: killed",
    );
    assert_eq!((status.exit_code, status.attempt_spans[0].ended), (Some(137), Some(instant_at(9))));
    assert_eq!(status.evidence[0].path, "status.containerStatuses[1].state.terminated.reason");
}

#[test]
fn events_explain_unobserved_pods() {
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
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"x\" : secret \"y\" not found",
            Reason::ConfigError,
        ),
        ("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", Reason::Unschedulable),
        ("Evicted", "The node was low on resource: memory.", Reason::Evicted),
        ("Preempted", "Preempted by a pod on node n1", Reason::Disrupted),
    ] {
        let failure = event("Pod", "embed-9", reason, message, 3);
        expect(&Scene::of(failed()).events(std::slice::from_ref(&failure)), Failed, Some(is), "");
        // The event is outdated if the pod has started since.
        let started = event("Pod", "embed-9", "Started", "Started container job", 4);
        expect(
            &Scene::of(failed()).events(&[failure, started]),
            Failed,
            Some(Reason::BackoffLimitExceeded),
            "",
        );
    }
    let mount = event("Pod", "embed-0", "FailedMount", "MountVolume.SetUp failed", 3);
    let pulling = event("Pod", "embed-0", "Pulling", "Pulling image", 4);
    let creating = || Scene::of(job(json!({}))).pods(&[waiting(0, "ContainerCreating", "")]);
    expect(
        &creating().events(std::slice::from_ref(&mount)),
        Pending,
        None,
        "a volume is not ready (`MountVolume.SetUp failed`)",
    );
    expect(&creating().events(&[pulling, mount]), Pending, None, "scheduled");
    let unscheduled = event("Pod", "embed-0", "FailedScheduling", "Insufficient cpu", 3);
    expect(&creating().events(&[unscheduled]), Pending, None, "scheduled");
    // The event is about another pod, so it does not explain why this pod waits.
    let other = event("Pod", "embed-7", "FailedMount", "MountVolume.SetUp failed", 3);
    expect(&creating().events(&[other]), Pending, None, "scheduled");
}

#[test]
fn foreign_text_is_escaped_and_truncated() {
    let hostile = format!("\u{1b}[2J{}\u{202e}\n", "long ".repeat(10_000));
    let scene = Scene::of(job(json!({}))).pods(&[waiting(0, "ErrImagePull", &hostile)]);
    let status = scene.classify();
    assert!(!status.message.contains(['\u{1b}', '\u{202e}', '\n']) && status.message.len() < 1000);
    // The termination log of a process must not appear in the status.
    let mut dead = ended(0, "Failed", "Error", 1);
    dead["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json!("PASSWORD=hunter2");
    let status = Scene::of(failed()).pods(&[dead]).classify();
    assert!(!serde_json::to_string(&status).unwrap().contains("hunter2"));
}

#[test]
fn start_known_only_from_events_counts() {
    let started = event("Pod", "embed-7", "Started", "Started container job", 5);
    let pull = event("Pod", "embed-8", "Failed", "Failed to pull image \"x\": not found", 20);
    let late = Scene::of(job(condition("Failed", "DeadlineExceeded", 900))).events(&[started, pull]);
    expect(&late, Failed, Some(Reason::DeadlineExceeded), "took longer");
}

#[test]
fn other_containers_do_not_hide_the_failure() {
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
    // The container `other` was last observed running, and its pod is gone. So the end of the attempt is
    // unknown.
    let lost = with("Running", json!({"running": {}}));
    assert_eq!(Scene::of(failed()).gone(&[lost]).classify().attempt_spans[0].ended, None);
    let mut dead = ended(0, "Failed", "Error", 3);
    dead["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always"}]);
    dead["status"]["initContainerStatuses"] =
        json!([{"name": "proxy", "state": {"terminated": {"exitCode": 143}}}]);
    expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::NonZeroExit), "exit code 3");
}
