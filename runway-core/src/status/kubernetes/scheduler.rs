//! Causes from messages of the scheduler: the resources that no node has, and how to change the job.

use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Returns the cause of a pod that no node can run. `message` is the scheduler's message, such as `0/3 nodes
/// are available: 3 Insufficient cpu.`
pub(super) fn unschedulable(message: &str) -> Cause {
    let detail = if message.trim().is_empty() { String::new() } else { format!(": {}", quoted(message)) };
    let lower = message.to_ascii_lowercase();
    let missing = missing_resources(&lower);
    let mentions = |word: &str| lower.contains(word);
    let hint = if !missing.is_empty() {
        capacity_hint(&missing)
    } else if mentions("insufficient ") {
        "it starts when a node has free capacity".to_owned()
    } else if mentions("selector") || mentions("affinity") {
        "no node has the labels that the job requires; choose another `gpu_type`, or ask the administrators to label a node"
            .to_owned()
    } else if mentions("taint") {
        "the nodes are tainted, because they are reserved or unhealthy; ask the administrators of the cluster"
            .to_owned()
    } else {
        "it starts when a node meets the job's requirements; ask the administrators of the cluster".to_owned()
    };
    Cause::new(Reason::Unschedulable, format!("no node meets the job's requirements{detail}")).with_hint(hint)
}

/// A resource of which the nodes have too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MissingResource {
    noun: &'static str,
    /// The field of the job spec that requests the resource.
    field: &'static str,
    is_counted: bool,
}

/// Returns the resources that the scheduler reports as insufficient, without duplicates.
fn missing_resources(message: &str) -> Vec<MissingResource> {
    let mut all = Vec::new();
    for rest in message.split("insufficient ").skip(1) {
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
        let resource = end.and_then(|end| rest.get(..end)).unwrap_or(rest).trim_end_matches('.');
        let missing = match resource {
            "cpu" => MissingResource { noun: "cores", field: "resources.cpu", is_counted: true },
            "memory" => MissingResource { noun: "memory", field: "resources.memory", is_counted: false },
            "ephemeral-storage" => {
                MissingResource { noun: "storage", field: "resources.ephemeral_storage", is_counted: false }
            }
            device if device.contains('/') => {
                MissingResource { noun: "GPUs", field: "resources.gpu", is_counted: true }
            }
            _ => continue,
        };
        if !all.contains(&missing) {
            all.push(missing);
        }
    }
    all
}

fn capacity_hint(missing: &[MissingResource]) -> String {
    let nouns: Vec<_> = missing.iter().map(|missing| format!("the {}", missing.noun)).collect();
    let fields: Vec<_> = missing.iter().map(|missing| format!("`{}`", missing.field)).collect();
    let amount = if missing.iter().all(|missing| missing.is_counted) { "many" } else { "much" };
    let or = if missing.iter().any(|missing| missing.noun == "GPUs") {
        " or choose another `gpu_type`"
    } else {
        ""
    };
    format!(
        "it starts when a node has {} free; if no node has that {amount}, lower {}{or}",
        join_with_and(&nouns),
        join_with_and(&fields)
    )
}

/// Joins words as `a`, `a and b`, or `a, b and c`.
fn join_with_and(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
