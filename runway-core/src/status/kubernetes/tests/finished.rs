//! Jobs that have finished or are about to finish.

use super::*;

#[test]
fn failure_cause_comes_from_the_newest_attempt() {
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
        ("Error", 126, Reason::NonZeroExit, "cannot execute"),
        ("Error", 127, Reason::NonZeroExit, "does not find"),
        ("Error", -1, Reason::NonZeroExit, "exit code -1"),
        ("Error", 3, Reason::NonZeroExit, "exit code 3, attempt 2 of 3"),
        ("StartError", 128, Reason::StartError, "could not start the process"),
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
fn oom_kill_evidence_names_the_terminated_reason() {
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
fn older_attempt_explains_failure_if_newest_cannot() {
    let without_status = pod(1, json!({"phase": "Failed"}));
    let scene = Scene::of(failed())
        .gone(&[ended(0, "Failed", "Error", 3)])
        .pods(std::slice::from_ref(&without_status));
    let status = expect(&scene, Failed, Some(Reason::NonZeroExit), "attempt 1 of 3");
    assert_eq!((status.exit_code, status.attempts), (Some(3), 2));
    let scene = Scene::of(failed()).pods(&[without_status]);
    expect(&scene, Failed, Some(Reason::BackoffLimitExceeded), "as the controller says");
    expect(&Scene::of(failed()), Failed, Some(Reason::BackoffLimitExceeded), "no pod of the job exists");
}

#[test]
fn signal_field_is_reported_as_signal() {
    let mut dead = ended(0, "Failed", "Error", 0);
    dead["status"]["containerStatuses"][0]["state"]["terminated"]["signal"] = json!(11);
    let status = expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::Signaled), "SIGSEGV");
    assert_eq!(status.exit_code, Some(139));
}

#[test]
fn oom_killed_child_is_noted_on_success() {
    let complete = job(condition("Complete", "", 30));
    let scene = Scene::of(complete)
        .pods(&[ended(1, "Succeeded", "OOMKilled", 0), ended(0, "Failed", "OOMKilled", 137)]);
    let status = expect(&scene, Succeeded, Some(Reason::ChildOOMKilled), "attempt 2 of 3, but the kernel");
    assert_eq!((status.exit_code, status.evidence[0].value.as_str()), (Some(0), "OOMKilled"));
    // The cause of an earlier failed attempt is not reported for the attempt that succeeded.
    let complete = job(condition("Complete", "", 30));
    let scene = Scene::of(complete)
        .pods(&[ended(1, "Succeeded", "Completed", 0), ended(0, "Failed", "OOMKilled", 137)]);
    let status = expect(&scene, Succeeded, None, "succeeded, attempt 2 of 3");
    assert_eq!(status.evidence[0].value, "Complete");
}

