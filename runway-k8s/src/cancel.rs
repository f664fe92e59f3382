//! Cancels a job: annotates its Job as cancelled, then deletes it in the foreground.

use crate::call_error::{CallError, retry};
use crate::cluster::Cluster;
use crate::object::is_finished;
use crate::params::{merge_patch, patch_params, uid_precondition};
use k8s_openapi::api::batch::v1::Job;
use kube::api::DeleteParams;
use runway_control::backend::{CancelOutcome, JobRef};
use runway_core::render::{label, object_name};
use serde_json::json;

pub(crate) async fn cancel(cluster: &Cluster, job: &JobRef) -> Result<CancelOutcome, CallError> {
    let (name, timeout) = (object_name(&job.name, job.id), cluster.settings.call_timeout);
    let Some(found) = cluster.job(job).await? else { return Ok(CancelOutcome::NotFound) };
    if is_finished(&found) {
        return Ok(CancelOutcome::AlreadyFinished);
    }
    let api = cluster.api::<Job>(&job.tenant);
    let now = cluster.env.now().to_string();
    // The uid prevents the annotation of a later Job with the same name.
    let mark = json!({"metadata": {"uid": found.metadata.uid, "annotations": {label::CANCELLED: now}}});
    let (params, mark) = (patch_params(), merge_patch(&mark));
    match retry(timeout, "marking a Job as cancelled", || api.patch(&name, &params, &mark)).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(CancelOutcome::NotFound),
        Err(error) if error.is_conflict() && was_replaced(cluster, job, &found).await? => {
            return Ok(CancelOutcome::NotFound);
        }
        Err(error) => return Err(error),
    }
    let parameters = DeleteParams::foreground().preconditions(uid_precondition(found.metadata.uid.clone()));
    match retry(timeout, "deleting a Job", || api.delete(&name, &parameters)).await {
        Ok(_) => Ok(CancelOutcome::Started),
        // An earlier attempt, or another client, may have deleted the Job.
        Err(error) if error.is_not_found() => Ok(CancelOutcome::Started),
        Err(error) if error.is_conflict() && was_replaced(cluster, job, &found).await? => {
            Ok(CancelOutcome::Started)
        }
        Err(error) => Err(error),
    }
}

/// Returns `true` if the Job was removed, or was replaced by another one with the same name.
async fn was_replaced(cluster: &Cluster, job: &JobRef, found: &Job) -> Result<bool, CallError> {
    let current = cluster.job(job).await?;
    Ok(current.is_none_or(|now| now.metadata.uid != found.metadata.uid))
}
