//! The local machine as a backend of the control plane.

use crate::error::{OpenError, StartError};
use crate::job::{Job, Supervision};
use crate::machine::Machine;
use crate::notify::{Notifier, Subscription, subscribe};
use crate::output::{LogChunk, LogReader};
use crate::settings::LocalSettings;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use runway_control::backend::{
    Backend, BackendTiming, CancelOutcome, CreateError, CreateRequest, JobRef, LogError, LogEvent,
    LogOptions, LogStream, Unavailable, WatchEvent,
};
use runway_control::{Env, JobSnapshot, SystemEnv};
use runway_core::JobId;
use runway_core::capability::{BackendKind, Capabilities};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Minimum time between two recoveries of a watch. A recovery also deletes expired job directories. The same
/// time limits each wait for a change, and delays the retry of a failed subscription.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// One Linux machine as a backend. A clone refers to the same backend.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    machine: Machine,
    /// The server lock, held while a clone of the backend exists. A second server on the same state directory
    /// would count the same jobs in a separate ledger.
    _server_lock: Arc<File>,
}

impl LocalBackend {
    /// Opens the state directory for a server and recovers the jobs in it. See [`Machine::open`].
    ///
    /// # Errors
    /// - [`OpenError::AlreadyServed`] if another server uses the state directory.
    /// - The other variants of [`OpenError`] if [`Machine::open`] fails or the lock cannot be used.
    pub fn open(settings: LocalSettings) -> Result<Self, OpenError> {
        let machine = Machine::open(settings)?;
        let server_lock = Arc::new(machine.lock_server()?);
        Ok(Self { machine, _server_lock: server_lock })
    }

    /// Returns the machine.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the snapshot of a detached job, or `None` if the job does not exist. Also returns `None` for
    /// an attached job: it belongs to the process that started it, not to the server.
    fn read_snapshot(&self, id: JobId) -> io::Result<Option<JobSnapshot>> {
        let found = self.machine.read_job(id)?.filter(|(job, _)| !job.attached);
        Ok(found.map(|(job, status)| {
            let mut snapshot = job.to_snapshot(&status);
            if !job.not_enforced.is_empty() {
                // The API has no field for the limits that are not enforced, so clients see them only in the
                // message.
                snapshot.status.message.push_str("; not enforced: ");
                snapshot.status.message.push_str(&job.not_enforced.join("; "));
            }
            snapshot
        }))
    }

    fn list_snapshots(&self) -> io::Result<Vec<JobSnapshot>> {
        let mut snapshots = Vec::new();
        for id in self.machine.job_ids()? {
            snapshots.extend(self.read_snapshot_or_warn(id));
        }
        Ok(snapshots)
    }

    /// Returns the snapshot of a job. Logs an error and returns `None`, so that one unreadable job does not
    /// hide the others.
    fn read_snapshot_or_warn(&self, id: JobId) -> Option<JobSnapshot> {
        self.read_snapshot(id).unwrap_or_else(|error| {
            tracing::warn!(job = %id, %error, "cannot read the job's directory");
            None
        })
    }

    /// Runs work that waits for files and processes on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let this = self.clone();
        let result = tokio::task::spawn_blocking(move || work(&this)).await;
        result.map_err(|error| Unavailable::caused_by(action, error))
    }

    /// Runs work that can fail on a blocking thread.
    async fn try_blocking<T: Send + 'static, E: Error + Send + Sync + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.blocking(action, work).await?.map_err(|error| Unavailable::caused_by(action, error))
    }

    async fn create_job(&self, request: &CreateRequest) -> Result<JobSnapshot, CreateError> {
        let request = request.clone();
        let started = self.blocking("cannot start the job", move |this| {
            let job = Job::start(&this.machine, &request, Supervision::Detached)?;
            Ok(this
                .read_snapshot_or_warn(job.id())
                .unwrap_or_else(|| JobSnapshot::initial(&request, SystemEnv.now())))
        });
        started.await.map_err(CreateError::Uncertain)?.map_err(create_error)
    }

    /// Opens the output of a job's newest attempt. Returns a reader and the number of the attempt.
    fn open_logs(&self, id: JobId, options: LogOptions) -> io::Result<Result<(LogReader, u32), LogError>> {
        let Some((_, status)) = self.machine.read_job(id)? else { return Ok(Err(LogError::Gone)) };
        let started_attempts = status.attempts.iter().filter(|attempt| attempt.started.is_some()).count();
        if started_attempts == 0 && (status.finished_at.is_some() || !options.follow) {
            return Ok(Err(LogError::NotStarted));
        }
        let attempt = u32::try_from(started_attempts).unwrap_or(u32::MAX).max(1);
        Ok(Ok((LogReader::for_attempt(&self.machine.job_dir(id), attempt, options.tail)?, attempt)))
    }

    async fn read_logs(&self, job: &JobRef, options: LogOptions) -> Result<LogStream, LogError> {
        let id = job.id;
        let opened =
            self.try_blocking("cannot read the output of the job", move |this| this.open_logs(id, options));
        let (reader, attempt) = opened.await??;
        let start =
            LogFollower { reader, attempt, pending: VecDeque::from([LogEvent::Attempt(attempt)]), options };
        Ok(stream::try_unfold(start, LogFollower::next).boxed())
    }
}

