//! Names of Jobs, as far as they can be derived from the names of pods and events.

use crate::object::id_of_name;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use runway_core::status::is_evidence;

/// The namespace of a Job, and the part of its name that its pods' names begin with.
pub(super) type NamespacedName = (String, String);

/// The maximum length of the Job's name within a pod's name. A pod's name has at most 63 characters, and the
/// last 5 are random.
const POD_NAME_BASE_LENGTH: usize = 58;

/// The number of random characters that the API server appends to `generateName`.
const POD_NAME_SUFFIX_LENGTH: usize = 5;

pub(super) fn namespaced_name(meta: &ObjectMeta) -> NamespacedName {
    (
        meta.namespace.clone().unwrap_or_default(),
        pod_name_base(meta.name.as_deref().unwrap_or_default()).to_owned(),
    )
}

/// Returns the name of the Job that an event is about, directly or through its pod. `None` if Runway does not
/// use the event.
pub(super) fn job_name_of_event(event: &Event) -> Option<NamespacedName> {
    let object = &event.involved_object;
    let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref()?);
    if !is_evidence(event) {
        return None;
    }
    match object.kind.as_deref()? {
        "Job" => Some((namespace.unwrap_or_default().to_owned(), pod_name_base(name).to_owned())),
        "Pod" => job_name_of_pod(namespace, name),
        _ => None,
    }
}

/// Returns the name of the Job that a pod belongs to. `None` if the pod's name is too short.
pub(super) fn job_name_of_pod(namespace: Option<&str>, name: &str) -> Option<NamespacedName> {
    let of_job = name.get(..name.len().checked_sub(POD_NAME_SUFFIX_LENGTH)?)?;
    Some((namespace.unwrap_or_default().to_owned(), pod_name_base(of_job).to_owned()))
}

/// Returns the part of a Job's name that its pods' names begin with, without a trailing dash.
fn pod_name_base(name: &str) -> &str {
    name.get(..POD_NAME_BASE_LENGTH).unwrap_or(name).trim_end_matches('-')
}

/// Returns `true` if the name ends in an id, or may have been cut within its id.
pub(super) fn may_be_runway_job((_, base): &NamespacedName) -> bool {
    id_of_name(base).is_some() || base.len() + 1 >= POD_NAME_BASE_LENGTH
}
