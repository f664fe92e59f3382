//! What is left behind: Jobs that were never completed, since the process died in between, and Secrets of jobs that have ended.

use crate::backend::Inner;
use crate::create::delete_in_background;
use crate::failure::again;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use runway_control::backend::JobRef;
use runway_core::render::object_name;
use std::sync::Arc;

/// Deletes a Job that has no Secret and will get none. Nobody was told of it.
pub(super) fn clear(inner: Arc<Inner>, job: Job) {
    tokio::spawn(async move {
        let name = job.metadata.name.clone().unwrap_or_default();
        let namespace = job.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Job> = Api::namespaced(inner.client.clone(), &namespace);
        let parameters = delete_in_background(job.metadata.uid);
        match again(inner.settings.call_timeout, "deleting a Job", || api.delete(&name, &parameters)).await {
            Ok(_) => tracing::info!(name, "a Job that was never completed is deleted"),
            Err(failure) if failure.is_not_found() || failure.is_conflict() => {}
            Err(failure) => {
                let cause = failure.into_unavailable("deleting a Job");
                tracing::warn!(name, %cause, "a Job that was never completed could not be deleted");
            }
        }
    });
}

/// Deletes the Secret of a job that has ended: nobody needs it. If this fails, it goes with the Job.
pub(super) fn clear_secret(inner: Arc<Inner>, job: JobRef) {
    tokio::spawn(async move {
        let name = object_name(&job.name, job.id);
        let api = inner.api::<Secret>(&job.tenant);
        let parameters = DeleteParams::default();
        match again(inner.settings.call_timeout, "deleting a Secret", || api.delete(&name, &parameters)).await
        {
            Ok(_) => {}
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => {
                let cause = failure.into_unavailable("deleting a Secret");
                tracing::warn!(job = %job.id, %cause, "the Secret of a finished job stays until the Job is deleted");
            }
        }
    });
}
