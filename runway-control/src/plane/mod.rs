//! The control plane, which connects the gate with a backend.

mod creation;
mod key;
mod submission;
mod submit;
mod watch;

pub use key::{IdempotencyKey, KeyError};
pub use submission::{SubmitError, Submitted};
pub(crate) use submit::{CreationRecorder, SubmitPlan};

use crate::backend::{Backend, BackendTiming, CancelOutcome, LogError, LogOptions, LogStream, Unavailable};
use crate::env::Env;
use crate::jobs::{JobFilter, JobRecord, JobStore, Page};
use crate::observer::{NoopObserver, Observer};
use backon::{Backoff, BackoffBuilder, ExponentialBuilder};
use creation::PendingCreation;
use runway_core::gate::NamespaceChanged;
use runway_core::quota::{QuotaExceeded, Usage};
use runway_core::rate::{RateLimit, RateRemaining};
use runway_core::status::Phase;
use runway_core::units::Timestamp;
use runway_core::{Decision, Gate, JobId, Policy, Submission, Tenant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch as signal;

/// Timeouts and limits of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The time within which retries of a create request with an unknown outcome start.
    ///
    /// The control plane checks this limit only between two attempts. It starts no further attempt if the
    /// elapsed time plus the next delay reaches the limit. The caller then receives
    /// [`CreateError::Uncertain`](crate::backend::CreateError::Uncertain). The limit never interrupts an
    /// attempt, so a submission can take longer.
    pub create_timeout: Duration,
    /// The maximum number of removed jobs whose records are kept.
    pub history_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { create_timeout: Duration::from_secs(10), history_limit: 10_000 }
    }
}

/// Accepts submissions, creates the jobs that the gate admits, and tracks their state.
///
/// Clones are cheap and share their state.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// use runway_control::fake::FakeCluster;
/// use runway_control::{ControlPlane, Settings, Submitted, SystemEnv};
/// use runway_core::{JobSpec, Policy, Submission};
/// use std::sync::Arc;
///
/// let env = Arc::new(SystemEnv);
/// let cluster = FakeCluster::new(env.clone());
/// let policy = Arc::new(Policy::builtin());
/// let plane = ControlPlane::new(Arc::new(cluster.connect()), policy, env, Settings::default());
/// tokio::spawn(plane.clone().run()); // keeps the ledger in sync with the backend
/// plane.ready().await; // returns when the ledger is rebuilt
///
/// let spec = JobSpec {
///     name: Some("embed-docs".into()),
///     tenant: Some("search".into()),
///     image: Some("registry.internal/embed:1.8.0".into()),
///     ..JobSpec::default()
/// };
/// let Submitted::Created { job, .. } = plane.submit(spec.into(), None).await? else { panic!("replayed") };
/// assert!(plane.job(job.snapshot.id).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ControlPlane {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    env: Arc<dyn Env>,
    settings: Settings,
    observer: Arc<dyn Observer>,
    state: Mutex<State>,
    ready: signal::Sender<bool>,
}

/// All mutable state. Its lock is never held across an `await`.
struct State {
    gate: Gate,
    jobs: JobStore,
    /// The jobs whose create requests have no known outcome yet.
    pending_creations: BTreeMap<JobId, PendingCreation>,
    watch: WatchState,
}

/// The state of the watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchState {
    /// The time of the last response from the backend: of a list, of a change, or of an event that shows that
    /// the watch works. `None` before the first one.
    pub last_event_at: Option<Timestamp>,
    /// Whether the watch works. It does since the last list or
    /// [`Connected`](crate::backend::WatchEvent::Connected), unless it was interrupted later.
    pub connected: bool,
    /// The number of interruptions of the watch.
    pub interruptions: u64,
    /// The number of lists that were received.
    pub lists: u64,
    /// The number of holds that lists corrected. The first list does not count.
    pub drift: u64,
    /// The number of objects that the backend ignored, although they carry Runway's labels.
    pub ignored_objects: u64,
}

/// The usage and the limits of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantUsage {
    /// The GPUs and jobs that the tenant holds.
    pub held: Usage,
    /// The maximum number of GPUs that the tenant may hold.
    pub max_gpus: u64,
    /// The maximum number of jobs that the tenant may hold.
    pub max_jobs: u32,
    /// The submissions that the rate limit still allows.
    pub rate_remaining: RateRemaining,
    /// The rate limit of the tenant.
    pub rate_limit: RateLimit,
}

