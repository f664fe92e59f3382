//! Pods that their node evicted or rejected, and pods that lost their node.

use super::rules::{self, matching_rule};
use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Returns the cause of a pod that its node evicted.
pub(super) fn evicted(message: Option<&str>) -> Cause {
    let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
    let message = message.unwrap_or_default();
    let hint = if message.contains("EmptyDir volume \"shm\"") {
        "raise `resources.shm`, or store less in `/dev/shm`"
    } else {
        matching_rule(rules::EVICTION, message).map_or(
            "its node ran short of the resource that the message names; submit it again, and if this recurs, ask the \
             administrators of the cluster",
            |rule| rule.hint,
        )
    };
    Cause::new(Reason::Evicted, format!("evicted by its node{detail}")).with_hint(hint)
}

/// Returns the cause of a pod that ended because of its node.
pub(super) fn disrupted(description: impl Into<String>) -> Cause {
    Cause::new(Reason::Disrupted, description)
        .with_hint("the job did not cause this failure; submit it again, unless it is retried")
}

/// Describes a disruption by the reason of the condition `DisruptionTarget`.
pub(super) fn disruption_text(reason: Option<&str>) -> &'static str {
    match reason {
        Some("PreemptionByScheduler" | "PreemptionByKubeScheduler") => {
            "its node was given to a pod of higher priority"
        }
        Some("DeletionByTaintManager") => "its node was tainted, for example because it failed",
        Some("EvictionByEvictionAPI") => "it was evicted through the API, for example to drain its node",
        Some("DeletionByPodGC") => "its node no longer exists",
        Some("TerminationByKubelet") => "its node shut down, or freed resources for a critical pod",
        _ => "it lost its node",
    }
}

/// Describes the end of a pod by its node, from the reason in the pod's status. Returns `None` for any other
/// reason.
pub(super) fn end_by_node_text(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "Preempting" | "Preempted" => "disrupted because its node was given to a pod of higher priority",
        "NodeLost" => "disrupted because its node was lost",
        "Shutdown" | "NodeShutdown" | "Terminated" => "disrupted because its node shut down",
        _ => return None,
    })
}

/// Returns the cause of a pod that the kubelet rejected after the scheduler had chosen its node. Each release
/// of Kubernetes adds reasons, so the reason is quoted.
pub(super) fn rejected_by_node(reason: &str, message: Option<&str>) -> Cause {
    let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
    let reason = quoted(reason).replace('`', "");
    Cause::new(Reason::Disrupted, format!("rejected by its node ({reason}){detail}")).with_hint(
        "no container was started; submit it again, unless it is retried; if this recurs, ask the administrators of the \
         cluster",
    )
}

/// Returns the cause of a container that the kubelet stopped on behalf of an unknown client.
pub(super) fn stopped_from_outside() -> Cause {
    Cause::new(
        Reason::Disrupted,
        "stopped from outside, not by the job: its pod was deleted or evicted, and no object names the client",
    )
    .with_hint("a deleted pod uses up a retry, and an eviction, as by `kubectl drain`, does not; submit it again")
}

/// Returns the cause of a container that ended because another client deleted its pod.
pub(super) fn pod_deleted(end: &str) -> Cause {
    Cause::new(
        Reason::Disrupted,
        format!(
            "its pod was deleted while it ran, not by Runway or the Job{end}; no object names the client"
        ),
    )
    .with_hint(
        "a deleted pod uses up a retry, and an eviction, as by `kubectl drain`, does not; submit it again",
    )
}

/// The remedy for a node that does not respond.
pub(super) fn lost_node_hint(node: &str) -> String {
    format!(
        "the job ends when the node is back, or when its Node object is deleted; ask the administrators of the cluster \
         to delete the Node {node}, or to taint it with `node.kubernetes.io/out-of-service`"
    )
}
