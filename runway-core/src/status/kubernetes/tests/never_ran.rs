//! Jobs whose containers never ran before their pods were deleted.
//!
//! While Kubernetes deletes a pod, it replaces the reason for which a container waits by `ContainerCreating`.
//! Then it replaces the container's state by `ContainerStatusUnknown` with exit code 137.

use super::*;

const NO_HOST: &str = "failed to pull image: dial tcp: lookup registry.invalid: no such host";

/// The states that a pod can have after the request to delete it.
fn deletion_states() -> [Json; 3] {
    [deleted(waiting(0, "ContainerCreating", "")), deleted(waiting(0, "PodInitializing", "")), lost(0)]
}

fn deleted(mut pod: Json) -> Json {
    pod["metadata"]["deletionTimestamp"] = json!(at(905));
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    pod
}

/// A pod whose container the kubelet did not find when it terminated the pod.
fn lost(attempt: u64) -> Json {
    let terminated = json!({
        "reason": "ContainerStatusUnknown", "exitCode": 137, "startedAt": null, "finishedAt": null,
        "message": "The container could not be located when the pod was terminated",
    });
    let status =
        json!({"phase": "Failed", "containerStatuses": [container(json!({"terminated": terminated}))]});
    let mut pod = deleted(pod(attempt, status));
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    pod
}

fn deadline(kind: &str) -> Scene {
    Scene::of(job(condition(kind, "DeadlineExceeded", 900)))
}

fn expect_never_ran(scene: &Scene, phase: Phase, says: &str) -> Status {
    let status = expect(scene, phase, Some(Reason::DeadlineExceeded), "never ran within its timeout of 15m");
    assert!(status.message.contains(says), "{}", status.message);
    assert_eq!(status.exit_code, None);
    assert!(!status.hint.iter().any(|hint| hint.contains("raise `timeout`")), "{:?}", status.hint);
    status
}

/// The events that a kubelet writes for a pod whose image cannot be pulled.
fn pull_events(pod: &str) -> Vec<Json> {
    vec![
        event("Pod", pod, "Failed", &format!("Failed to pull image \"x\": {NO_HOST}"), 20),
        event("Pod", pod, "Failed", "Error: ErrImagePull", 20),
        event("Pod", pod, "BackOff", "Back-off pulling image \"x\"", 35),
        event("Pod", pod, "Failed", "Error: ImagePullBackOff", 35),
    ]
}

#[test]
fn deleted_pod_reports_the_cause_of_its_earlier_state() {
    let reasons = [
        ("ErrImagePull", NO_HOST, "no such host"),
        ("ImagePullBackOff", NO_HOST, "no such host"),
        ("CreateContainerConfigError", "secret \"nowhere\" not found", "nowhere"),
    ];
    for (reason, message, says) in reasons {
        let earlier = [waiting(0, reason, message)];
        for state in deletion_states() {
            let pod = std::slice::from_ref(&state);
            expect_never_ran(&deadline("FailureTarget").pods(pod).earlier(&earlier), Running, says);
            expect_never_ran(&deadline("Failed").gone(pod).earlier(&earlier), Failed, says);
        }
        expect_never_ran(&deadline("Failed").pods(&[lost(0)]).earlier(&earlier), Failed, says);
    }
}

#[test]
fn deleted_pod_reports_the_cause_from_its_events() {
    for state in deletion_states() {
        let scene = deadline("Failed").gone(&[state]).events(&pull_events("embed-0"));
        expect_never_ran(&scene, Failed, "no such host");
    }
    // No pod was observed. The events of the pod still show the cause.
    expect_never_ran(&deadline("Failed").events(&pull_events("embed-x2v4z")), Failed, "no such host");
    let secret = event("Pod", "embed-0", "Failed", "Error: secret \"nowhere\" not found", 35);
    expect_never_ran(&deadline("Failed").gone(&[lost(0)]).events(&[secret]), Failed, "nowhere");
}

