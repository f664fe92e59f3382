//! Names of Jobs, as far as the names of their pods and events show them.

use crate::object::id_of_name;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The namespace of a Job, and as much of its name as the names of its pods begin with.
pub(super) type NamespacedName = (String, String);

/// The longest part of its Job's name that a pod's name has: 63 characters, of which the last 5 are random.
const POD_NAME_BASE: usize = 58;

/// How many random characters the API server appends to `generateName`.
const POD_NAME_SUFFIX: usize = 5;

pub(super) fn namespaced_name(meta: &ObjectMeta) -> NamespacedName {
    (meta.namespace.clone().unwrap_or_default(), base(meta.name.as_deref().unwrap_or_default()).to_owned())
}

/// The name of the Job that an event is about, or of the Job of its pod. `None` if the event explains no failure.
pub(super) fn name_of_event(event: &Event) -> Option<NamespacedName> {
    let object = &event.involved_object;
    let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref()?);
    match (object.kind.as_deref()?, event.reason.as_deref()?) {
        ("Job", "FailedCreate") => Some((namespace.unwrap_or_default().to_owned(), base(name).to_owned())),
        ("Pod", "Failed" | "Started") => name_of_pod(namespace, name),
        _ => None,
    }
}

/// The name of the Job that a pod of this name belongs to.
pub(super) fn name_of_pod(namespace: Option<&str>, name: &str) -> Option<NamespacedName> {
    let of_job = name.get(..name.len().checked_sub(POD_NAME_SUFFIX)?)?;
    Some((namespace.unwrap_or_default().to_owned(), base(of_job).to_owned()))
}

/// The part of a Job's name with which the names of its pods begin, without a final dash.
fn base(name: &str) -> &str {
    name.get(..POD_NAME_BASE).unwrap_or(name).trim_end_matches('-')
}

/// Whether a name ends in an id, or was cut where its id is.
pub(super) fn may_be_runways((_, base): &NamespacedName) -> bool {
    id_of_name(base).is_some() || base.len() + 1 >= POD_NAME_BASE
}