impl Backend for LocalBackend {
    fn capabilities(&self) -> Capabilities {
        BackendKind::Local.capabilities()
    }

    /// Returns the timing of this backend. A create request takes effect before `create` returns, or not at
    /// all.
    fn timing(&self) -> BackendTiming {
        BackendTiming {
            create_expiry: Duration::from_secs(5),
            min_poll_interval: Duration::from_millis(100),
            max_poll_interval: Duration::from_secs(1),
        }
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        self.create_job(request).boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>> {
        let id = job.id;
        self.try_blocking("cannot read the job", move |this| this.read_snapshot(id)).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>> {
        self.try_blocking("cannot list the jobs", Self::list_snapshots).boxed()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        let start = JobWatch {
            backend: self.clone(),
            subscriptions: None,
            last_emitted: None,
            events: VecDeque::new(),
            is_interrupted: false,
            recovered_at: None,
        };
        stream::unfold(start, |mut watch| async move {
            let event = watch.next().await;
            Some((event, watch))
        })
        .boxed()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>> {
        let id = job.id;
        self.try_blocking("cannot cancel the job", move |this| match Job::find(&this.machine, id)? {
            Some(job) => job.cancel(),
            None => Ok(CancelOutcome::NotFound),
        })
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.read_logs(job, options).boxed()
    }
}

/// Converts the error of a start to the error of the create request.
fn create_error(error: StartError) -> CreateError {
    match error {
        StartError::IdConflict(snapshot) => CreateError::IdConflict(snapshot),
        StartError::NotEnoughGpus { requested: wanted, total: all, .. }
            if u64::try_from(all).is_ok_and(|all| wanted.units() <= all) =>
        {
            CreateError::Unavailable(Unavailable::new(error.to_string()))
        }
        StartError::NoCommand
        | StartError::UnsupportedNetwork
        | StartError::UnresolvedSecret { .. }
        | StartError::NotEnoughGpus { .. }
        | StartError::NotEnforced(_)
        | StartError::SandboxFailed { .. } => CreateError::Rejected { reason: error.to_string() },
        StartError::Busy
        | StartError::LockMachine(_)
        | StartError::CreateJobDir(_)
        | StartError::ReadRecord(_)
        | StartError::RemovePartial(_)
        | StartError::LockJobDir(_)
        | StartError::ListGpus(_)
        | StartError::WriteRecord(_)
        | StartError::CreateSocket(_)
        | StartError::SpawnSupervisor(_)
        | StartError::SendPlan(_)
        | StartError::ReceiveReply(_)
        | StartError::SupervisorExited
        | StartError::FollowSupervisor(_) => {
            CreateError::Unavailable(Unavailable::caused_by("cannot start the job", error))
        }
    }
}

/// Reads the output of a job, and emits an event when the output of the next attempt begins.
struct LogFollower {
    reader: LogReader,
    attempt: u32,
    pending: VecDeque<LogEvent>,
    options: LogOptions,
}

impl LogFollower {
    async fn next(mut self) -> Result<Option<(LogEvent, Self)>, LogError> {
        if let Some(event) = self.pending.pop_front() {
            return Ok(Some((event, self)));
        }
        let chunk = if self.options.follow { self.reader.next().await } else { self.reader.try_next() };
        let chunk =
            chunk.map_err(|error| Unavailable::caused_by("cannot read the output of the job", error))?;
        let Some(LogChunk { attempt, bytes, .. }) = chunk else { return Ok(None) };
        if attempt == self.attempt {
            return Ok(Some((LogEvent::Bytes(bytes), self)));
        }
        self.attempt = attempt;
        self.pending.push_back(LogEvent::Bytes(bytes));
        Ok(Some((LogEvent::Attempt(attempt), self)))
    }
}

/// Watches all detached jobs. Emits the differences between successive states.
struct JobWatch {
    backend: LocalBackend,
    subscriptions: Option<Subscriptions>,
    /// The snapshots as last emitted. `None` before the first list.
    last_emitted: Option<BTreeMap<JobId, JobSnapshot>>,
    events: VecDeque<WatchEvent>,
    /// Whether the last read of the jobs failed.
    is_interrupted: bool,
    /// The time of the last recovery.
    recovered_at: Option<Instant>,
}

/// The subscriptions of one watch: the directory of all jobs, and the directory of each job.
struct Subscriptions {
    notifier: Arc<Notifier>,
    _jobs_dir: Subscription,
    by_job: BTreeMap<JobId, Subscription>,
}

impl JobWatch {
    async fn next(&mut self) -> WatchEvent {
        if self.last_emitted.is_none() && self.subscriptions.is_none() {
            match self.subscribe() {
                Ok(subscriptions) => {
                    self.subscriptions = Some(subscriptions);
                    return WatchEvent::ListStarted;
                }
                Err(error) => {
                    tokio::time::sleep(RECOVERY_INTERVAL).await;
                    return interrupted(error);
                }
            }
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let Some(subscriptions) = &mut self.subscriptions else { return WatchEvent::ListStarted };
            let count = subscriptions.notifier.count();
            if let Err(error) = self.refresh().await {
                self.is_interrupted = true;
                return WatchEvent::Interrupted(error);
            }
            if std::mem::take(&mut self.is_interrupted) {
                return WatchEvent::Connected;
            }
            if self.events.is_empty()
                && let Some(subscriptions) = &self.subscriptions
            {
                let _ = tokio::time::timeout(RECOVERY_INTERVAL, subscriptions.notifier.notified(count)).await;
            }
        }
    }

    fn subscribe(&self) -> io::Result<Subscriptions> {
        let notifier = Arc::new(Notifier::default());
        let jobs_dir = subscribe(&self.backend.machine.jobs_dir(), &notifier)?;
        Ok(Subscriptions { notifier, _jobs_dir: jobs_dir, by_job: BTreeMap::new() })
    }

    /// Reads all unfinished jobs and queues an event for each change. The first call queues one list instead.
    /// Recovers the jobs first if [`RECOVERY_INTERVAL`] has passed since the last recovery.
    async fn refresh(&mut self) -> Result<(), Unavailable> {
        let is_due = self.recovered_at.is_none_or(|recovered_at| recovered_at.elapsed() >= RECOVERY_INTERVAL);
        if is_due {
            self.backend.try_blocking("cannot recover the jobs", |this| this.machine.recover()).await?;
            self.recovered_at = Some(Instant::now());
        }
        let ids = self.subscribe_to_jobs().await?;
        let previous = self.last_emitted.take();
        let is_first = previous.is_none();
        let mut snapshots = previous.unwrap_or_default();
        let is_gone = |id: &JobId| ids.binary_search(id).is_err();
        let gone: Vec<_> = snapshots.keys().copied().filter(is_gone).collect();
        for id in gone {
            snapshots.remove(&id);
            self.events.push_back(WatchEvent::Removed(id));
        }
        // A finished job does not change.
        let open = ids
            .into_iter()
            .filter(|id| snapshots.get(id).is_none_or(|job| job.status.occupies_resources))
            .collect::<Vec<_>>();
        let changed = self.backend.blocking("cannot list the jobs", move |this| {
            open.into_iter().filter_map(|id| this.read_snapshot_or_warn(id)).collect::<Vec<_>>()
        });
        let changed = match changed.await {
            Ok(seen) => seen,
            Err(error) => {
                self.last_emitted = Some(snapshots);
                return Err(error);
            }
        };
        for job in changed {
            if snapshots.get(&job.id) != Some(&job) {
                snapshots.insert(job.id, job.clone());
                self.events.push_back(WatchEvent::Updated(Box::new(job)));
            }
        }
        if is_first {
            self.events.clear();
            self.events.push_back(WatchEvent::Listed(snapshots.values().cloned().collect()));
        }
        self.last_emitted = Some(snapshots);
        Ok(())
    }

    /// Subscribes to the directory of each job, so that no later change is missed. Returns the ids of all
    /// jobs.
    async fn subscribe_to_jobs(&mut self) -> Result<Vec<JobId>, Unavailable> {
        let ids = self.backend.try_blocking("cannot list the jobs", |this| this.machine.job_ids()).await?;
        let Some(subscriptions) = &mut self.subscriptions else { return Ok(ids) };
        subscriptions.by_job.retain(|id, _| ids.binary_search(id).is_ok());
        for id in &ids {
            if !subscriptions.by_job.contains_key(id) {
                // Subscribing fails for a job that was just deleted. The next refresh reports it as removed.
                let subscription =
                    subscribe(self.backend.machine.job_dir(*id).path(), &subscriptions.notifier);
                subscriptions.by_job.extend(subscription.ok().map(|listening| (*id, listening)));
            }
        }
        Ok(ids)
    }
}

fn interrupted(error: io::Error) -> WatchEvent {
    WatchEvent::Interrupted(Unavailable::caused_by("cannot watch the directory of the jobs", error))
}
