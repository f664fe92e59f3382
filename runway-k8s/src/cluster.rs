//! The cluster as every operation needs it: the client, the settings, and the calls that several operations share.

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

/// One cluster, with everything that is shared by the operations on it.
pub(crate) struct Cluster {
    pub client: Client,
    pub settings: KubernetesSettings,
    pub surroundings: Arc<dyn Surroundings>,
    /// How the namespace of a tenant is called.
    namespace_of: Box<dyn Fn(&Tenant) -> String + Send + Sync>,
    /// Jobs that are being created here just now.
    creating: Mutex<BTreeSet<JobId>>,
    /// Room for as many as may be.
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

    /// The objects of a tenant, to be read.
    pub(crate) fn objects<K>(&self, tenant: &Tenant) -> Objects<K>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Objects::of(self.client.clone(), Some(&(self.namespace_of)(tenant)))
    }

    /// The objects of all tenants, to be read.
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

    /// Waits for the turn to create a job, which lasts as long as the permit. Returns `None` if it does not come in time.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        tokio::time::timeout(self.settings.call_timeout, self.turns.acquire()).await.ok()?.ok()
    }

    /// Notes that a job is being created here, for as long as the guard lives.
    pub(crate) fn creating(&self, id: JobId) -> Creating<'_> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Creating { cluster: self, id }
    }

    pub(crate) fn is_creating(&self, id: JobId) -> bool {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Every object of a kind that matches, page by page. `call` names the call in errors.
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

    /// The Job of this name, if it is there.
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

/// Says, as long as it lives, that a job is being created.
pub(crate) struct Creating<'a> {
    cluster: &'a Cluster,
    id: JobId,
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.cluster.creating.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