/// The reason that a job was not cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// The job does not exist.
    #[error("no job has this id")]
    NotFound,
    /// The job is still being created.
    #[error("the job is still being created; retry in a moment")]
    BeingCreated,
    /// The job has finished, or it was removed from the backend.
    #[error("the job has already finished")]
    AlreadyFinished(Arc<JobRecord>),
    /// The backend no longer has the job, although its watch has not reported this yet.
    #[error("the backend no longer has the job")]
    Removed(Arc<JobRecord>),
    /// The backend could not be reached. A second call is safe.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The reason that no output can be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogsError {
    /// The job does not exist.
    #[error("no job has this id")]
    NotFound,
    /// The backend returned no output.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ControlPlane {
    /// Creates a control plane with an empty ledger. It becomes ready while [`run`](Self::run) is running.
    #[must_use]
    pub fn new(
        backend: Arc<dyn Backend>,
        policy: Arc<Policy>,
        env: Arc<dyn Env>,
        settings: Settings,
    ) -> Self {
        Self::with_observer(backend, policy, env, settings, Arc::new(NoopObserver))
    }

    /// Creates a control plane that calls an observer.
    #[must_use]
    pub fn with_observer(
        backend: Arc<dyn Backend>,
        policy: Arc<Policy>,
        env: Arc<dyn Env>,
        settings: Settings,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let state = State {
            gate: Gate::new(policy, env.hash_seed()).with_capabilities(backend.capabilities()),
            jobs: JobStore::new(settings.history_limit),
            pending_creations: BTreeMap::new(),
            watch: WatchState::default(),
        };
        let (ready, _) = signal::channel(false);
        let state = Mutex::new(state);
        Self { inner: Arc::new(Inner { backend, env, settings, observer, state, ready }) }
    }

    /// Watches the backend and keeps the ledger in sync with it. Runs until the backend's watch ends, which
    /// is normally never; spawn it as a task.
    pub async fn run(self) {
        self.inner.run_watch().await;
    }

    /// Waits until the ledger has been rebuilt from the backend.
    pub async fn ready(&self) {
        let mut ready = self.inner.ready.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Returns `true` if the ledger has been rebuilt from the backend.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.inner.ready.borrow()
    }

    /// Returns the decision that the gate would make on a submission now. Changes no state.
    #[must_use]
    pub fn preview(&self, submission: &Submission) -> Decision {
        // A preview consumes no rate limit token, so any number can arrive. The check therefore runs without
        // the lock.
        let snapshot = {
            let now = self.inner.now();
            self.inner.state().gate.snapshot(submission, now)
        };
        let blocking_holds = |tenant: &str, exceeded: &QuotaExceeded| {
            self.inner.state().gate.ledger().blocking_holds(tenant, exceeded)
        };
        snapshot.decide(submission, blocking_holds)
    }

    /// Returns the record of a job in the backend or in the history.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<Arc<JobRecord>> {
        self.inner.state().jobs.get(id).cloned()
    }

    /// Returns a page of the jobs in the backend and in the history, newest first.
    #[must_use]
    pub fn jobs(&self, filter: &JobFilter) -> Page {
        self.inner.state().jobs.page(filter)
    }

    /// Returns the number of jobs in each phase. Removed jobs do not count.
    #[must_use]
    pub fn phases(&self) -> BTreeMap<Phase, usize> {
        self.inner.state().jobs.phases()
    }

    /// Returns the current time of the injected clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }

    /// Returns the usage and the limits of a tenant.
    #[must_use]
    pub fn usage(&self, tenant: &str) -> TenantUsage {
        let now = self.inner.now();
        self.inner.state().usage(tenant, now)
    }

    /// Returns the usage and the limits of each tenant that holds GPUs or jobs, by name.
    #[must_use]
    pub fn tenants(&self) -> BTreeMap<Tenant, TenantUsage> {
        let now = self.inner.now();
        let state = self.inner.state();
        let tenants = state.gate.ledger().tenants();
        tenants.map(|(tenant, _)| (tenant.clone(), state.usage(tenant.as_str(), now))).collect()
    }

    /// Returns the usage of all tenants together, and the number of pending creations.
    #[must_use]
    pub fn cluster_usage(&self) -> (Usage, usize) {
        let state = self.inner.state();
        (state.gate.ledger().cluster_usage(), state.pending_creations.len())
    }

    /// Returns the number of jobs on nodes that do not respond. These jobs can outlive their deadline.
    #[must_use]
    pub fn jobs_on_lost_nodes(&self) -> usize {
        let state = self.inner.state();
        state.gate.ledger().holds().filter(|(_, hold)| hold.deadline == Timestamp::MAX).count()
    }

    /// Returns the ids of the jobs that have a hold, sorted.
    #[must_use]
    pub fn held_job_ids(&self) -> Vec<JobId> {
        let mut held: Vec<_> = self.inner.state().gate.ledger().holds().map(|(id, _)| id).collect();
        held.sort_unstable();
        held
    }

    /// Returns the state of the watch.
    #[must_use]
    pub fn watch_state(&self) -> WatchState {
        self.inner.state().watch
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.inner.observer
    }

    /// Returns the active policy.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(self.inner.state().gate.policy())
    }

    /// Replaces the active policy. Existing holds stay as they are.
    ///
    /// # Errors
    /// [`NamespaceChanged`] if the new policy runs jobs in another namespace. The old policy then stays
    /// active.
    pub fn set_policy(&self, policy: Arc<Policy>) -> Result<(), NamespaceChanged> {
        let now = self.inner.now();
        self.inner.state().gate.set_policy(policy, now)
    }

    /// Cancels a job of any tenant. Otherwise the same as [`cancel_in_scope`](Self::cancel_in_scope).
    ///
    /// # Errors
    /// [`CancelError`] if the job was not cancelled. The variant says whether a retry makes sense.
    pub async fn cancel(&self, id: JobId) -> Result<Arc<JobRecord>, CancelError> {
        self.cancel_in_scope(id, None).await
    }

    /// Cancels a job if the tenant owns it. `None` stands for all tenants. Returns when the cancellation has
    /// started; the job's phase shows when it is complete.
    ///
    /// # Errors
    /// [`CancelError`] if the job was not cancelled. The variant says whether a retry makes sense. It is
    /// [`CancelError::NotFound`] for a job of another tenant, also while that job is being created.
    pub async fn cancel_in_scope(
        &self,
        id: JobId,
        tenant: Option<&Tenant>,
    ) -> Result<Arc<JobRecord>, CancelError> {
        let is_visible = |owner: &Tenant| tenant.is_none_or(|tenant| tenant == owner);
        let record = {
            let state = self.inner.state();
            match (state.jobs.get(id), state.pending_creations.get(&id)) {
                (Some(record), _) if is_visible(&record.snapshot.tenant) => Arc::clone(record),
                (None, Some(creation)) if is_visible(&creation.request.admitted.job().tenant) => {
                    return Err(CancelError::BeingCreated);
                }
                _ => return Err(CancelError::NotFound),
            }
        };
        let status = &record.snapshot.status;
        match status.phase {
            // At least one process of the cancelled job still runs.
            Phase::Cancelled if !record.gone && status.occupies_resources => return Ok(record),
            phase if record.gone || phase.is_final() => return Err(CancelError::AlreadyFinished(record)),
            _ => {}
        }
        let outcome = self.inner.backend.cancel(&record.snapshot.job_ref()).await?;
        let latest = self.job(id).unwrap_or(record);
        match outcome {
            CancelOutcome::Started => Ok(latest),
            CancelOutcome::AlreadyFinished => Err(CancelError::AlreadyFinished(latest)),
            CancelOutcome::NotFound => Err(CancelError::Removed(latest)),
        }
    }

    /// Returns the output of a job.
    ///
    /// # Errors
    /// [`LogsError`] if there is no output to read.
    pub async fn logs(&self, id: JobId, options: LogOptions) -> Result<LogStream, LogsError> {
        let record = self.job(id).ok_or(LogsError::NotFound)?;
        if record.gone {
            return Err(LogError::Gone.into());
        }
        Ok(self.inner.backend.logs(&record.snapshot.job_ref(), options).await?)
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl State {
    fn usage(&self, tenant: &str, now: Timestamp) -> TenantUsage {
        let tenant_policy = self.gate.policy().tenant_policy(tenant);
        TenantUsage {
            held: self.gate.ledger().tenant_usage(tenant),
            max_gpus: tenant_policy.gpus.value.units(),
            max_jobs: tenant_policy.concurrent_jobs.value,
            rate_remaining: self.gate.rate_remaining(tenant, now),
            rate_limit: tenant_policy.rate_limit.value,
        }
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.env.now()
    }

    fn backoff(&self) -> impl Backoff + use<> {
        backoff(self.backend.timing())
    }

    /// Locks the state. After a panic in another thread the state is still used: the next list from the
    /// backend corrects the ledger.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the delays between retries. The iterator never ends; the caller decides when to stop.
fn backoff(timing: BackendTiming) -> impl Backoff {
    ExponentialBuilder::new()
        .with_min_delay(timing.min_poll_interval)
        .with_max_delay(timing.max_poll_interval)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let timing = BackendTiming {
            create_expiry: Duration::ZERO,
            min_poll_interval: Duration::from_millis(250),
            max_poll_interval: Duration::from_secs(8),
        };
        let delays: Vec<_> = backoff(timing).take(8).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }
}
