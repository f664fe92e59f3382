//! Gate and backend together.

mod creation;
mod key;
mod submit;
mod watch;

pub use key::{IdempotencyKey, KeyError};
pub use submit::{SubmitError, Submitted};

use crate::backend::{Backend, Cancelled, LogError, LogOptions, LogStream, Unavailable};
use crate::jobs::{JobRecord, Jobs, Page, Selection};
use crate::observer::{Nobody, Observer};
use crate::surroundings::Surroundings;
use backon::{Backoff, BackoffBuilder, ExponentialBuilder};
use creation::Creation;
use runway_core::gate::NamespaceChanged;
use runway_core::quota::{Shortage, Usage};
use runway_core::rate::{RateLeft, RateLimit};
use runway_core::status::Phase;
use runway_core::units::Timestamp;
use runway_core::{Decision, Gate, JobId, Policy, Submission, Tenant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch as signal;

/// Times and sizes of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// For how long a creation whose answer was lost is tried again before its submitter is told so.
    pub create_budget: Duration,
    /// The pause before something is tried again; it doubles from time to time.
    pub retry_pause: Duration,
    /// The longest such pause.
    pub longest_pause: Duration,
    /// After this long a request that was sent cannot take effect any more: the API server's own request time-out, 60 s
    /// by default, and some more for clocks that differ.
    pub request_lifetime: Duration,
    /// How many jobs that have left the backend are remembered.
    pub remembered: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            create_budget: Duration::from_secs(10),
            retry_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
            request_lifetime: Duration::from_secs(65),
            remembered: 10_000,
        }
    }
}

impl Settings {
    /// The delays between retries. They never end: the caller decides when to stop.
    fn backoff(&self) -> impl Backoff + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.retry_pause)
            .with_max_delay(self.longest_pause)
            .without_max_times()
            .build()
    }
}

/// Takes submissions, runs what the gate admits, and knows what became of it.
///
/// It is cheap to clone: all clones are the same control plane.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// use runway_control::fake::FakeCluster;
/// use runway_control::{ControlPlane, Settings, Submitted, System};
/// use runway_core::{JobSpec, Policy, Submission, policy::RateOverrides};
/// use std::sync::Arc;
///
/// let policy = Policy::parse(include_bytes!("../../../fixtures/policies/default.yaml"), RateOverrides::default())?;
/// let cluster = FakeCluster::new(Arc::new(System));
/// let plane = ControlPlane::new(Arc::new(cluster.connect()), Arc::new(policy), Arc::new(System), Settings::default());
/// tokio::spawn(plane.clone().run()); // keeps it in step with the backend
/// plane.ready().await; // once the ledger is rebuilt
///
/// let spec = JobSpec {
///     name: Some("embed-docs".into()),
///     tenant: Some("search".into()),
///     image: Some("registry.internal/embed:1.8.0".into()),
///     ..JobSpec::default()
/// };
/// let Submitted::Created { job, .. } = plane.submit(spec.into(), None).await? else { panic!("it was not there") };
/// assert!(plane.job(job.seen.id).is_some());
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
    surroundings: Arc<dyn Surroundings>,
    settings: Settings,
    observer: Arc<dyn Observer>,
    state: Mutex<State>,
    ready: signal::Sender<bool>,
}

/// Everything that is known; under one lock, which is never held while anything is awaited.
struct State {
    gate: Gate,
    jobs: Jobs,
    /// Jobs whose creation has not been settled.
    creations: BTreeMap<JobId, Creation>,
    watch: WatchState,
}

/// How the watch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchState {
    /// When the backend last said anything.
    pub heard_at: Option<Timestamp>,
    /// Whether it can be reached, as far as is known.
    pub connected: bool,
    /// How often the connection was lost.
    pub interruptions: u64,
    /// How many listings have been taken over.
    pub listings: u64,
    /// How many holds listings had to set right.
    pub drift: u64,
}

/// What a tenant uses of what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantUsage {
    /// What it holds.
    pub held: Usage,
    /// How many GPUs it may hold.
    pub gpus: u64,
    /// How many jobs it may have at a time.
    pub jobs: u32,
    /// What is left of its rate.
    pub rate_left: RateLeft,
    /// How fast it may submit.
    pub rate_limit: RateLimit,
}

