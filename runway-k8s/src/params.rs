//! Parameters and bodies of calls that change objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value as Json;

/// The name of Runway in `managedFields`.
const FIELD_MANAGER: &str = "runway";

pub(crate) fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(crate) fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Returns a merge patch.
pub(crate) const fn merge_patch(body: &Json) -> Patch<&Json> {
    Patch::Merge(body)
}

/// Returns parameters that delete exactly this version of an object: its uid and its resource version must
/// match. Kubernetes deletes the objects that it owns afterwards.
pub(crate) fn delete_version(meta: &ObjectMeta) -> DeleteParams {
    let resource_version = meta.resource_version.clone();
    let preconditions = Preconditions { uid: meta.uid.clone(), resource_version };
    DeleteParams::background().preconditions(preconditions)
}

/// Returns a precondition that matches only the Job with this uid, and no later Job with the same name.
pub(crate) const fn uid_precondition(uid: Option<String>) -> Preconditions {
    Preconditions { uid, resource_version: None }
}
