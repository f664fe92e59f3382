//! Garbage collection: deletes abandoned incomplete Jobs, and the Secrets of finished jobs.

use crate::call_error::retry;
use crate::cluster::Cluster;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use runway_control::backend::JobRef;
use runway_core::render::object_name;
use std::sync::Arc;

/// Deletes an incomplete Job that no request seems to complete. The watch never reported it.
pub(super) fn delete_incomplete(cluster: Arc<Cluster>, job: Job) {
    tokio::spawn(async move {
        let name = job.metadata.name.clone().unwrap_or_default();
        match cluster.delete_incomplete(job).await {
            Ok(true) => tracing::info!(name, "deleted an incomplete Job"),
            Ok(false) => tracing::info!(name, "kept a Job that a request has completed"),
            Err(error) => tracing::warn!(name, cause = %error, "deleting an incomplete Job failed"),
        }
    });
}

/// Deletes the Secret of a finished job, which no longer needs it. If this fails, Kubernetes deletes the
/// Secret together with the Job.
pub(super) fn delete_secret(cluster: Arc<Cluster>, job: JobRef) {
    tokio::spawn(async move {
        let name = object_name(&job.name, job.id);
        let api = cluster.api::<Secret>(&job.tenant);
        let parameters = DeleteParams::default();
        match retry(cluster.settings.call_timeout, "deleting a Secret", || api.delete(&name, &parameters))
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(job = %job.id, cause = %error, "deleting the Secret of a finished job failed; Kubernetes deletes it with the Job");
            }
        }
    });
}
