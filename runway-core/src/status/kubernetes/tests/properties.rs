//! Properties of the classification for every subset and order of objects.

use super::*;
use proptest::prelude::*;

fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(all)
}

/// Pods in the states of the other tests, with random creation and deletion times.
fn any_pod() -> impl Strategy<Value = Json> {
    let reasons: &[&str] = &["OOMKilled", "Error", "Completed", "StartError", "ContainerStatusUnknown", ""];
    let waits: &[&str] = &[
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "ContainerCreating",
        "CrashLoopBackOff",
    ];
    let state = prop_oneof![
        (one_of(reasons), one_of(&["Failed", "Succeeded", "Running"]), -2..260)
            .prop_map(|(reason, phase, code)| ended(0, phase, reason, code)),
        one_of(waits).prop_map(|reason| waiting(0, reason, "told")),
        Just(running(0)),
        Just(unscheduled("0/1 nodes are available: 1 Insufficient cpu.")),
        Just(pod(
            0,
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
        )),
        Just(pod(
            0,
            json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]})
        )),
        Just(pod(0, json!({"phase": "Unknown"}))),
        Just(json!({})),
        Just(
            json!({"status": {"containerStatuses": [{}], "initContainerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}})
        ),
    ];
    (state, 0..6_u64, prop::option::of(0..100_u64)).prop_map(|(mut pod, created, deleted)| {
        pod["metadata"]["creationTimestamp"] = json!(at(created * 10));
        if let Some(deleted) = deleted {
            pod["metadata"]["deletionTimestamp"] = json!(at(deleted));
        }
        pod
    })
}

fn any_job() -> impl Strategy<Value = Option<Json>> {
    let kinds: &[&str] = &["Failed", "Complete", "FailureTarget", "SuccessCriteriaMet", "Suspended"];
    let reasons: &[&str] = &["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "New", ""];
    let condition = (one_of(kinds), one_of(&["True", "False"]), one_of(reasons), 0..100_u64)
        .prop_map(|(kind, value, reason, seconds)| json!({"type": kind, "status": value, "reason": reason, "lastTransitionTime": at(seconds)}));
    let job = (
        prop::collection::vec(condition, 0..3),
        prop::option::of(0..100_u64),
        any::<bool>(),
        any::<bool>(),
        any::<i32>(),
    )
        .prop_map(|(conditions, deleted, cancelled, suspended, count)| {
            let mut job = job(json!({"conditions": conditions, "failed": count}));
            job["spec"]["suspend"] = json!(suspended);
            if let Some(deleted) = deleted {
                job["metadata"]["deletionTimestamp"] = json!(at(deleted));
            }
            if cancelled {
                job["metadata"]["annotations"] =
                    json!({"runway.dev/cancelled-at": deleted.map_or_else(|| "soon".to_owned(), at)});
            }
            job
        });
    prop_oneof![9 => job.prop_map(Some), 1 => Just(Some(json!({}))), 2 => Just(None)]
}

fn any_event() -> impl Strategy<Value = Json> {
    let reasons: &[&str] = &[
        "Failed",
        "FailedCreate",
        "FailedScheduling",
        "Started",
        "Pulling",
        "BackOff",
        "FailedMount",
        "Killing",
    ];
    let messages: &[&str] = &["Failed to pull image \"x\"", "exceeded quota", "Back-off pulling image", ""];
    let about: &[&str] = &["embed", "embed-0", "embed-1", "embed-9"];
    let event = (one_of(reasons), one_of(messages), one_of(about), any::<bool>(), 0..50_u64).prop_map(
        |(reason, message, about, of_job, seconds)| {
            event(if of_job { "Job" } else { "Pod" }, about, reason, message, seconds)
        },
    );
    prop_oneof![20 => event, 1 => Just(json!({}))]
}

fn any_scene() -> impl Strategy<Value = Scene> {
    let pods = prop::collection::vec((any_pod(), any::<bool>(), prop::option::of(any_pod())), 0..5);
    (any_job(), pods, prop::collection::vec(any_event(), 0..6)).prop_map(|(job, pods, events)| {
        let mut scene =
            Scene { job: job.map(|job| serde_json::from_value(job).unwrap()), ..Scene::default() };
        for (index, (mut pod, gone, earlier)) in pods.into_iter().enumerate() {
            pod["metadata"]["name"] = json!(format!("embed-{index}"));
            pod["metadata"]["uid"] = json!(format!("uid-{index}"));
            let list = if gone { &mut scene.gone } else { &mut scene.pods };
            list.push(serde_json::from_value(pod.clone()).unwrap());
            if let Some(mut state) = earlier {
                state["metadata"] = pod["metadata"].clone();
                scene.earlier.push(serde_json::from_value(state).unwrap());
            }
        }
        for (index, mut event) in events.into_iter().enumerate() {
            event["metadata"]["name"] = json!(format!("event-{index}"));
            scene.events.push(serde_json::from_value(event).unwrap());
        }
        scene
    })
}

proptest! {
    #[test]
    fn order_of_objects_does_not_matter((scene, shuffled) in any_scene().prop_flat_map(|scene| {
        let parts = (Just(scene.pods.clone()).prop_shuffle(), Just(scene.gone.clone()).prop_shuffle(), Just(scene.events.clone()).prop_shuffle(), Just(scene.earlier.clone()).prop_shuffle());
        (Just(scene), parts)
    })) {
        let status = scene.classify();
        let (pods, gone, events, earlier) = shuffled;
        let other = Scene { job: scene.job.clone(), pods, gone, earlier, events };
        prop_assert_eq!(status, other.classify());
    }

    #[test]
    fn phase_matches_the_observed_objects(scene in any_scene()) {
        let status = scene.classify();
        let has = |kind: &str| scene.job.as_ref().is_some_and(|job| ObservedJob(job).condition(kind).is_some());
        match status.phase {
            Succeeded => prop_assert!(!status.occupies_resources && (has("Complete") || scene.job.is_none())),
            Failed => prop_assert!(!status.occupies_resources && (has("Failed") || scene.job.is_none())),
            Cancelled => prop_assert!(scene.job.as_ref().is_some_and(|job| job.metadata.deletion_timestamp.is_some())),
            Unknown => prop_assert!(scene.job.is_none()),
            Pending | Running => prop_assert!(status.occupies_resources),
        }
        if status.phase.is_final() && !status.occupies_resources && scene.job.is_some() && status.finished_at.is_none() {
            prop_assert!(status.phase != Cancelled);
        }
        prop_assert!(status.attempts as usize >= scene.pods.len() + scene.gone.len());
        // Pods that no longer exist occupy no resources. So a job with only such pods and a final phase
        // occupies none.
        let gone = Scene { gone: [scene.pods.clone(), scene.gone.clone()].concat(), pods: Vec::new(), ..scene };
        let after = gone.classify();
        prop_assert!(!after.phase.is_final() || !after.occupies_resources);
    }
}