/// Why a job was not cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// There is no such job.
    #[error("there is no job of this id")]
    NotFound,
    /// It is still being created.
    #[error("the job is being created; try again in a moment")]
    BeingCreated,
    /// It has ended.
    #[error("the job has ended already")]
    Finished(Arc<JobRecord>),
    /// The backend could not be asked. Cancelling again does no harm.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why there is no output to read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogsError {
    /// There is no such job.
    #[error("there is no job of this id")]
    NotFound,
    /// There is nothing to read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ControlPlane {
    /// A control plane that knows nothing yet. [`run`](Self::run) must be running for it to become ready.
    #[must_use]
    pub fn new(
        backend: Arc<dyn Backend>,
        policy: Arc<Policy>,
        surroundings: Arc<dyn Surroundings>,
        settings: Settings,
    ) -> Self {
        Self::with_observer(backend, policy, surroundings, settings, Arc::new(Nobody))
    }

    /// The same, and somebody who is told what it does.
    #[must_use]
    pub fn with_observer(
        backend: Arc<dyn Backend>,
        policy: Arc<Policy>,
        surroundings: Arc<dyn Surroundings>,
        settings: Settings,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let state = State {
            gate: Gate::new(policy, surroundings.hash_seed()),
            jobs: Jobs::new(settings.remembered),
            creations: BTreeMap::new(),
            watch: WatchState::default(),
        };
        let (ready, _) = signal::channel(false);
        let state = Mutex::new(state);
        Self { inner: Arc::new(Inner { backend, surroundings, settings, observer, state, ready }) }
    }

    /// Follows the backend and keeps the ledger equal to what runs. Never returns; run it as a task of its own.
    pub async fn run(self) {
        self.inner.follow().await;
    }

    /// Returns once the ledger has been rebuilt from the backend.
    pub async fn ready(&self) {
        let mut ready = self.inner.ready.subscribe();
        // The sender lives as long as this does.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Whether the ledger has been rebuilt from the backend.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.inner.ready.borrow()
    }

    /// The decision on a submission, were it made now; nothing is changed by it.
    #[must_use]
    pub fn preview(&self, submission: &Submission) -> Decision {
        // It costs no token, so it must not keep others from the lock for as long as a check takes.
        let outlook = {
            let now = self.inner.now();
            self.inner.state().gate.outlook(submission, now)
        };
        let in_the_way =
            |tenant: &str, shortage: &Shortage| self.inner.state().gate.ledger().in_the_way(tenant, shortage);
        outlook.decide(submission, in_the_way)
    }

    /// A job that is there, or is remembered.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<Arc<JobRecord>> {
        self.inner.state().jobs.get(id).cloned()
    }

    /// A page of the jobs that are there or remembered, newest first.
    #[must_use]
    pub fn jobs(&self, selection: &Selection) -> Page {
        self.inner.state().jobs.page(selection)
    }

    /// How many jobs there are in each phase; those that have left are not counted.
    #[must_use]
    pub fn phases(&self) -> BTreeMap<Phase, usize> {
        self.inner.state().jobs.phases()
    }

    /// The time, as the loop sees it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }

    /// What a tenant uses of what it may.
    #[must_use]
    pub fn usage(&self, tenant: &str) -> TenantUsage {
        let now = self.inner.now();
        self.inner.state().usage(tenant, now)
    }

    /// What every tenant that holds something uses of what it may, by name.
    #[must_use]
    pub fn tenants(&self) -> BTreeMap<Tenant, TenantUsage> {
        let now = self.inner.now();
        let state = self.inner.state();
        let tenants = state.gate.ledger().tenants();
        tenants.map(|(tenant, _)| (tenant.clone(), state.usage(tenant.as_str(), now))).collect()
    }

    /// What all tenants together hold, and how many of the holds wait for their job to be created.
    #[must_use]
    pub fn cluster_usage(&self) -> (Usage, usize) {
        let state = self.inner.state();
        (state.gate.ledger().cluster_usage(), state.creations.len())
    }

    /// The ids of the jobs that hold something, sorted.
    #[must_use]
    pub fn held(&self) -> Vec<JobId> {
        let mut held: Vec<_> = self.inner.state().gate.ledger().holds().map(|(id, _)| id).collect();
        held.sort_unstable();
        held
    }

    /// How the watch is.
    #[must_use]
    pub fn watch_state(&self) -> WatchState {
        self.inner.state().watch
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(self.inner.state().gate.policy())
    }

    /// Puts another policy in force. Jobs that hold something keep it.
    ///
    /// # Errors
    /// [`NamespaceChanged`] where jobs would run in another namespace; the old policy stays in force then.
    pub fn set_policy(&self, policy: Arc<Policy>) -> Result<(), NamespaceChanged> {
        let now = self.inner.now();
        self.inner.state().gate.set_policy(policy, now)
    }

    /// Ends a job. Returns once that has begun: it is over when its phase says so.
    ///
    /// # Errors
    /// [`CancelError`], which says whether it makes sense to try again.
    pub async fn cancel(&self, id: JobId) -> Result<Arc<JobRecord>, CancelError> {
        let record = {
            let state = self.inner.state();
            match (state.jobs.get(id), state.creations.contains_key(&id)) {
                (Some(record), _) => Arc::clone(record),
                (None, true) => return Err(CancelError::BeingCreated),
                (None, false) => return Err(CancelError::NotFound),
            }
        };
        match record.seen.status.phase {
            Phase::Cancelled if !record.gone => return Ok(record),
            phase if record.gone || phase.is_final() => return Err(CancelError::Finished(record)),
            _ => {}
        }
        let cancelled = self.inner.backend.cancel(&record.seen.job()).await?;
        let latest = self.job(id).unwrap_or(record);
        match cancelled {
            Cancelled::Begun => Ok(latest),
            Cancelled::Finished => Err(CancelError::Finished(latest)),
            Cancelled::Gone => Err(CancelError::NotFound),
        }
    }

    /// What a job prints.
    ///
    /// # Errors
    /// [`LogsError`] where there is nothing to read.
    pub async fn logs(&self, id: JobId, options: LogOptions) -> Result<LogStream, LogsError> {
        let record = self.job(id).ok_or(LogsError::NotFound)?;
        if record.gone {
            return Err(LogError::Gone.into());
        }
        Ok(self.inner.backend.logs(&record.seen.job(), options).await?)
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl State {
    fn usage(&self, tenant: &str, now: Timestamp) -> TenantUsage {
        let terms = self.gate.policy().terms(tenant);
        TenantUsage {
            held: self.gate.ledger().tenant_usage(tenant),
            gpus: terms.gpus.value.units(),
            jobs: terms.concurrent_jobs.value,
            rate_left: self.gate.rate_left(tenant, now),
            rate_limit: terms.rate_limit.value,
        }
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.surroundings.now()
    }

    /// The state. A panic while it was locked cannot leave it half-changed in a way that matters more than going on.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_the_longest_pause() {
        let delays: Vec<_> = Settings::default().backoff().take(8).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }
}
