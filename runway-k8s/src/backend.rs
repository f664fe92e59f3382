//! The backend: what it is made of, and the port that it fills.

use crate::api::Objects;
use crate::failure::{Failure, again};
use crate::object::{id_of_job, id_of_pod, is_incomplete, observe, selector, selector_of};
use crate::protobuf::Message;
use crate::{cancel, create, logs, watch};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use runway_control::backend::{
    Backend, BackendTiming, Cancelled, CreateError, JobRef, LogError, LogOptions, LogStream, Order,
    Unavailable, WatchEvent,
};
use runway_control::{Observation, Surroundings};
use runway_core::capability::{BackendKind, Capabilities};
use runway_core::render::object_name;
use runway_core::status::Seen;
use runway_core::{JobId, Policy, Tenant};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Where jobs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All in one namespace.
    Namespace(String),
    /// Each tenant's in a namespace of its own: all of them are watched.
    All,
}

/// How the cluster is talked to.
#[derive(Debug, Clone)]
pub struct KubernetesSettings {
    /// Where jobs are.
    pub scope: Scope,
    /// How long a call may take. Watches and logs may take longer.
    pub call_timeout: Duration,
    /// How many jobs are created at a time, at least one. More wait for their turn, first come, first served, for as long as a call may
    /// take: here, and not at an API server that others need too.
    pub creations: usize,
    /// How many objects a page of a listing has at most.
    pub page_size: u32,
    /// After how long everything is listed again, though nothing seems to be wrong.
    pub relist_after: Duration,
    /// How often it is looked whether a job that is followed has begun, or begun anew.
    pub log_pause: Duration,
    /// Waiting for an answer longer than this, a Job whose Secret is still missing was given up by whoever made it.
    pub abandoned_after: Duration,
}

impl KubernetesSettings {
    /// What fits a policy, with times that fit most clusters.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let run = policy.run();
        Self {
            scope: if run.is_per_tenant() { Scope::All } else { Scope::Namespace(run.namespace.clone()) },
            call_timeout: Duration::from_secs(10),
            creations: 64,
            page_size: 500,
            relist_after: Duration::from_secs(300),
            log_pause: Duration::from_secs(1),
            abandoned_after: Duration::from_secs(120),
        }
    }
}

/// A Kubernetes cluster as a backend. Clones share their connections.
#[derive(Clone)]
pub struct KubernetesBackend {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
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

impl KubernetesBackend {
    /// A backend for the jobs of a policy. A later policy may differ in all but `run.namespace`.
    #[must_use]
    pub fn new(
        client: Client,
        policy: &Arc<Policy>,
        settings: KubernetesSettings,
        surroundings: Arc<dyn Surroundings>,
    ) -> Self {
        let run = policy.run().clone();
        let namespace_of = Box::new(move |tenant: &Tenant| run.namespace_of(tenant));
        let turns = Semaphore::new(settings.creations.clamp(1, Semaphore::MAX_PERMITS));
        let creating = Mutex::default();
        Self { inner: Arc::new(Inner { client, settings, surroundings, namespace_of, creating, turns }) }
    }
}

impl Inner {
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

    /// Waits for the turn to create a job, which lasts as long as the permit.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let timeout = self.settings.call_timeout;
        match tokio::time::timeout(timeout, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Failure::Unreachable(Unavailable::new(format!(
                "creating a Job: not its turn within {} s, since the API server is slow to create those before it",
                timeout.as_secs()
            )))),
        }
    }

    /// Notes that a job is being created here, for as long as the guard lives.
    pub(crate) fn creating(&self, id: JobId) -> Creating<'_> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Creating { inner: self, id }
    }

    pub(crate) fn is_creating(&self, id: JobId) -> bool {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Every object of a kind that matches, page by page.
    pub(crate) async fn list<K>(&self, objects: &Objects<K>, selector: &str) -> Result<Vec<K>, Failure>
    where
        K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let mut parameters = ListParams::default().labels(selector).limit(self.settings.page_size);
        let mut items = Vec::new();
        loop {
            let page = again(self.settings.call_timeout, "listing", || objects.list(&parameters)).await?;
            items.extend(page.items);
            match page.metadata.continue_ {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    /// The Job of this name, if it is there.
    pub(crate) async fn job(&self, job: &JobRef) -> Result<Option<Job>, Failure> {
        let jobs = self.objects::<Job>(&job.tenant);
        let name = object_name(&job.name, job.id);
        match again(self.settings.call_timeout, "reading a Job", || jobs.get(&name)).await {
            Ok(job) => Ok(Some(job)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn pods(&self, job: &JobRef) -> Result<Vec<Pod>, Failure> {
        self.list(&self.objects(&job.tenant), &selector_of(job.id)).await
    }

    async fn find(&self, job: &JobRef) -> Result<Option<Observation>, Failure> {
        let Some(found) = self.job(job).await?.filter(|job| !is_incomplete(job)) else { return Ok(None) };
        let pods = self.pods(job).await?;
        Ok(observe(&Seen { job: Some(&found), pods: &pods, ..Seen::default() }))
    }

    async fn list_all(&self) -> Result<Vec<Observation>, Failure> {
        let jobs: Vec<Job> = self.list(&self.all(), &selector()).await?;
        let pods: Vec<Pod> = self.list(&self.all(), &selector()).await?;
        let mut by_id: BTreeMap<JobId, Vec<Pod>> = BTreeMap::new();
        for pod in pods {
            if let Some(id) = id_of_pod(&pod) {
                by_id.entry(id).or_default().push(pod);
            }
        }
        let mut seen: Vec<_> = jobs
            .iter()
            .filter(|job| !is_incomplete(job))
            .filter_map(|job| {
                let pods = id_of_job(job).and_then(|id| by_id.remove(&id)).unwrap_or_default();
                observe(&Seen { job: Some(job), pods: &pods, ..Seen::default() })
            })
            .collect();
        seen.sort_unstable_by_key(|job| job.id);
        Ok(seen)
    }
}

/// A body for a merge patch.
pub(crate) const fn merge(body: &Json) -> kube::api::Patch<&Json> {
    kube::api::Patch::Merge(body)
}

/// Says, as long as it lives, that a job is being created.
pub(crate) struct Creating<'a> {
    inner: &'a Inner,
    id: JobId,
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.inner.creating.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Backend for KubernetesBackend {
    fn capabilities(&self) -> Capabilities {
        BackendKind::Kubernetes.capabilities()
    }

    /// The API server gives up a request after 60 s (`--request-timeout`); 5 s more allow for clocks that differ.
    fn timing(&self) -> BackendTiming {
        BackendTiming {
            create_expiry: Duration::from_secs(65),
            min_poll_interval: Duration::from_millis(250),
            max_poll_interval: Duration::from_secs(8),
        }
    }

    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        create::create(&self.inner, order).boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        let found = self.inner.find(job);
        found.map(|found| found.map_err(|failure| failure.into_unavailable("looking a job up"))).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        let listed = self.inner.list_all();
        listed.map(|listed| listed.map_err(|failure| failure.into_unavailable("listing jobs"))).boxed()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        watch::watch(Arc::clone(&self.inner))
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        let cancelled = cancel::cancel(&self.inner, job);
        cancelled.map(|done| done.map_err(|failure| failure.into_unavailable("cancelling a job"))).boxed()
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        logs::logs(Arc::clone(&self.inner), job.clone(), options).boxed()
    }
}

impl fmt::Debug for KubernetesBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesBackend").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}
