//! Parameters and bodies of the calls that write.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value as Json;

/// Who Runway is in `managedFields`.
const FIELD_MANAGER: &str = "runway";

pub(crate) fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(crate) fn patch() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// A body for a merge patch.
pub(crate) const fn merge(body: &Json) -> Patch<&Json> {
    Patch::Merge(body)
}

/// Deletes the very Job of this uid, and what it owns after it.
pub(crate) fn delete_in_background(uid: Option<String>) -> DeleteParams {
    DeleteParams::background().preconditions(this_one(uid))
}

/// The very Job of this uid, and not a later one of the same name.
pub(crate) const fn this_one(uid: Option<String>) -> Preconditions {
    Preconditions { uid, resource_version: None }
}
