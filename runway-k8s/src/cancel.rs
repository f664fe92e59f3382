//! Cancels a job: annotates its Job as cancelled, then deletes it in the foreground.

use crate::cluster::Cluster;
use crate::failure::{CallError, retry};
use crate::object::is_finished;
use crate::parameters::{merge, patch, this_one};
use k8s_openapi::api::batch::v1::Job;
use kube::api::DeleteParams;
use runway_control::backend::{Cancelled, JobRef};
use runway_core::render::{label, object_name};
use serde_json::json;

pub(crate) async fn cancel(cluster: &Cluster, job: &JobRef) -> Result<Cancelled, CallError> {
    let (name, timeout) = (object_name(&job.name, job.id), cluster.settings.call_timeout);
    let Some(found) = cluster.job(job).await? else { return Ok(Cancelled::Gone) };
    if is_finished(&found) {
        return Ok(Cancelled::Finished);
    }
    let api = cluster.api::<Job>(&job.tenant);
    let now = cluster.surroundings.now().to_string();
    // The uid prevents the annotation of a later Job with the same name.
    let mark = json!({"metadata": {"uid": found.metadata.uid, "annotations": {label::CANCELLED: now}}});
    let (as_runway, mark) = (patch(), merge(&mark));
    match retry(timeout, "marking a Job as cancelled", || api.patch(&name, &as_runway, &mark)).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(Cancelled::Gone),
        Err(error) if error.is_conflict() && is_another(cluster, job, &found).await? => {
            return Ok(Cancelled::Gone);
        }
        Err(error) => return Err(error),
    }
    let parameters = DeleteParams::foreground().preconditions(this_one(found.metadata.uid.clone()));
    match retry(timeout, "deleting a Job", || api.delete(&name, &parameters)).await {
        Ok(_) => Ok(Cancelled::Begun),
        // An earlier attempt, or another client, may have deleted the Job.
        Err(error) if error.is_not_found() => Ok(Cancelled::Begun),
        Err(error) if error.is_conflict() && is_another(cluster, job, &found).await? => Ok(Cancelled::Begun),
        Err(error) => Err(error),
    }
}

/// Returns `true` if the Job was removed, or was replaced by another one with the same name.
async fn is_another(cluster: &Cluster, job: &JobRef, found: &Job) -> Result<bool, CallError> {
    let now = cluster.job(job).await?;
    Ok(now.is_none_or(|now| now.metadata.uid != found.metadata.uid))
}