#[test]
fn condition_is_ignored_unless_true() {
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
fn announced_end_keeps_the_job_running() {
    let announced = job(condition("FailureTarget", "DeadlineExceeded", 900));
    let status = expect(
        &Scene::of(announced).pods(&[running(0)]),
        Running,
        Some(Reason::DeadlineExceeded),
        "being terminated",
    );
    assert!(status.occupies_resources && status.finished_at.is_none());
    let announced = job(condition("FailureTarget", "PodFailurePolicy", 30));
    let scene = Scene::of(announced).pods(&[ended(0, "Failed", "Error", 42)]);
    let status = expect(&scene, Running, Some(Reason::NonZeroExit), "it has failed");
    assert!(status.occupies_resources);
    let announced = job(condition("SuccessCriteriaMet", "CompletionsReached", 30));
    let scene = Scene::of(announced).pods(&[ended(0, "Succeeded", "Completed", 0)]);
    assert!(expect(&scene, Running, None, "has succeeded").occupies_resources);
}

#[test]
fn failed_job_is_running_until_its_pods_end() {
    let late = || Scene::of(job(condition("Failed", "DeadlineExceeded", 900)));
    let mut terminating = running(0);
    terminating["metadata"]["deletionTimestamp"] = json!(at(930));
    let ending = late().pods(std::slice::from_ref(&terminating)).classify();
    assert_eq!(
        (ending.phase, ending.reason, ending.occupies_resources),
        (Running, Some(Reason::DeadlineExceeded), true)
    );
    assert!(!late().pods(&[ended(0, "Failed", "Error", 137)]).classify().occupies_resources);
    assert!(!late().gone(std::slice::from_ref(&terminating)).classify().occupies_resources);
    // A pod that is in both `pods` and `gone` counts as existing. So the job still occupies resources.
    assert!(
        late().pods(std::slice::from_ref(&terminating)).gone(&[terminating]).classify().occupies_resources
    );
}

#[test]
fn deadline_condition_overrides_pod_causes() {
    let late = || Scene::of(job(condition("Failed", "DeadlineExceeded", 900)));
    let status =
        expect(&late(), Failed, Some(Reason::DeadlineExceeded), "took longer than its timeout of 15m");
    assert_eq!(status.evidence[0].path, "status.conditions[1].reason");
    expect(&late().gone(&[running(0)]), Failed, Some(Reason::DeadlineExceeded), "raise `timeout`");
    // The process exited because its pod was deleted after the deadline. So the message does not report
    // this exit as an earlier cause.
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
fn deadline_before_first_start_reports_the_cause() {
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
        "never ran within its timeout of 15m: the cluster rejects its pods",
    );
}

#[test]
fn failed_job_has_the_exit_code_of_the_failed_pod() {
    let failed = ended(0, "Failed", "Error", 5);
    let succeeded = ended(1, "Succeeded", "Completed", 0);
    let scene = Scene::of(job(condition("Failed", "BackoffLimitExceeded", 900))).pods(&[failed, succeeded]);
    let status = scene.classify();
    assert_eq!((status.phase, status.reason, status.exit_code), (Failed, Some(Reason::NonZeroExit), Some(5)));
}

#[test]
fn job_finished_before_deletion_is_not_cancelled() {
    let phase_when_finished_at = |kind: &str, at: u64| {
        let mut object = job(condition(kind, "BackoffLimitExceeded", at));
        object["metadata"]["annotations"]["runway.dev/cancelled-at"] = json!("1970-01-01T00:00:00Z");
        object["metadata"]["deletionTimestamp"] = json!(self::at(900));
        Scene::of(object).classify().phase
    };
    // The time in the annotation is much earlier than the deletion, as after a failed delete request. So a
    // condition is compared with the time of the deletion, which is second 900.
    assert_eq!(
        (phase_when_finished_at("Complete", 800), phase_when_finished_at("Failed", 800)),
        (Succeeded, Failed)
    );
    assert_eq!(
        (phase_when_finished_at("Complete", 900), phase_when_finished_at("Failed", 900)),
        (Succeeded, Cancelled)
    );
    assert_eq!(
        (phase_when_finished_at("Complete", 901), phase_when_finished_at("Failed", 901)),
        (Cancelled, Cancelled)
    );
}

#[test]
fn eviction_hint_names_the_exhausted_resource() {
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
        ("The node was low on resource: pids. ", "evicted by its node"),
    ] {
        // Since Kubernetes 1.26, the kubelet also adds the condition `DisruptionTarget` to an evicted pod.
        // The reason is still `Evicted`.
        let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"});
        let status =
            json!({"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [target]});
        let status =
            expect(&Scene::of(failed()).pods(&[pod(0, status)]), Failed, Some(Reason::Evicted), says);
        assert_eq!(status.evidence[0].path, "status.reason");
    }
}

#[test]
fn disruption_does_not_blame_the_job() {
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
            "the job did not cause this",
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
    // An OOM kill is stronger evidence than the condition `DisruptionTarget`.
    let mut dead = ended(0, "Failed", "OOMKilled", 137);
    dead["status"]["conditions"] =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]);
    expect(&Scene::of(failed()).pods(&[dead]), Failed, Some(Reason::OOMKilled), "64Mi");
}

