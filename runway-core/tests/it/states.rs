//! The status of each recorded state of a cluster: its phase, its reason, required phrases and excluded phrases.

use runway_core::status::Phase::{Cancelled, Failed, Pending, Running, Succeeded};
use runway_core::status::Reason::{
    ConfigError, DeadlineExceeded, Disrupted, Evicted, ImagePull, OOMKilled, PodsRejected, StartError,
    Unschedulable,
};
use runway_core::status::{KubectlList, Phase, Reason, Status, classify};
use std::path::Path;

/// A state, the phase, the reason, the phrases that the answer must contain, and those it must not contain.
type Expected = (&'static str, Phase, Option<Reason>, &'static [&'static str], &'static [&'static str]);

/// Phrases that blame the submitter or the time limit.
const TIMEOUT_ADVICE: &[&str] = &["raise `timeout`", "less work"];

const NEVER_RAN: &[Expected] = &[
    (
        "captured/image-missing-pending",
        Pending,
        Some(ImagePull),
        &["no such host", "retrying since", "registry"],
        &["cancel it"],
    ),
    (
        "captured/image-missing-deadline-passing",
        Running,
        Some(DeadlineExceeded),
        &["never ran", "no such host"],
        TIMEOUT_ADVICE,
    ),
    (
        "captured/image-missing-until-deadline-last-pod",
        Failed,
        Some(DeadlineExceeded),
        &["never ran", "no such host"],
        TIMEOUT_ADVICE,
    ),
    (
        "captured/image-missing-until-deadline",
        Failed,
        Some(DeadlineExceeded),
        &["never ran", "no such host"],
        TIMEOUT_ADVICE,
    ),
    ("captured/image-missing-cancelled", Cancelled, None, &["cancelled"], &[]),
    (
        "written/image-missing-until-deadline-written",
        Failed,
        Some(DeadlineExceeded),
        &["never ran", "no such host"],
        TIMEOUT_ADVICE,
    ),
    (
        "captured/secret-missing-pending",
        Pending,
        Some(ConfigError),
        &["nowhere", "does not exist", "retrying since"],
        &["cancel it"],
    ),
    (
        "captured/secret-missing-until-deadline",
        Failed,
        Some(DeadlineExceeded),
        &["never ran", "not found"],
        TIMEOUT_ADVICE,
    ),
    ("captured/deadline-exceeded", Failed, Some(DeadlineExceeded), &["took longer than its timeout"], &[]),
];

const INTERRUPTED: &[Expected] = &[
    (
        "captured/drained-exit-0-last-pod",
        Succeeded,
        Some(Disrupted),
        &["being stopped", "evicted through the API", "may be incomplete"],
        &[],
    ),
    ("captured/drained-exit-0", Succeeded, Some(Disrupted), &["being stopped", "may be incomplete"], &[]),
    (
        "captured/storage-evicted-exit-0",
        Succeeded,
        Some(Evicted),
        &["being evicted", "exceeds the limit", "may be incomplete"],
        &[],
    ),
    (
        "written/storage-eviction-exit-0",
        Succeeded,
        Some(Evicted),
        &["being evicted", "exceeds the total limit", "may be incomplete"],
        &[],
    ),
    ("captured/storage-evicted", Failed, Some(Evicted), &["evicted by its node"], &[]),
    ("captured/native-sidecar-running", Running, None, &["runs"], &["istio-proxy"]),
];

const LOST_NODES: &[Expected] = &[
    (
        "captured/node-lost-not-yet-evicted",
        Running,
        Some(Disrupted),
        &["`127.0.0.1` has not responded since 2026-11-30T03:59:15Z", "may still run"],
        &["submit it again"],
    ),
    (
        "captured/node-lost-evicted",
        Running,
        Some(Disrupted),
        &[
            "has not responded since",
            "when the node is back, or when its Node object is deleted",
            "out-of-service",
        ],
        &["submit it again"],
    ),
    (
        "captured/node-lost-deadline",
        Running,
        Some(DeadlineExceeded),
        &["has not responded since", "out-of-service"],
        TIMEOUT_ADVICE,
    ),
    ("captured/node-lost-cancelled", Cancelled, None, &["cancelled", "has not responded since"], &[]),
    (
        "captured/node-deleted-deadline-last-pod",
        Failed,
        Some(DeadlineExceeded),
        &["lost its node before its timeout", "node no longer exists"],
        TIMEOUT_ADVICE,
    ),
    (
        "captured/node-deleted-next-attempt",
        Pending,
        Some(Unschedulable),
        &["an earlier pod", "taint of its node"],
        &[],
    ),
    (
        "captured/node-back-next-attempt",
        Running,
        None,
        &["runs, attempt 2", "an earlier pod", "taint of its node"],
        &[],
    ),
    (
        "written/node-not-ready-running",
        Running,
        Some(Disrupted),
        &["`node-1` has not responded since"],
        &["submit it again"],
    ),
];

const STOPPED_BY_OTHERS: &[Expected] = &[
    ("captured/pod-deleted-by-hand-at-once", Running, None, &["another client deleted its pod"], &[]),
    (
        "captured/pod-deleted-by-hand-last-pod",
        Failed,
        Some(Disrupted),
        &["its pod was deleted while it ran"],
        &["the sender is not recorded"],
    ),
    (
        "captured/pod-deleted-by-hand",
        Failed,
        Some(Disrupted),
        &["stopped from outside"],
        &["no pod of the job exists"],
    ),
    (
        "captured/pod-deleted-by-hand-second-attempt",
        Running,
        None,
        &["runs, attempt 2 of 2", "stopped from outside"],
        &[],
    ),
    (
        "written/pod-deleted-by-hand-written",
        Failed,
        Some(Disrupted),
        &["its pod was deleted while it ran"],
        &["the sender is not recorded"],
    ),
    ("captured/cancelled", Cancelled, None, &["cancelled"], &[]),
    ("captured/suspended-for-its-secret-1.34", Pending, None, &["suspended", "secrets"], &["another client"]),
    ("captured/secret-just-made", Pending, None, &["scheduled"], &["suspended"]),
    ("captured/secret-running", Running, None, &["runs"], &["suspended"]),
    (
        "captured/suspended-by-hand-at-once",
        Running,
        None,
        &["suspended by another client", "being terminated"],
        &["secret"],
    ),
    (
        "captured/suspended-by-hand",
        Pending,
        None,
        &["suspended by another client, after it had a pod"],
        &["secret"],
    ),
    (
        "captured/resumed-by-hand",
        Running,
        None,
        &["runs", "resumed it at 2026-11-30T03:17:04Z", "new deadline"],
        &["ended by signal"],
    ),
    (
        "captured/resumed-by-hand-then-deadline",
        Failed,
        Some(DeadlineExceeded),
        &["took longer than its timeout of 30s", "resumed it at", "longer than its price covers"],
        &[],
    ),
    (
        "captured/drained-exit-143-between-attempts",
        Running,
        Some(Disrupted),
        &["stopped from outside", "another attempt"],
        &["no pod has been created"],
    ),
    (
        "captured/drained-exit-143-second-attempt",
        Running,
        None,
        &["runs, attempt 2; retries used: 0 of 1", "stopped from outside"],
        &[],
    ),
    ("captured/preempted-1.34", Running, Some(Disrupted), &["higher priority"], &[]),
    (
        "captured/preempted-second-attempt-1.34",
        Running,
        None,
        &["runs, attempt 2; retries used: 0 of 1", "preempted"],
        &[],
    ),
    (
        "captured/kueue-queued",
        Pending,
        None,
        &["waits in the Kueue queue `lq`", "insufficient unused quota"],
        &["secret"],
    ),
    (
        "captured/kueue-evicted",
        Pending,
        None,
        &["suspended by Kueue", "`lq`", "The ClusterQueue is stopped"],
        &["secret"],
    ),
    ("captured/kueue-queued-with-secret", Pending, None, &["in the Kueue queue `lq`"], &["secret"]),
    (
        "written/queue-waits-for-quota",
        Pending,
        None,
        &["waits in the Kueue queue `team-a`", "4 more needed"],
        &["secret"],
    ),
    (
        "written/queue-preempts-running-pod",
        Running,
        None,
        &["suspended by Kueue", "`team-a`", "queue decides"],
        &["secret"],
    ),
    (
        "written/managed-elsewhere",
        Running,
        None,
        &["kueue.x-k8s.io/multikueue", "pods and logs are elsewhere"],
        &[],
    ),
    (
        "written/consolidation-pod-gone",
        Failed,
        Some(Disrupted),
        &["karpenter", "Underutilized"],
        &["ran short", "ephemeral_storage"],
    ),
    (
        "written/liveness-probe-kill",
        Failed,
        Some(Reason::Signaled),
        &["probe failed", "statuscode: 500"],
        &["the sender is not recorded"],
    ),
];

const REFUSED: &[Expected] = &[
    (
        "captured/policy-refuses-pod",
        Pending,
        Some(PodsRejected),
        &["'only-our-registry-pods'", "images must come from", "or the policy must change"],
        &[],
    ),
    (
        "captured/webhook-not-there",
        Pending,
        Some(PodsRejected),
        &["`nobody-pods.example.com` does not respond", "administrators", "needs no change"],
        &[],
    ),
    (
        "written/admission-policy-refuses",
        Pending,
        Some(PodsRejected),
        &["'require-labels'", "or the policy must change"],
        &[],
    ),
    (
        "captured/rejected-by-taint-last-pods",
        Pending,
        None,
        &["2 earlier pods: rejected by its node", "Predicate TaintToleration failed"],
        &[],
    ),
    (
        "captured/rejected-by-taint",
        Pending,
        Some(Disrupted),
        &["rejected by its node", "Predicate TaintToleration failed", "another attempt"],
        &["no pod has been created"],
    ),
    (
        "written/rejected-taint",
        Failed,
        Some(Disrupted),
        &["rejected by its node (TaintToleration)", "had taints"],
        &["no pod of the job exists"],
    ),
    (
        "written/rejected-os-label",
        Failed,
        Some(Disrupted),
        &["rejected by its node (PodOSSelectorNodeLabelDoesNotMatch)", "label"],
        &["no pod of the job exists"],
    ),
];

const OTHER_CONTAINERS: &[Expected] = &[
    (
        "captured/sidecar-holds-the-pod",
        Running,
        None,
        &["ended with exit code 0", "`istio-proxy` still runs", "native sidecar"],
        TIMEOUT_ADVICE,
    ),
    (
        "written/sidecar-outlives-work",
        Running,
        None,
        &["ended with exit code 0", "`istio-proxy` still runs"],
        TIMEOUT_ADVICE,
    ),
    (
        "captured/sidecar-killed-work-exit-0",
        Failed,
        Some(Reason::Signaled),
        &["`istio-proxy`", "ended with exit code 0", "possible, and not proved"],
        &["raise `resources.memory`"],
    ),
    (
        "written/sidecar-out-of-memory",
        Failed,
        Some(OOMKilled),
        &["`istio-proxy`", "128Mi", "ended with exit code 0"],
        &["raise `resources.memory`"],
    ),
    (
        "written/native-sidecar-crash-loop",
        Pending,
        None,
        &["waits for its sidecar `collector`", "9 times"],
        &["image"],
    ),
    ("captured/oom-main", Failed, Some(OOMKilled), &["memory limit of 32Mi"], &[]),
    ("captured/oom-child-exit-0", Succeeded, Some(Reason::ChildOOMKilled), &["child processes"], &[]),
    ("captured/retries-used-up", Failed, Some(Reason::NonZeroExit), &["exit code 7, attempt 4 of 4"], &[]),
    ("written/failure-policy-pod-gone", Failed, None, &["exit code 42"], &["no pod of the job exists"]),
    ("written/failed-indexes-pods-gone", Failed, None, &["1-3"], &[]),
];

const CAUSES: &[Expected] = &[
    (
        "written/secret-cache-timeout",
        Pending,
        None,
        &["failed to sync secret cache", "retrying"],
        &["missing", "wrong", "cancel"],
    ),
    (
        "written/pull-qps-exceeded",
        Pending,
        Some(ImagePull),
        &["pull QPS exceeded", "retrying"],
        &["tag", "name in", "cancel"],
    ),
    (
        "written/create-container-deadline",
        Pending,
        None,
        &["container runtime", "context deadline exceeded"],
        &["Secret", "volume", "user", "cancel"],
    ),
    (
        "written/volume-multi-attach",
        Pending,
        None,
        &["volume", "another node"],
        &["missing", "wrong", "cannot start", "cancel"],
    ),
    (
        "written/sandbox-without-address",
        Pending,
        None,
        &["sandbox", "failed to assign an IP address", "25 times"],
        &["image"],
    ),
    (
        "written/image-volume-mount-failed",
        Pending,
        None,
        &["ImageVolumeMountFailed", "failed to mount image volume"],
        &["its image"],
    ),
    (
        "written/autoscaler-at-maximum",
        Pending,
        Some(Unschedulable),
        &["NotTriggerScaleUp of cluster-autoscaler", "max node group size reached"],
        &[],
    ),
    (
        "written/pull-no-basic-auth",
        Pending,
        Some(ImagePull),
        &["no basic auth credentials", "`image_pull_secrets`"],
        &["tag"],
    ),
    (
        "written/pull-unknown-authority",
        Pending,
        Some(ImagePull),
        &["unknown authority", "TLS certificate"],
        &["tag"],
    ),
    (
        "written/pull-no-matching-platform",
        Pending,
        Some(ImagePull),
        &["no match for platform", "architecture"],
        &["tag"],
    ),
    (
        "written/pull-combined-event",
        Pending,
        Some(ImagePull),
        &["pull access denied", "denies access"],
        &["combined from"],
    ),
    (
        "written/pulled-with-other-credentials",
        Pending,
        Some(ImagePull),
        &["proper credentials", "`image_pull_secrets`"],
        &["not on the node"],
    ),
    (
        "written/start-driver-mismatch",
        Failed,
        Some(StartError),
        &["driver/library version mismatch", "GPU driver of the node"],
        &["`command`"],
    ),
    (
        "written/start-mount-not-directory",
        Failed,
        Some(StartError),
        &["not a directory", "a mount failed"],
        &["`command`"],
    ),
    ("written/no-entry-point", Pending, Some(ConfigError), &["set `command`"], &["Secret", "volume"]),
    (
        "written/volume-node-affinity",
        Pending,
        Some(Unschedulable),
        &["a volume ties the job to certain nodes"],
        &["gpu_type", "labels that"],
    ),
    (
        "written/claim-not-found",
        Pending,
        Some(Unschedulable),
        &["PersistentVolumeClaim does not exist"],
        &["it starts when a node"],
    ),
    (
        "written/insufficient-rdma-device",
        Pending,
        Some(Unschedulable),
        &["`rdma/hca_shared_devices_a`"],
        &["GPU", "resources.gpu", "gpu_type"],
    ),
    ("written/evicted-pid-pressure", Failed, Some(Evicted), &["process ids"], &["ephemeral_storage"]),
];

fn read(name: &str) -> KubectlList {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/cluster/{name}.json"));
    let source = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    KubectlList::from_json(serde_json::from_slice(&source).unwrap()).unwrap()
}

fn text_of(status: &Status) -> String {
    format!("{} / {}", status.message, status.hint.as_deref().unwrap_or_default())
}

fn check(all: &[Expected]) {
    let mut failures = Vec::new();
    for (name, phase, reason, says, never) in all {
        let list = read(name);
        let (_, objects) = list.jobs().next().unwrap();
        let status = classify(&objects);
        let text = text_of(&status);
        // Text from the cluster is quoted in backticks, and may contain anything.
        let own: String = text.split('`').step_by(2).collect();
        let missing = says.iter().filter(|says| !text.contains(*says));
        let wrong = never
            .iter()
            .filter(|never| own.contains(**never) || (never.contains('`') && text.contains(**never)));
        let wrong: Vec<_> = missing.chain(wrong).collect();
        if (status.phase, status.reason) != (*phase, *reason) || !wrong.is_empty() {
            failures.push(format!("{name}: {} {:?}: {wrong:?}\n  {text}", status.phase, status.reason));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn jobs_that_never_ran_name_the_cause() {
    check(NEVER_RAN);
    for (name, ..) in NEVER_RAN.iter().filter(|(name, ..)| !name.ends_with("deadline-exceeded")) {
        let list = read(name);
        assert_eq!(classify(&list.jobs().next().unwrap().1).exit_code, None, "{name}");
    }
}

#[test]
fn interrupted_success_has_a_note() {
    check(INTERRUPTED);
}

#[test]
fn lost_nodes_are_named_and_hold_the_job() {
    check(LOST_NODES);
    for name in ["not-yet-evicted", "evicted", "deadline", "cancelled"] {
        let list = read(&format!("captured/node-lost-{name}"));
        let status = classify(&list.jobs().next().unwrap().1);
        assert!(status.occupies_resources && !status.ends_by_itself, "{name}");
    }
}

#[test]
fn deletion_suspension_and_disruption_name_the_actor() {
    check(STOPPED_BY_OTHERS);
}

#[test]
fn refused_pods_name_the_rejecting_component() {
    check(REFUSED);
    for name in ["captured/rejected-by-taint-last-pods", "captured/rejected-by-taint"] {
        assert_eq!(classify(&read(name).jobs().next().unwrap().1).exit_code, None, "{name}");
    }
}

#[test]
fn failures_of_companions_are_not_blamed_on_the_work() {
    check(OTHER_CONTAINERS);
}

#[test]
fn hints_follow_from_the_cause() {
    check(CAUSES);
}

#[test]
fn started_at_is_the_first_start_of_a_resumed_job() {
    let list = read("captured/resumed-by-hand");
    let started = classify(&list.jobs().next().unwrap().1).started_at.unwrap();
    assert_eq!(started.to_string(), "2026-11-30T03:16:34.000000000Z");
}

#[test]
fn pod_without_job_has_a_status_of_its_own() {
    let list = read("written/pod-without-job");
    let (name, objects) = list.pods_without_job().next().unwrap();
    let status = classify(&objects);
    assert_eq!((name, status.phase, status.reason), ("train-x7nhr", Failed, Some(OOMKilled)));
    assert!(!status.message.contains("Job"), "{}", status.message);
    let list = read("captured/job-deleted-by-hand");
    let (_, objects) = list.pods_without_job().next().unwrap();
    let status = classify(&objects);
    assert_eq!(status.phase, Running);
    assert!(status.message.contains("its Job no longer exists"), "{}", status.message);
}
