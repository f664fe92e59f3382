//! Parameters and bodies of calls that change objects.

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

/// Returns parameters that delete the Job with this uid. Kubernetes deletes the objects that the Job owns
/// afterwards.
pub(crate) fn delete_in_background(uid: Option<String>) -> DeleteParams {
    DeleteParams::background().preconditions(uid_precondition(uid))
}

/// Returns a precondition that matches only the Job with this uid, and no later Job with the same name.
pub(crate) const fn uid_precondition(uid: Option<String>) -> Preconditions {
    Preconditions { uid, resource_version: None }
}
