//! The interface to the component that runs jobs, such as a cluster or one machine.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runway_core::capability::Capabilities;
use runway_core::digest::Digest;
use runway_core::name::{ClassName, JobName};
use runway_core::price::{Bill, Quote};
use runway_core::quota::ObservedHold;
use runway_core::status::Status;
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{AdmittedJob, JobId, Policy, Tenant};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Runs jobs and reports their state.
///
/// A backend stores nothing outside its jobs. It reads every field of a [`JobSnapshot`] back from the job
/// itself, so a restarted process can continue with the same jobs.
pub trait Backend: Send + Sync + 'static {
    /// Returns the features of a job that the backend supports. The gate refuses jobs that need other
    /// features.
    fn capabilities(&self) -> Capabilities;

    /// Returns the intervals and time limits of this backend, which the control plane uses.
    fn timing(&self) -> BackendTiming;

    /// Creates a job. If an earlier call for the same request failed after some steps, continues with the
    /// next step.
    ///
    /// # Errors
    /// [`CreateError`] if the job was not created, or may not have been created. The variant says which.
    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>>;

    /// Finds a job by its reference, without a cache. Returns `None` if the job does not exist at the moment.
    ///
    /// # Errors
    /// [`Unavailable`] if the backend cannot be queried.
    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>>;

    /// Lists all jobs, without a cache.
    ///
    /// # Errors
    /// [`Unavailable`] if the backend cannot be queried.
    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>>;

    /// Lists all jobs, then reports every change. The stream never ends: after a lost connection it emits
    /// [`WatchEvent::Interrupted`], waits, and then resumes or relists. A backend that no longer responds
    /// counts as a lost connection.
    fn watch(&self) -> BoxStream<'_, WatchEvent>;

    /// Marks a job as cancelled and starts its deletion. Does not wait until the deletion is complete.
    ///
    /// # Errors
    /// [`Unavailable`] if the cancellation may not have started.
    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>>;

    /// Returns the output of the newest attempt of a job. With [`LogOptions::follow`], the output of later
    /// attempts follows.
    ///
    /// # Errors
    /// [`LogError`] if there is no output to read.
    fn logs<'a>(&'a self, job: &'a JobRef, options: LogOptions)
    -> BoxFuture<'a, Result<LogStream, LogError>>;
}

/// The intervals and time limits of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendTiming {
    /// The time after which a create request without a response can no longer create a job.
    pub create_expiry: Duration,
    /// The delay before the control plane first retries a call or first polls for a job. Each further delay
    /// is twice as long.
    pub min_poll_interval: Duration,
    /// The maximum of these delays.
    pub max_poll_interval: Duration,
}

/// A reference to a job, sufficient to find it in the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRef {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub name: JobName,
    /// The tenant that owns the job.
    pub tenant: Tenant,
}

/// A request to create a job.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The id of the job.
    pub id: JobId,
    /// The job that the gate admitted.
    pub admitted: AdmittedJob,
    /// The policy that admitted the job.
    pub policy: Arc<Policy>,
}

impl CreateRequest {
    /// Returns the reference of the job to create.
    #[must_use]
    pub fn job_ref(&self) -> JobRef {
        let job = self.admitted.job();
        JobRef { id: self.id, name: job.name.clone(), tenant: job.tenant.clone() }
    }
}

/// A job as the backend last reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnapshot {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub name: JobName,
    /// The tenant that owns the job.
    pub tenant: Tenant,
    /// The class under which the job was admitted.
    pub class: Option<ClassName>,
    /// The number of GPUs of the job.
    pub gpus: GpuCount,
    /// The time limit of the job, over all attempts.
    pub timeout: Seconds,
    /// The time that the job's process gets to exit after the time limit or a cancellation.
    pub grace: Seconds,
    /// The time at which the backend created the job.
    pub created_at: Timestamp,
    /// The quote from the time of admission. `None` if the backend no longer has a valid quote.
    pub quote: Option<Quote>,
    /// The digest of the submitted spec. `None` if the backend no longer has a valid digest.
    pub spec_digest: Option<Digest>,
    /// The status of the job.
    pub status: Status,
}

impl JobSnapshot {
    /// Returns the snapshot of a job that was just created.
    #[must_use]
    pub fn initial(request: &CreateRequest, created_at: Timestamp) -> Self {
        let job = request.admitted.job();
        Self {
            id: request.id,
            name: job.name.clone(),
            tenant: job.tenant.clone(),
            class: job.class.clone(),
            gpus: job.resources.gpu,
            timeout: job.timeout,
            grace: request.policy.run_settings().termination_grace,
            created_at,
            quote: Some(request.admitted.quote().clone()),
            spec_digest: Some(request.admitted.spec_digest()),
            status: Status::created(),
        }
    }