#[test]
fn job_is_cancelled_only_if_annotated_and_deleted() {
    let deleted = |annotated: bool, status: Json| {
        let mut job = job(status);
        job["metadata"]["deletionTimestamp"] = json!(at(40));
        if annotated {
            job["metadata"]["annotations"] = json!({"runway.dev/cancelled-at": at(39)});
        }
        job
    };
    let status =
        expect(&Scene::of(deleted(true, json!({}))).pods(&[running(0)]), Cancelled, None, "being terminated");
    assert_eq!((status.occupies_resources, status.finished_at), (true, None));
    assert_eq!(status.evidence[0].path, "metadata.annotations['runway.dev/cancelled-at']");
    let mut killed = ended(0, "Failed", "Error", 143);
    killed["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!(at(44));
    killed["metadata"]["deletionTimestamp"] = json!(at(70));
    let scene = Scene::of(deleted(true, json!({}))).gone(std::slice::from_ref(&killed));
    let status = expect(&scene, Cancelled, None, "cancelled");
    assert_eq!(
        (status.occupies_resources, status.finished_at, status.exit_code),
        (false, Some(instant_at(44)), Some(143))
    );
    let status = expect(&Scene::of(deleted(true, json!({}))), Cancelled, None, "cancelled");
    assert_eq!(status.finished_at, Some(instant_at(40)));
    // The job finished before it was cancelled. So its own result counts.
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
    // The job failed because it was cancelled. So it counts as cancelled.
    let scene = Scene::of(deleted(true, condition("Failed", "BackoffLimitExceeded", 45))).pods(&[killed]);
    expect(&scene, Cancelled, None, "cancelled");
    // Another client deleted the Job: the annotation of Runway is missing. So the job is not cancelled.
    let status =
        expect(&Scene::of(deleted(false, json!({}))).pods(&[running(0)]), Running, None, "not by Runway");
    assert!(status.occupies_resources);
    expect(
        &Scene::of(deleted(false, json!({}))).pods(&[waiting(0, "ErrImagePull", "")]),
        Pending,
        Some(Reason::ImagePull),
        "not by Runway",
    );
    // Runway has set the annotation and has not deleted the Job yet. The job is cancelled only after the
    // deletion.
    let mut annotated = deleted(true, json!({}));
    annotated["metadata"]["deletionTimestamp"] = Json::Null;
    expect(&Scene::of(annotated).pods(&[running(0)]), Running, None, "runs");
}

#[test]
fn gone_job_is_unknown_unless_its_end_was_observed() {
    assert_eq!(Scene::orphaned().classify(), Status::gone());
    expect(&Scene::orphaned().gone(&[running(0)]), Unknown, None, "disappeared before its end was observed");
    expect(&Scene::orphaned().gone(&[waiting(0, "ErrImagePull", "")]), Unknown, None, "disappeared");
    let status = expect(&Scene::orphaned().pods(&[running(0)]), Running, None, "its Job no longer exists");
    assert!(status.occupies_resources);
    expect(&Scene::orphaned().gone(&[ended(0, "Succeeded", "Completed", 0)]), Succeeded, None, "succeeded");
    let status = expect(
        &Scene::orphaned().gone(&[ended(0, "Failed", "Error", 2)]),
        Failed,
        Some(Reason::NonZeroExit),
        "its Job no longer exists",
    );
    assert_eq!((status.finished_at, status.occupies_resources), (Some(instant_at(8)), false));
    // The deletion of the pod ended the process. So the outcome of the job is unknown.
    let mut killed = ended(0, "Failed", "Error", 143);
    killed["metadata"]["deletionTimestamp"] = json!(at(37));
    killed["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    expect(&Scene::orphaned().gone(&[killed]), Unknown, None, "disappeared");
    let mut lost = ended(0, "Failed", "Error", 143);
    lost["status"]["reason"] = json!("NodeLost");
    expect(&Scene::orphaned().gone(&[lost]), Unknown, None, "disappeared");
}

#[test]
fn unobserved_attempts_are_counted() {
    let counted = json!({"failed": 2, "active": 1, "uncountedTerminatedPods": {"failed": ["x"]}});
    assert_eq!(Scene::of(job(counted)).pods(&[running(0)]).classify().attempts, 4);
    let scene = Scene::of(job(json!({"failed": 1}))).pods(&[running(2), running(1)]).gone(&[running(0)]);
    assert_eq!(scene.classify().attempts, 3);
    let scene =
        Scene::of(job(json!({"failed": -7, "active": i32::MAX, "succeeded": i32::MAX}))).pods(&[running(0)]);
    assert!(scene.classify().attempts > 1);
}

#[test]
fn attempts_are_billed_from_scheduling_to_end() {
    use crate::price::AttemptSpan;
    let mut without_condition = ended(2, "Failed", "Error", 1);
    without_condition["status"]["conditions"] = json!([]);
    without_condition["status"]["startTime"] = json!(at(22));
    // A pod without container statuses never started. A pod that was last observed running ended before the
    // next one was created.
    let lost = pod(1, json!({"phase": "Failed", "reason": "Evicted"}));
    let scene = Scene::of(failed()).pods(&[without_condition, unscheduled("")]).gone(&[
        lost,
        running(3),
        ended(4, "Failed", "Error", 1),
    ]);
    let run = |scheduled, ended: Option<u64>| AttemptSpan {
        scheduled: instant_at(scheduled),
        ended: ended.map(instant_at),
    };
    assert_eq!(
        scene.classify().attempt_spans,
        [run(11, Some(11)), run(22, Some(28)), run(31, Some(40)), run(41, Some(48))]
    );
    // A time equal to the Unix epoch counts as unset.
    let mut unset = ended(0, "Failed", "ContainerStatusUnknown", 137);
    unset["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] =
        json!("1970-01-01T00:00:00Z");
    assert_eq!(Scene::of(failed()).pods(&[unset]).classify().attempt_spans, [run(1, None)]);
}

#[test]
fn end_by_deletion_is_the_weakest_cause() {
    let mut killed = ended(1, "Failed", "Error", 143);
    killed["metadata"]["deletionTimestamp"] = json!(at(48));
    killed["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let scene = Scene::of(failed()).pods(&[ended(0, "Failed", "OOMKilled", 137), killed.clone()]);
    expect(&scene, Failed, Some(Reason::OOMKilled), "attempt 1 of 3");
    let scene = Scene::of(failed()).pods(&[killed]);
    let status = expect(&scene, Failed, Some(Reason::Disrupted), "its pod was deleted while it ran");
    assert_eq!(
        (status.exit_code, status.evidence[0].path.as_str()),
        (Some(143), "metadata.deletionTimestamp")
    );
}

#[test]
fn attempts_are_ordered_by_creation_time() {
    let mut newest = ended(5, "Failed", "Error", 5);
    newest["metadata"]["uid"] = json!("a");
    let scene = Scene::of(failed()).pods(&[newest, ended(1, "Failed", "Error", 1)]);
    assert_eq!(expect(&scene, Failed, Some(Reason::NonZeroExit), "exit code 5").exit_code, Some(5));
}

#[test]
fn job_completed_in_the_second_of_cancel_succeeded() {
    let mut done = job(condition("Complete", "", 40));
    done["metadata"]["deletionTimestamp"] = json!(at(40));
    done["metadata"]["annotations"] = json!({"runway.dev/cancelled-at": at(40)});
    expect(&Scene::of(done), Succeeded, None, "succeeded");
}

#[test]
fn first_deletion_decides_whether_it_ended_the_container() {
    // The container ended at second 18, and the deletion was requested at second 20 with a grace of 5 s. Then
    // the kubelet replaced both by its own deletion, with a grace of 0.
    let mut last = ended(1, "Failed", "Error", 143);
    last["metadata"]["deletionTimestamp"] = json!(at(21));
    last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    let mut first = last.clone();
    first["metadata"]["deletionTimestamp"] = json!(at(25));
    first["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    let scene = Scene::of(failed()).pods(std::slice::from_ref(&last));
    expect(&scene, Failed, Some(Reason::Disrupted), "its pod was deleted while it ran");
    expect(&scene.earlier(std::slice::from_ref(&first)), Failed, Some(Reason::Signaled), "signal 15");
    let (last, first) = (&read::<Pod>(&[last])[0], &read::<Pod>(&[first])[0]);
    assert!(is_less_informative(last, first) && !is_less_informative(first, last));
}
