//! Causes from messages of the scheduler: what the nodes lack, with advice.
//!
//! The message has the form `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {…}.
//! preemption: …`. Each part between the commas is the reason of a number of nodes.

use super::rules::without_quotations;
use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Returns the cause of a pod that no node can run. `message` is the scheduler's message.
pub(super) fn unschedulable(message: &str) -> Cause {
    let detail = if message.trim().is_empty() { String::new() } else { format!(": {}", quoted(message)) };
    let obstacles = obstacles(message);
    let missing: Vec<_> = obstacles.iter().filter_map(|obstacle| obstacle.resource()).collect();
    let mut hints = Vec::new();
    if !missing.is_empty() {
        hints.push(capacity_hint(&missing));
    }
    for obstacle in &obstacles {
        if let Some(hint) = obstacle.hint()
            && !hints.iter().any(|known| known == hint)
        {
            hints.push(hint.to_owned());
        }
    }
    if hints.is_empty() {
        hints.push(
            "it starts when a node meets the job's requirements; ask the administrators of the cluster"
                .to_owned(),
        );
    }
    Cause::new(Reason::Unschedulable, format!("no node meets the job's requirements{detail}"))
        .with_hint(hints.join("; "))
}

/// Why some nodes cannot run a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Obstacle {
    /// The nodes have too little of a resource, which is named as in the node's capacity.
    Resource(String),
    /// The nodes have a taint.
    Taint,
    /// The nodes are cordoned.
    Cordoned,
    /// A volume ties the pod to other nodes.
    VolumeLocation,
    /// A claim of the pod does not exist, or has no volume.
    VolumeClaim,
    /// The nodes cannot attach more volumes.
    VolumeLimit,
    /// The nodes lack labels that the pod requires.
    Labels,
    /// Rules about the placement of pods relative to each other.
    OtherPods,
}

impl Obstacle {
    /// Reads one part of the scheduler's message, in lower case and without text in quotes.
    fn parse(part: &str) -> Option<Self> {
        let has = |phrase: &str| part.contains(phrase);
        if let Some((_, resource)) = part.split_once("insufficient ") {
            let name = resource
                .trim_start()
                .split(|c: char| c.is_whitespace() || c == ';')
                .next()
                .unwrap_or_default();
            let name = name.trim_end_matches('.');
            return (!name.is_empty()).then(|| Self::Resource(name.to_owned()));
        }
        Some(if has("too many pods") {
            Self::Resource("pods".to_owned())
        } else if has("volume node affinity") {
            Self::VolumeLocation
        } else if has("persistentvolumeclaim") || has("persistent volumes to bind") {
            Self::VolumeClaim
        } else if has("volume count") || has("volume limit") {
            Self::VolumeLimit
        } else if has("taint") {
            Self::Taint
        } else if has("unschedulable") {
            Self::Cordoned
        } else if has("pod affinity") || has("anti-affinity") || has("topology spread") {
            Self::OtherPods
        } else if has("node affinity") || has("selector") {
            Self::Labels
        } else {
            return None;
        })
    }

    fn resource(&self) -> Option<MissingResource> {
        match self {
            Self::Resource(name) => Some(MissingResource::named(name)),
            _ => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Resource(_) => return None,
            Self::Taint => {
                "nodes are tainted, because they are reserved or unhealthy; ask the administrators of the cluster"
            }
            Self::Cordoned => "nodes are cordoned; ask the administrators of the cluster",
            Self::VolumeLocation => {
                "a volume ties the job to certain nodes or to a zone, where no node fits; ask the administrators of the \
                 cluster"
            }
            Self::VolumeClaim => {
                "a PersistentVolumeClaim does not exist or has no volume yet; create it, or ask the administrators of \
                 the cluster"
            }
            Self::VolumeLimit => "nodes cannot attach more volumes; ask the administrators of the cluster",
            Self::Labels => {
                "nodes lack labels that the job requires; choose another `gpu_type`, or ask the administrators to label \
                 a node"
            }
            Self::OtherPods => {
                "rules about the placement of pods exclude nodes; ask the administrators of the cluster"
            }
        })
    }
}

/// Returns the obstacles in a message of the scheduler, without duplicates.
fn obstacles(message: &str) -> Vec<Obstacle> {
    let text = without_quotations(message);
    // The rest of the message is about preemption and about claims of devices.
    let end = [" preemption:", " no new claims"].iter().filter_map(|end| text.find(end)).min();
    let text = end.and_then(|end| text.get(..end)).unwrap_or(&text);
    let reasons = text.split_once("are available:").map_or(text, |(_, reasons)| reasons);
    let mut found = Vec::new();
    for obstacle in reasons.split(", ").filter_map(Obstacle::parse) {
        if !found.contains(&obstacle) {
            found.push(obstacle);
        }
    }
    found
}

/// A resource of which the nodes have too little.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MissingResource {
    noun: String,
    /// The field of the job spec that requests the resource. `None` if no field does.
    field: Option<&'static str>,
    is_counted: bool,
}

impl MissingResource {
    fn named(name: &str) -> Self {
        let (noun, field, is_counted) = match name {
            "cpu" => ("the cores".to_owned(), Some("resources.cpu"), true),
            "memory" => ("the memory".to_owned(), Some("resources.memory"), false),
            "ephemeral-storage" => ("the storage".to_owned(), Some("resources.ephemeral_storage"), false),
            "pods" => ("a place for another pod".to_owned(), None, true),
            // Vendors name their GPUs `VENDOR/gpu` or, for a part of one, `nvidia.com/mig-1g.5gb`.
            gpu if is_gpu(gpu) => ("the GPUs".to_owned(), Some("resources.gpu"), true),
            other => (quoted(other), None, true),
        };
        Self { noun, field, is_counted }
    }
}

/// Returns whether an extended resource is a GPU, or a part of a GPU.
fn is_gpu(resource: &str) -> bool {
    let Some((vendor, device)) = resource.split_once('/') else { return false };
    device.contains("gpu")
        || vendor.starts_with("gpu.")
        || (vendor == "nvidia.com" && device.starts_with("mig-"))
}

fn capacity_hint(missing: &[MissingResource]) -> String {
    let nouns: Vec<_> = missing.iter().map(|missing| missing.noun.clone()).collect();
    let starts = format!("it starts when a node has {} free", join_with_and(&nouns));
    let fields: Vec<_> = missing.iter().filter_map(|missing| missing.field).collect();
    if fields.is_empty() {
        return format!("{starts}; ask the administrators of the cluster");
    }
    let amount = if missing.iter().filter(|missing| missing.field.is_some()).all(|missing| missing.is_counted)
    {
        "many"
    } else {
        "much"
    };
    let or = if fields.contains(&"resources.gpu") { " or choose another `gpu_type`" } else { "" };
    let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
    format!("{starts}; if no node has that {amount}, lower {}{or}", join_with_and(&fields))
}

/// Joins words as `a`, `a and b`, or `a, b and c`.
fn join_with_and(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
