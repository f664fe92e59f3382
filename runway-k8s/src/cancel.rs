//! Cancelling a job: a mark that says so, then a deletion that waits for its pods.

use crate::backend::{Inner, merge};
use crate::create::{patch, this_one};
use crate::failure::{Failure, again};
use crate::object::is_finished;
use k8s_openapi::api::batch::v1::Job;
use kube::api::DeleteParams;
use runway_control::backend::{Cancelled, JobRef};
use runway_core::render::{label, object_name};
use serde_json::json;

pub(crate) async fn cancel(inner: &Inner, job: &JobRef) -> Result<Cancelled, Failure> {
    let (name, timeout) = (object_name(&job.name, job.id), inner.settings.call_timeout);
    let Some(found) = inner.job(job).await? else { return Ok(Cancelled::Gone) };
    if is_finished(&found) {
        return Ok(Cancelled::Finished);
    }
    let api = inner.api::<Job>(&job.tenant);
    let now = inner.surroundings.now().to_string();
    // With its uid, so that a later Job of this name is not marked.
    let mark = json!({"metadata": {"uid": found.metadata.uid, "annotations": {label::CANCELLED: now}}});
    let (as_runway, mark) = (patch(), merge(&mark));
    match again(timeout, "marking a Job as cancelled", || api.patch(&name, &as_runway, &mark)).await {
        Ok(_) => {}
        Err(failure) if failure.is_not_found() => return Ok(Cancelled::Gone),
        Err(failure) if failure.is_conflict() && is_another(inner, job, &found).await? => {
            return Ok(Cancelled::Gone);
        }
        Err(failure) => return Err(failure),
    }
    let parameters = DeleteParams::foreground().preconditions(this_one(found.metadata.uid.clone()));
    match again(timeout, "deleting a Job", || api.delete(&name, &parameters)).await {
        Ok(_) => Ok(Cancelled::Begun),
        // An earlier try may have done it, or somebody else.
        Err(failure) if failure.is_not_found() => Ok(Cancelled::Begun),
        Err(failure) if failure.is_conflict() && is_another(inner, job, &found).await? => {
            Ok(Cancelled::Begun)
        }
        Err(failure) => Err(failure),
    }
}

/// Whether the Job that was found has left, and another may have taken its name.
async fn is_another(inner: &Inner, job: &JobRef, found: &Job) -> Result<bool, Failure> {
    let now = inner.job(job).await?;
    Ok(now.is_none_or(|now| now.metadata.uid != found.metadata.uid))
}
