//! The client, the settings, and the API calls that several operations share.

use crate::api::Objects;
use crate::failure::{CallError, retry};
use crate::object::selector_of;
use crate::protobuf::Message;
use crate::settings::{KubernetesSettings, Scope};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use runway_control::Surroundings;
use runway_control::backend::JobRef;
use runway_core::render::object_name;
use runway_core::{JobId, Policy, Tenant};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The shared state of all operations on one cluster.
pub(crate) struct Cluster {
    pub client: Client,
    pub settings: KubernetesSettings,
    pub surroundings: Arc<dyn Surroundings>,
    /// Returns the namespace of a tenant.
    namespace_of: Box<dyn Fn(&Tenant) -> String + Send + Sync>,
    /// The ids of the jobs that this process is creating.
    creating: Mutex<BTreeSet<JobId>>,
    /// Limits the number of concurrent creates.
    turns: Semaphore,
}

impl Cluster {
    pub(crate) fn new(
        client: Client,
        policy: &Policy,
        settings: KubernetesSettings,
        surroundings: Arc<dyn Surroundings>,
    ) -> Self {
        let run = policy.run().clone();
        let namespace_of = Box::new(move |tenant: &Tenant| run.namespace_of(tenant));
        let turns = Semaphore::new(settings.creations.clamp(1, Semaphore::MAX_PERMITS));
        let creating = Mutex::default();
        Self { client, settings, surroundings, namespace_of, creating, turns }
    }

    pub(crate) fn api<K>(&self, tenant: &Tenant) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &(self.namespace_of)(tenant))
    }

    /// Returns a client that reads the objects of a tenant.
    pub(crate) fn objects<K>(&self, tenant: &Tenant) -> Objects<K>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Objects::of(self.client.clone(), Some(&(self.namespace_of)(tenant)))
    }

    /// Returns a client that reads the objects in the watch scope.
    pub(crate) fn all<K>(&self) -> Objects<K>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let namespace = match &self.settings.scope {
            Scope::Namespace(namespace) => Some(namespace.as_str()),
            Scope::All => None,
        };
        Objects::of(self.client.clone(), namespace)
    }

    /// Waits for a permit to create a job. Returns `None` if `call_timeout` expires first.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        tokio::time::timeout(self.settings.call_timeout, self.turns.acquire()).await.ok()?.ok()
    }

    /// Marks a job as in flight until the guard is dropped.
    pub(crate) fn creating(&self, id: JobId) -> Creating<'_> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Creating { cluster: self, id }
    }

    pub(crate) fn is_creating(&self, id: JobId) -> bool {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Lists all objects that match the selector, page by page. `call` names the call in errors.
    pub(crate) async fn list<K>(
        &self,
        call: &'static str,
        objects: &Objects<K>,
        selector: &str,
    ) -> Result<Vec<K>, CallError>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let mut parameters = ListParams::default().labels(selector).limit(self.settings.page_size);
        let mut items = Vec::new();
        loop {
            let page = retry(self.settings.call_timeout, call, || objects.list(&parameters)).await?;
            items.extend(page.items);
            match page.metadata.continue_ {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    /// Returns the Job, or `None` if it does not exist.
    pub(crate) async fn job(&self, job: &JobRef) -> Result<Option<Job>, CallError> {
        let jobs = self.objects::<Job>(&job.tenant);
        let name = object_name(&job.name, job.id);
        match retry(self.settings.call_timeout, "reading a Job", || jobs.get(&name)).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn pods(&self, job: &JobRef) -> Result<Vec<Pod>, CallError> {
        self.list("listing the pods of a job", &self.objects(&job.tenant), &selector_of(job.id)).await
    }
}

/// Marks a job as in flight until it is dropped.
pub(crate) struct Creating<'a> {
    cluster: &'a Cluster,
    id: JobId,
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.cluster.creating.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
