//! The port through which jobs are run: what a cluster or a machine must be able to do.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runway_core::capability::Capabilities;
use runway_core::digest::Digest;
use runway_core::name::{ClassName, JobName};
use runway_core::price::{Bill, Quote};
use runway_core::quota::Observed;
use runway_core::status::Status;
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{AdmittedJob, JobId, Policy, Tenant};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Runs jobs, and tells what becomes of them.
///
/// It keeps nothing that its jobs do not carry themselves: whatever [`Observation`] holds is read back from them, so
/// that another process can go on where this one stopped.
pub trait Backend: Send + Sync + 'static {
    /// The features of a job that the backend supports. The gate refuses jobs that need others.
    fn capabilities(&self) -> Capabilities;

    /// The times that the control plane must allow for.
    fn timing(&self) -> BackendTiming;

    /// Creates a job, or goes on creating it where an earlier call for the same order stopped half-way.
    ///
    /// # Errors
    /// [`CreateError`], which says whether something may have been made all the same.
    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>>;

    /// Looks a job up by its name, past any cache. `None` where it is not there just now.
    ///
    /// # Errors
    /// [`Unavailable`] where that cannot be told.
    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>>;

    /// Every job there is, past any cache.
    ///
    /// # Errors
    /// [`Unavailable`] where that cannot be told.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>>;

    /// Lists all jobs, then tells of each change, without end: where the connection is lost it says so, waits, and lists
    /// again or goes on where it was.
    fn watch(&self) -> BoxStream<'_, WatchEvent>;

    /// Marks a job as cancelled, and ends it. Returns once that has begun.
    ///
    /// # Errors
    /// [`Unavailable`] where it may not have begun.
    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>>;

    /// What a job prints, from its newest attempt.
    ///
    /// # Errors
    /// [`LogError`] where there is nothing to read.
    fn logs<'a>(&'a self, job: &'a JobRef, options: LogOptions)
    -> BoxFuture<'a, Result<LogStream, LogError>>;
}

/// The times that a backend needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendTiming {
    /// The time after which a create request that was not answered can no longer make a job.
    pub create_expiry: Duration,
    /// The delay before the control plane first repeats a call, or first looks for a job again. The delay doubles each time.
    pub min_poll_interval: Duration,
    /// The longest such delay.
    pub max_poll_interval: Duration,
}

/// Which job, and where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRef {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: JobName,
    /// Whose it is.
    pub tenant: Tenant,
}

/// A job to create.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id.
    pub id: JobId,
    /// The job.
    pub admitted: AdmittedJob,
    /// The policy that admitted it.
    pub policy: Arc<Policy>,
}

impl Order {
    /// Which job it makes.
    #[must_use]
    pub fn job(&self) -> JobRef {
        let job = self.admitted.job();
        JobRef { id: self.id, name: job.name.clone(), tenant: job.tenant.clone() }
    }
}

/// A job as a backend sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: JobName,
    /// Whose it is.
    pub tenant: Tenant,
    /// The class it was admitted under.
    pub class: Option<ClassName>,
    /// The GPUs it has.
    pub gpus: GpuCount,
    /// How long it may take, retries included.
    pub timeout: Seconds,
    /// How long it may take to end after that.
    pub grace: Seconds,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it may cost, as it was told when it was admitted.
    pub quote: Option<Quote>,
    /// The digest of what was written.
    pub spec_digest: Option<Digest>,
    /// What became of it.
    pub status: Status,
}

impl Observation {
    /// A job that was just created and of which nothing else is known yet.
    #[must_use]
    pub fn created(order: &Order, created_at: Timestamp) -> Self {
        let job = order.admitted.job();
        Self {
            id: order.id,
            name: job.name.clone(),
            tenant: job.tenant.clone(),
            class: job.class.clone(),
            gpus: job.resources.gpu,
            timeout: job.timeout,
            grace: order.policy.run().termination_grace,
            created_at,
            quote: Some(order.admitted.quote().clone()),
            spec_digest: Some(order.admitted.spec_digest()),
            status: Status::created(),
        }
    }

    /// Which job it is.
    #[must_use]
    pub fn job(&self) -> JobRef {
        JobRef { id: self.id, name: self.name.clone(), tenant: self.tenant.clone() }
    }

    /// The bill so far, or of the whole run. `None` if the quote was lost.
    #[must_use]
    pub fn bill(&self, now: Timestamp) -> Option<Bill> {
        Some(self.status.bill(self.quote.as_ref()?, self.grace, now))
    }

    /// What the ledger needs to know of it.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let term = self.timeout.saturating_add(self.grace);
        let started = self.status.started_at.unwrap_or(self.created_at);
        let deadline = started.saturating_add(term);
        Observed { id: self.id, tenant: self.tenant.clone(), gpus: self.gpus, term, deadline }
    }
}

/// What a watch tells, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A listing is next. It is asked for only when the stream is polled again, so that whoever watches can first take
    /// note of what it knows.
    ListingBegan,
    /// The listing: every job there was when it was made.
    Listed(Vec<Observation>),
    /// A job is new, or changed.
    Changed(Box<Observation>),
    /// A job has left, and nothing of it runs any more.
    Gone(JobId),
    /// The backend cannot be reached; what was told before may be out of date. The stream goes on by itself.
    Interrupted(Unavailable),
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It has begun.
    Begun,
    /// The job had ended before.
    Finished,
    /// There is no such job any more.
    Gone,
}

/// What to read of a job's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as more comes, over retries too, until the job ends.
    pub follow: bool,
    /// Only the last so many lines of what there is.
    pub tail: Option<u32>,
}

/// The output of a job.
pub type LogStream = BoxStream<'static, Result<LogEvent, LogError>>;

/// A piece of a job's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// What follows comes from this attempt, the first of which is 1.
    Attempt(u32),
    /// Output, as it was written.
    Bytes(Bytes),
}

/// Why there is no output to read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// There is no such job any more.
    #[error("the job has left the backend, and its output with it")]
    Gone,
    /// No attempt has started yet.
    #[error("the job has not started, so it has printed nothing yet")]
    NotStarted,
    /// The backend could not be asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The failure of a create request. Backends, the control plane, metrics and the audit record use the same four words for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The backend rejected the job and made nothing. It would reject the same request again.
    #[error("the backend turned the job down: {reason}")]
    Rejected {
        /// The reason that the backend gave.
        reason: String,
    },
    /// The backend could not be reached or is too busy, and made nothing. The same request can succeed later.
    #[error("the job was not created: {0}")]
    Unavailable(Unavailable),
    /// The backend may have made the job: its response was lost.
    #[error("whether the job was created is not known yet: {0}")]
    Uncertain(Unavailable),
    /// Another job has this id.
    #[error("another job has this id already")]
    IdConflict(Box<Observation>),
}

/// A backend that could not be asked.
#[derive(Clone)]
pub struct Unavailable {
    /// What was tried, and what went wrong.
    pub message: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Unavailable {
    /// With what was tried.
    #[must_use]
    pub fn new(message: impl Into<Arc<str>>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// With the error beneath, which is not part of the message.
    #[must_use]
    pub fn caused_by(message: impl Into<Arc<str>>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { message: message.into(), source: Some(Arc::new(source)) }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unavailable").field("message", &self.message).field("source", &self.source).finish()
    }
}

impl PartialEq for Unavailable {
    fn eq(&self, other: &Self) -> bool {
        self.message == other.message
    }
}

impl Eq for Unavailable {}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