    /// Returns the reference of the job.
    #[must_use]
    pub fn job_ref(&self) -> JobRef {
        JobRef { id: self.id, name: self.name.clone(), tenant: self.tenant.clone() }
    }

    /// Returns the bill up to `now`, or the final bill of a finished job. `None` if the snapshot has no
    /// quote.
    #[must_use]
    pub fn bill(&self, now: Timestamp) -> Option<Bill> {
        Some(self.status.bill(self.quote.as_ref()?, self.grace, now))
    }

    /// Converts the job to the hold that the ledger compares with its own.
    #[must_use]
    pub fn to_hold(&self) -> ObservedHold {
        let max_duration = self.timeout.saturating_add(self.grace);
        let started = self.status.started_at.unwrap_or(self.created_at);
        // A job on a node that does not respond can outlive its deadline.
        let deadline =
            if self.status.ends_by_itself { started.saturating_add(max_duration) } else { Timestamp::MAX };
        ObservedHold { id: self.id, tenant: self.tenant.clone(), gpus: self.gpus, max_duration, deadline }
    }
}

/// An event of a watch. The events arrive in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A list follows. The backend sends the list request when the stream is polled again, so the caller can
    /// first record its own state.
    ListStarted,
    /// The list: every job that existed when the backend read it.
    Listed(Vec<JobSnapshot>),
    /// A job was created or changed.
    Updated(Box<JobSnapshot>),
    /// A job was removed, and none of its processes runs.
    Removed(JobId),
    /// The backend found this number of objects that carry Runway's labels but are not Runway's: they are
    /// outside of their tenant's namespace, or belong to no job. It ignores them.
    ObjectsIgnored(u64),
    /// The backend responds to every part of the watch. It follows an interruption, and may repeat while the
    /// connection is healthy.
    Connected,
    /// The backend cannot be reached, so earlier events may be out of date. The stream reconnects by itself.
    Interrupted(Unavailable),
}

/// The result of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The cancellation started, or had started before.
    Started,
    /// The job had finished before.
    AlreadyFinished,
    /// The job does not exist.
    NotFound,
}

/// Selects the output of a job to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Continue with new output, also of later attempts, until the job finishes.
    pub follow: bool,
    /// Return only this many lines from the end of the existing output.
    pub tail: Option<u32>,
}

/// The output of a job.
pub type LogStream = BoxStream<'static, Result<LogEvent, LogError>>;

/// One event in the output of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// The output after this event is from this attempt. The first attempt is 1.
    Attempt(u32),
    /// Output, byte for byte.
    Bytes(Bytes),
}

/// The reason that no output can be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The backend no longer has the job.
    #[error("the job was removed from the backend, together with its output")]
    Gone,
    /// No attempt has started yet.
    #[error("the job has not started yet, so it has no output")]
    NotStarted,
    /// The backend could not be queried.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The failure of a create request. Metrics and the audit record use the same names for the outcomes
/// `rejected`, `unavailable` and `uncertain`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The backend rejected the job and created nothing. It would reject the same request again.
    #[error("the backend rejected the job: {reason}")]
    Rejected {
        /// The reason that the backend returned.
        reason: String,
    },
    /// The backend could not be reached or is too busy, and created nothing. The same request can succeed
    /// later.
    #[error("the job was not created: {0}")]
    Unavailable(Unavailable),
    /// The backend may have created the job, for example because its response was lost.
    #[error("it is not known yet whether the job was created: {0}")]
    Uncertain(Unavailable),
    /// A job with this id exists already. The request did not create or change it. If the job has the same
    /// tenant and spec, an earlier request may have created it.
    #[error("another job already has this id")]
    IdConflict(Box<JobSnapshot>),
}

/// A failed call to a backend that cannot be reached or is too busy.
#[derive(Clone)]
pub struct Unavailable {
    /// The failed call and its cause.
    pub message: Arc<str>,
    /// The time after which the backend accepts the next call, if it returned one.
    pub retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Unavailable {
    /// Creates an error without a source.
    #[must_use]
    pub fn new(message: impl Into<Arc<str>>) -> Self {
        Self { message: message.into(), retry_after: None, source: None }
    }

    /// Creates an error with a source. The source is not part of the message.
    #[must_use]
    pub fn caused_by(message: impl Into<Arc<str>>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { message: message.into(), retry_after: None, source: Some(Arc::new(source)) }
    }

    /// Sets the time after which the backend accepts the next call.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
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
