//! Implements [`Backend`] for a Kubernetes cluster.

use crate::call_error::CallError;
use crate::cluster::Cluster;
use crate::object::{
    belongs_to, id_of_job, id_of_pod, is_in_tenant_namespace, is_incomplete, runway_selector, to_snapshot,
};
use crate::settings::KubernetesSettings;
use crate::{cancel, create, logs, watch};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, TryFutureExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use runway_control::backend::{
    Backend, BackendTiming, CancelOutcome, CreateError, CreateRequest, JobRef, LogError, LogOptions,
    LogStream, Unavailable, WatchEvent,
};
use runway_control::{Env, JobSnapshot};
use runway_core::capability::{BackendKind, Capabilities};
use runway_core::status::JobObjects;
use runway_core::{JobId, Policy};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A Kubernetes cluster as a backend. Clones share their connections.
#[derive(Clone)]
pub struct KubernetesBackend {
    pub(crate) cluster: Arc<Cluster>,
}

impl KubernetesBackend {
    /// Creates a backend for the jobs of a policy. A later policy must have the same `run.namespace`.
    #[must_use]
    pub fn new(
        client: Client,
        policy: &Arc<Policy>,
        settings: KubernetesSettings,
        env: Arc<dyn Env>,
    ) -> Self {
        Self { cluster: Arc::new(Cluster::new(client, policy, settings, env)) }
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<JobSnapshot>, CallError> {
        let Some(found) = self.cluster.job(job).await?.filter(|job| !is_incomplete(job)) else {
            return Ok(None);
        };
        let pods = self.cluster.pods(job, Some(&found)).await?;
        Ok(to_snapshot(&JobObjects { job: Some(&found), pods: &pods, ..JobObjects::default() }))
    }

    async fn list_jobs(&self) -> Result<Vec<JobSnapshot>, CallError> {
        let jobs: Vec<Job> =
            self.cluster.list("listing Jobs", &self.cluster.watch_scope_api(), &runway_selector()).await?;
        let pods: Vec<Pod> =
            self.cluster.list("listing pods", &self.cluster.watch_scope_api(), &runway_selector()).await?;
        let mut by_id: BTreeMap<JobId, Vec<Pod>> = BTreeMap::new();
        for pod in pods {
            if let Some(id) = id_of_pod(&pod) {
                by_id.entry(id).or_default().push(pod);
            }
        }
        let mut snapshots: Vec<_> = jobs
            .iter()
            .filter(|job| !is_incomplete(job) && is_in_tenant_namespace(&job.metadata, &self.cluster.run))
            .filter_map(|job| {
                let mut pods = id_of_job(job).and_then(|id| by_id.remove(&id)).unwrap_or_default();
                pods.retain(|pod| belongs_to(pod, Some(job)));
                to_snapshot(&JobObjects { job: Some(job), pods: &pods, ..JobObjects::default() })
            })
            .collect();
        snapshots.sort_unstable_by_key(|job| job.id);
        Ok(snapshots)
    }
}

impl Backend for KubernetesBackend {
    fn capabilities(&self) -> Capabilities {
        BackendKind::Kubernetes.capabilities()
    }

    /// Returns the timing of a cluster. The API server cancels a request after 60 s (`--request-timeout`).
    /// The expiry of a create request adds a margin of 5 s.
    fn timing(&self) -> BackendTiming {
        BackendTiming {
            create_expiry: Duration::from_secs(65),
            min_poll_interval: Duration::from_millis(250),
            max_poll_interval: Duration::from_secs(8),
        }
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        create::create(&self.cluster, request).boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>> {
        self.find_job(job).err_into().boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>> {
        self.list_jobs().err_into().boxed()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        watch::watch(Arc::clone(&self.cluster))
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>> {
        cancel::cancel(&self.cluster, job).err_into().boxed()
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        logs::logs(Arc::clone(&self.cluster), job.clone(), options).boxed()
    }
}

impl fmt::Debug for KubernetesBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesBackend").field("settings", &self.cluster.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
