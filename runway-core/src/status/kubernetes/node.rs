//! Pods that their node evicted or rejected, and pods that lost their node.

use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Returns the cause of a pod that its node evicted.
pub(super) fn evicted(message: Option<&str>) -> Cause {
    let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
    let message = message.unwrap_or_default().to_ascii_lowercase();
    let mentions = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let hint = if mentions(&["emptydir volume \"shm\""]) {
        "raise `resources.shm`, or store less in `/dev/shm`"
    } else if mentions(&[
        "emptydir",
        "exceeds the total limit",
        "local ephemeral storage limit",
        "ephemeral local storage usage",
    ]) {
        "raise `resources.ephemeral_storage`, or write less; `/tmp` and the logs count"
    } else if mentions(&["resource: memory"]) {
        "its node ran short of memory; submit it again, and if this recurs, raise `resources.memory` to the actual use"
    } else if mentions(&["resource: ephemeral-storage", "diskpressure", "inodes"]) {
        "its node ran short of storage; submit it again, and if this recurs, raise `resources.ephemeral_storage` to the \
         actual use"
    } else {
        "its node ran short of a resource; submit it again (`/tmp` and the logs count as `resources.ephemeral_storage`)"
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

/// Describes the end or the rejection of a pod by its node, from the reason in the pod's status. Returns
/// `None` for any other reason.
pub(super) fn rejection_text(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "Preempting" | "Preempted" => "disrupted because its node was given to a pod of higher priority",
        "NodeLost" => "disrupted because its node was lost",
        "Shutdown" | "NodeShutdown" | "Terminated" => "disrupted because its node shut down",
        // The scheduler chose a node, and the kubelet rejected the pod because the node does not fit.
        "UnexpectedAdmissionError"
        | "NodeAffinity"
        | "NodeName"
        | "NodePorts"
        | "NodeUnschedulable"
        | "TopologyAffinityError"
        | "InvalidNodeInfo" => "rejected by its node",
        reason if reason.starts_with("OutOf") => "rejected by its node, which was full",
        _ => return None,
    })
}
