//! Pods that their node evicted or rejected, and pods that lost their node.

use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Returns the cause of a pod that its node evicted.
pub(super) fn evicted(message: Option<&str>) -> Cause {
    let told = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
    let message = message.unwrap_or_default().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let hint = if says(&["emptydir volume \"shm\""]) {
        "raise `resources.shm`, or keep less in `/dev/shm`"
    } else if says(&[
        "emptydir",
        "exceeds the total limit",
        "local ephemeral storage limit",
        "ephemeral local storage usage",
    ]) {
        "raise `resources.ephemeral_storage`, or write less: `/tmp` and the logs count"
    } else if says(&["resource: memory"]) {
        "its node ran short of memory: submit it again; where that returns, raise `resources.memory` to what it really takes"
    } else if says(&["resource: ephemeral-storage", "diskpressure", "inodes"]) {
        "its node ran short of storage: submit it again; where that returns, raise `resources.ephemeral_storage` to what it \
         really takes"
    } else {
        "its node ran short: submit it again; what counts against `resources.ephemeral_storage` is `/tmp` and the logs"
    };
    Cause::new(Reason::Evicted, format!("thrown out by its node{told}")).hint(hint)
}

/// Returns the cause of a pod that ended because of its node.
pub(super) fn disrupted(what: impl Into<String>) -> Cause {
    Cause::new(Reason::Disrupted, what)
        .hint("nothing is wrong with the job itself: if it is not tried again, submit it again")
}

/// Describes a disruption by the reason of the condition `DisruptionTarget`.
pub(super) fn disruption(reason: Option<&str>) -> &'static str {
    match reason {
        Some("PreemptionByScheduler" | "PreemptionByKubeScheduler") => {
            "its node was given to a pod of higher priority"
        }
        Some("DeletionByTaintManager") => "its node was tainted, as a failing or leaving one is",
        Some("EvictionByEvictionAPI") => "it was evicted on request, as when its node is drained",
        Some("DeletionByPodGC") => "its node is gone",
        Some("TerminationByKubelet") => "its node shut down, or needed room for a critical pod",
        _ => "its node was taken from it",
    }
}

/// Describes the end or the rejection of a pod by its node, from the reason in the pod's status. Returns
/// `None` for any other reason.
pub(super) fn refusal(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "Preempting" | "Preempted" => "disrupted, since its node was given to a pod of higher priority",
        "NodeLost" => "disrupted, since its node was lost",
        "Shutdown" | "NodeShutdown" | "Terminated" => "disrupted, since its node shut down",
        // The scheduler chose a node, and the kubelet rejected the pod because the node does not fit.
        "UnexpectedAdmissionError"
        | "NodeAffinity"
        | "NodeName"
        | "NodePorts"
        | "NodeUnschedulable"
        | "TopologyAffinityError"
        | "InvalidNodeInfo" => "turned away by its node",
        reason if reason.starts_with("OutOf") => "turned away by its node, which was full",
        _ => return None,
    })
}