#[test]
fn init_container_start_does_not_count_as_job_start() {
    let mut events = pull_events("embed-0");
    let mut start = event("Pod", "embed-0", "Started", "Container started", 10);
    start["involvedObject"]["fieldPath"] = json!("spec.initContainers{setup}");
    events.push(start);
    expect_never_ran(&deadline("Failed").gone(&[lost(0)]).events(&events), Failed, "no such host");
}

#[test]
fn lost_container_that_ran_exceeded_its_deadline() {
    let mut started = event("Pod", "embed-0", "Started", "Container started", 40);
    started["involvedObject"]["fieldPath"] = json!("spec.containers{job}");
    let mut restarted = lost(0);
    restarted["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    let mut ended_before = lost(0);
    ended_before["status"]["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"reason": "Error", "exitCode": 1, "startedAt": at(2), "finishedAt": at(8)}});
    let scenes = [
        deadline("Failed").gone(&[lost(0)]).earlier(&[running(0)]),
        deadline("Failed").gone(&[lost(0)]).events(&[started]),
        deadline("Failed").gone(&[restarted]),
        deadline("Failed").gone(&[ended_before]),
    ];
    for scene in scenes {
        let status =
            expect(&scene, Failed, Some(Reason::DeadlineExceeded), "took longer than its timeout of 15m");
        assert_eq!(status.exit_code, None, "its end is unknown");
    }
}

#[test]
fn lost_container_without_evidence_may_have_run() {
    let status = expect(
        &deadline("Failed").gone(&[lost(0)]),
        Failed,
        Some(Reason::DeadlineExceeded),
        "whether it ever ran is unknown",
    );
    assert_eq!(status.exit_code, None);
    assert!(!status.hint.iter().any(|hint| hint.contains("raise")), "{:?}", status.hint);
}

#[test]
fn deleted_pod_without_cause_reports_unknown_cause() {
    let scene = deadline("FailureTarget").pods(&[deleted(waiting(0, "ContainerCreating", ""))]);
    expect_never_ran(&scene, Running, "the cause is unknown; it has failed, and its pod is being deleted");
}

#[test]
fn cancelled_job_that_never_ran_has_no_exit_code() {
    let mut object = job(json!({"startTime": AT, "terminating": 1}));
    object["metadata"]["deletionTimestamp"] = json!(at(40));
    object["metadata"]["annotations"] = json!({"runway.dev/cancelled-at": at(40)});
    for state in deletion_states() {
        let pod = std::slice::from_ref(&state);
        for scene in [Scene::of(object.clone()).pods(pod), Scene::of(object.clone()).gone(pod)] {
            let scene = scene.earlier(&[waiting(0, "ErrImagePull", NO_HOST)]);
            assert_eq!(expect(&scene, Cancelled, None, "cancelled").exit_code, None);
        }
    }
}

#[test]
fn earlier_state_is_ignored_after_the_container_started() {
    let earlier = [waiting(0, "ErrImagePull", NO_HOST)];
    let scene =
        Scene::of(job(json!({"active": 1}))).pods(&[waiting(0, "ContainerCreating", "")]).earlier(&earlier);
    expect(&scene, Pending, None, "its image is being pulled");
    let scene = deadline("Failed").gone(&[ended(0, "Failed", "Error", 143)]).earlier(&earlier);
    expect(&scene, Failed, Some(Reason::DeadlineExceeded), "took longer");
}

#[test]
fn state_is_less_informative_if_it_lost_cause_or_start() {
    let read = |json: &Json| serde_json::from_value::<Pod>(json.clone()).unwrap();
    let less = |later: &Json, earlier: &Json| is_less_informative(&read(later), &read(earlier));
    let blocked = waiting(0, "ErrImagePull", NO_HOST);
    for state in deletion_states() {
        assert!(less(&state, &blocked) && less(&state, &running(0)), "{state}");
        assert!(!less(&state, &waiting(0, "ContainerCreating", "")), "{state}");
    }
    assert!(!less(&waiting(0, "ImagePullBackOff", NO_HOST), &blocked));
    assert!(!less(&running(0), &blocked));
    assert!(!less(&ended(0, "Failed", "Error", 1), &running(0)));
}
