//! The client, the settings, and the API calls that several operations share.

use crate::api::ProtobufApi;
use crate::call_error::{CallError, CallErrorCause, retry};
use crate::object::{belongs_to, is_incomplete, job_selector};
use crate::params::delete_version;
use crate::protobuf::Message;
use crate::settings::{KubernetesSettings, WatchScope};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use runway_control::Env;
use runway_control::backend::JobRef;
use runway_core::policy::RunSettings;
use runway_core::render::object_name;
use runway_core::{JobId, Policy, Tenant};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The maximum number of attempts to delete an incomplete Job whose status changes at the same time.
const MAX_DELETE_ATTEMPTS: u32 = 5;

/// The shared state of all operations on one cluster.
pub(crate) struct Cluster {
    pub client: Client,
    pub settings: KubernetesSettings,
    pub env: Arc<dyn Env>,
    /// The settings of the policy, which contain the namespace of each tenant.
    pub run: RunSettings,
    /// The ids of the jobs that this process is creating.
    in_flight: Mutex<BTreeSet<JobId>>,
    /// Limits the number of concurrent creates.
    create_permits: Semaphore,
}

impl Cluster {
    pub(crate) fn new(
        client: Client,
        policy: &Policy,
        settings: KubernetesSettings,
        env: Arc<dyn Env>,
    ) -> Self {
        let run = policy.run_settings().clone();
        let create_permits = Semaphore::new(settings.max_concurrent_creates.clamp(1, Semaphore::MAX_PERMITS));
        let in_flight = Mutex::default();
        Self { client, settings, env, run, in_flight, create_permits }
    }

    pub(crate) fn api<K>(&self, tenant: &Tenant) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.run.namespace_of(tenant))
    }

    /// Returns a protobuf client for the objects in the namespace of a tenant.
    pub(crate) fn protobuf_api<K>(&self, tenant: &Tenant) -> ProtobufApi<K>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        ProtobufApi::new(self.client.clone(), Some(&self.run.namespace_of(tenant)))
    }

    /// Returns a protobuf client for the objects in the watch scope.
    pub(crate) fn watch_scope_api<K>(&self) -> ProtobufApi<K>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let namespace = match &self.settings.scope {
            WatchScope::Namespace(namespace) => Some(namespace.as_str()),
            WatchScope::AllNamespaces => None,
        };
        ProtobufApi::new(self.client.clone(), namespace)
    }

    /// Waits for a permit to create a job. Returns `None` if `call_timeout` expires first.
    pub(crate) async fn create_permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        tokio::time::timeout(self.settings.call_timeout, self.create_permits.acquire()).await.ok()?.ok()
    }

    /// Marks a job as in flight until the guard is dropped.
    pub(crate) fn mark_in_flight(&self, id: JobId) -> InFlightCreate<'_> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        InFlightCreate { cluster: self, id }
    }

    pub(crate) fn is_in_flight(&self, id: JobId) -> bool {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Lists all objects that match the selector, page by page. `call` names the call in errors.
    pub(crate) async fn list<K>(
        &self,
        call: &'static str,
        api: &ProtobufApi<K>,
        selector: &str,
    ) -> Result<Vec<K>, CallError>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let mut parameters = ListParams::default().labels(selector).limit(self.settings.page_size);
        let mut items = Vec::new();
        loop {
            let page = retry(self.settings.call_timeout, call, || api.list(&parameters)).await?;
            items.extend(page.items);
            match page.metadata.continue_ {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    /// Returns the Job, or `None` if it does not exist.
    pub(crate) async fn job(&self, job: &JobRef) -> Result<Option<Job>, CallError> {
        let jobs = self.protobuf_api::<Job>(&job.tenant);
        let name = object_name(&job.name, job.id);
        match retry(self.settings.call_timeout, "reading a Job", || jobs.get(&name)).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an incomplete Job. Returns `false` if a request has completed the Job, so it stays.
    ///
    /// A request that completes the Job changes its resource version, so that the deletion of an older version
    /// fails. A change of its status does so, too. The Job is then read again.
    pub(crate) async fn delete_incomplete(&self, mut job: Job) -> Result<bool, CallError> {
        let namespace = job.metadata.namespace.clone().unwrap_or_default();
        let name = job.metadata.name.clone().unwrap_or_default();
        let timeout = self.settings.call_timeout;
        let api: Api<Job> = Api::namespaced(self.client.clone(), &namespace);
        let jobs = ProtobufApi::<Job>::new(self.client.clone(), Some(&namespace));
        for _ in 0..MAX_DELETE_ATTEMPTS {
            if !is_incomplete(&job) {
                return Ok(false);
            }
            let parameters = delete_version(&job.metadata);
            match retry(timeout, "deleting an incomplete Job", || api.delete(&name, &parameters)).await {
                Err(error) if error.is_conflict() => {}
                Err(error) if !error.is_not_found() => return Err(error),
                _ => return Ok(true),
            }
            let is_same = |found: &Job| {
                found.metadata.uid == job.metadata.uid && found.metadata.deletion_timestamp.is_none()
            };
            job = match retry(timeout, "reading an incomplete Job", || jobs.get(&name)).await {
                Ok(found) if is_same(&found) => found,
                Err(error) if !error.is_not_found() => return Err(error),
                // The Job is deleted, or is being deleted.
                _ => return Ok(true),
            };
        }
        let cause = CallErrorCause::TooManyConflicts;
        Err(CallError { call: "deleting an incomplete Job", cause, retry_after: None })
    }

    /// Returns the pods of a job. `owner` is its Job, or `None` if the Job does not exist.
    pub(crate) async fn pods(&self, job: &JobRef, owner: Option<&Job>) -> Result<Vec<Pod>, CallError> {
        let (api, selector) = (self.protobuf_api::<Pod>(&job.tenant), job_selector(job.id));
        let mut pods = self.list("listing the pods of a job", &api, &selector).await?;
        pods.retain(|pod| belongs_to(pod, owner));
        Ok(pods)
    }
}

/// A guard that marks a job as in flight until the guard is dropped.
pub(crate) struct InFlightCreate<'a> {
    cluster: &'a Cluster,
    id: JobId,
}

impl Drop for InFlightCreate<'_> {
    fn drop(&mut self) {
        self.cluster.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
