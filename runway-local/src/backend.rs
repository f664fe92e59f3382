//! The local machine as a backend of the control plane.

use crate::bell::{Bell, Listening, listen};
use crate::error::{OpenError, StartError};
use crate::job::{Job, Supervision};
use crate::machine::Machine;
use crate::output::{Chunk, Reader};
use crate::settings::LocalSettings;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use runway_control::backend::{
    Backend, BackendTiming, Cancelled, CreateError, JobRef, LogError, LogEvent, LogOptions, LogStream, Order,
    Unavailable, WatchEvent,
};
use runway_control::{Observation, Surroundings, System};
use runway_core::JobId;
use runway_core::capability::{BackendKind, Capabilities};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum time between two recoveries. A recovery also deletes expired job directories.
const SETTLING: Duration = Duration::from_secs(5);

/// One Linux machine as a backend. A clone refers to the same backend.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    machine: Machine,
    /// The server lock, held while a clone of the backend exists. A second server would account for the same
    /// jobs separately.
    _claim: Arc<File>,
}

impl LocalBackend {
    /// Opens the state directory for a server and takes over its jobs. See [`Machine::open`].
    ///
    /// # Errors
    /// - [`OpenError::AlreadyServed`] if another server uses the state directory.
    /// - The other variants of [`OpenError`] if [`Machine::open`] fails or the lock cannot be used.
    pub fn open(settings: LocalSettings) -> Result<Self, OpenError> {
        let machine = Machine::open(settings)?;
        let claim = Arc::new(machine.claim()?);
        Ok(Self { machine, _claim: claim })
    }

    /// Returns the machine.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns `None` for an attached job: it belongs to the process that started it, not to the server.
    fn observe(&self, id: JobId) -> io::Result<Option<Observation>> {
        let found = self.machine.read(id)?.filter(|(job, _)| !job.attached);
        Ok(found.map(|(job, status)| {
            let mut seen = job.observe(&status);
            if !job.not_enforced.is_empty() {
                // Clients of the server see this list only in the message.
                seen.status.message.push_str("; not enforced: ");
                seen.status.message.push_str(&job.not_enforced.join("; "));
            }
            seen
        }))
    }

    fn observe_all(&self) -> io::Result<Vec<Observation>> {
        let mut seen = Vec::new();
        for id in self.machine.ids()? {
            seen.extend(self.observe_or_warn(id));
        }
        Ok(seen)
    }

    /// Logs an error and returns `None`, so that one unreadable job does not hide the others.
    fn observe_or_warn(&self, id: JobId) -> Option<Observation> {
        self.observe(id).unwrap_or_else(|error| {
            tracing::warn!(job = %id, %error, "cannot read the job's directory");
            None
        })
    }

    /// Runs work that waits for files and processes on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.map_err(|error| Unavailable::caused_by(doing, error))
    }

    /// Runs work that can fail on a blocking thread.
    async fn try_blocking<T: Send + 'static, E: Error + Send + Sync + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.blocking(doing, work).await?.map_err(|error| Unavailable::caused_by(doing, error))
    }

    async fn create_job(&self, order: &Order) -> Result<Observation, CreateError> {
        let order = order.clone();
        let started = self.blocking("cannot start the job", move |this| {
            let job = Job::start(&this.machine, &order, Supervision::Detached)?;
            Ok(this.observe_or_warn(job.id()).unwrap_or_else(|| Observation::created(&order, System.now())))
        });
        started.await.map_err(CreateError::Uncertain)?.map_err(create_error)
    }

    /// Opens the output of a job's newest attempt. Returns the number of the attempt.
    fn open_logs(&self, id: JobId, options: LogOptions) -> io::Result<Result<(Reader, u32), LogError>> {
        let Some((_, status)) = self.machine.read(id)? else { return Ok(Err(LogError::Gone)) };
        let begun = status.attempts.iter().filter(|attempt| attempt.started.is_some()).count();
        if begun == 0 && (status.finished_at.is_some() || !options.follow) {
            return Ok(Err(LogError::NotStarted));
        }
        let attempt = u32::try_from(begun).unwrap_or(u32::MAX).max(1);
        Ok(Ok((Reader::of_attempt(&self.machine.folder(id), attempt, options.tail)?, attempt)))
    }

    async fn read_logs(&self, job: &JobRef, options: LogOptions) -> Result<LogStream, LogError> {
        let id = job.id;
        let opened =
            self.try_blocking("cannot read the output of the job", move |this| this.open_logs(id, options));
        let (reader, attempt) = opened.await??;
        let start =
            Following { reader, attempt, waiting: VecDeque::from([LogEvent::Attempt(attempt)]), options };
        Ok(stream::try_unfold(start, Following::next).boxed())
    }
}

impl Backend for LocalBackend {
    fn capabilities(&self) -> Capabilities {
        BackendKind::Local.capabilities()
    }

    /// A create request takes effect before it returns, or not at all.
    fn timing(&self) -> BackendTiming {
        BackendTiming {
            create_expiry: Duration::from_secs(5),
            min_poll_interval: Duration::from_millis(100),
            max_poll_interval: Duration::from_secs(1),
        }
    }

    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        self.create_job(order).boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        let id = job.id;
        self.try_blocking("cannot read the job", move |this| this.observe(id)).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        self.try_blocking("cannot list the jobs", Self::observe_all).boxed()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        let start =
            Watch { backend: self.clone(), ears: None, known: None, events: VecDeque::new(), settled: None };
        stream::unfold(start, |mut watch| async move {
            let event = watch.next().await;
            Some((event, watch))
        })
        .boxed()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        let id = job.id;
        self.try_blocking("cannot cancel the job", move |this| match Job::find(&this.machine, id)? {
            Some(job) => job.stop(),
            None => Ok(Cancelled::Gone),
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
        StartError::Taken(seen) => CreateError::IdConflict(seen),
        StartError::Gpus { wanted, all, .. } if u64::try_from(all).is_ok_and(|all| wanted.units() <= all) => {
            CreateError::Unavailable(Unavailable::new(error.to_string()))
        }
        StartError::NoCommand
        | StartError::Network
        | StartError::UnresolvedSecret { .. }
        | StartError::Gpus { .. }
        | StartError::NotEnforced(_)
        | StartError::NoWalls { .. } => CreateError::Rejected { reason: error.to_string() },
        StartError::Busy
        | StartError::LockMachine(_)
        | StartError::CreateFolder(_)
        | StartError::ReadRecord(_)
        | StartError::RemovePartial(_)
        | StartError::LockFolder(_)
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

/// Follows the output of a job over its attempts.
struct Following {
    reader: Reader,
    attempt: u32,
    waiting: VecDeque<LogEvent>,
    options: LogOptions,
}

impl Following {
    async fn next(mut self) -> Result<Option<(LogEvent, Self)>, LogError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(Some((event, self)));
        }
        let chunk = if self.options.follow { self.reader.next().await } else { self.reader.try_next() };
        let chunk =
            chunk.map_err(|error| Unavailable::caused_by("cannot read the output of the job", error))?;
        let Some(Chunk { attempt, bytes, .. }) = chunk else { return Ok(None) };
        if attempt == self.attempt {
            return Ok(Some((LogEvent::Bytes(bytes), self)));
        }
        self.attempt = attempt;
        self.waiting.push_back(LogEvent::Bytes(bytes));
        Ok(Some((LogEvent::Attempt(attempt), self)))
    }
}

/// Watches all jobs. Emits the differences between successive states.
struct Watch {
    backend: LocalBackend,
    ears: Option<Ears>,
    /// The snapshots as last emitted. `None` before the first list.
    known: Option<BTreeMap<JobId, Observation>>,
    events: VecDeque<WatchEvent>,
    /// The time of the last recovery.
    settled: Option<Instant>,
}

/// The subscriptions of one watch: the directory of all jobs, and the directory of each job.
struct Ears {
    bell: Arc<Bell>,
    _jobs: Listening,
    each: BTreeMap<JobId, Listening>,
}

impl Watch {
    async fn next(&mut self) -> WatchEvent {
        if self.known.is_none() && self.ears.is_none() {
            match self.listen() {
                Ok(ears) => {
                    self.ears = Some(ears);
                    return WatchEvent::ListingBegan;
                }
                Err(error) => {
                    tokio::time::sleep(SETTLING).await;
                    return interrupted(error);
                }
            }
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let Some(ears) = &mut self.ears else { return WatchEvent::ListingBegan };
            let times = ears.bell.times();
            if let Err(error) = self.refresh().await {
                return WatchEvent::Interrupted(error);
            }
            if self.events.is_empty()
                && let Some(ears) = &self.ears
            {
                let _ = tokio::time::timeout(SETTLING, ears.bell.rings(times)).await;
            }
        }
    }

    fn listen(&self) -> io::Result<Ears> {
        let bell = Arc::new(Bell::default());
        let jobs = listen(&self.backend.machine.jobs(), &bell)?;
        Ok(Ears { bell, _jobs: jobs, each: BTreeMap::new() })
    }

    /// Reads all unfinished jobs and queues an event for each change.
    async fn refresh(&mut self) -> Result<(), Unavailable> {
        let is_due = self.settled.is_none_or(|settled| settled.elapsed() >= SETTLING);
        if is_due {
            self.backend.try_blocking("cannot recover the jobs", |this| this.machine.settle()).await?;
            self.settled = Some(Instant::now());
        }
        let ids = self.listen_to_each().await?;
        let before = self.known.take();
        let is_first = before.is_none();
        let mut known = before.unwrap_or_default();
        let is_left = |id: &JobId| ids.binary_search(id).is_err();
        let gone: Vec<_> = known.keys().copied().filter(is_left).collect();
        for id in gone {
            known.remove(&id);
            self.events.push_back(WatchEvent::Gone(id));
        }
        // A finished job does not change.
        let open =
            ids.into_iter().filter(|id| known.get(id).is_none_or(|job| job.status.holds)).collect::<Vec<_>>();
        let seen = self.backend.blocking("listing jobs", move |this| {
            open.into_iter().filter_map(|id| this.observe_or_warn(id)).collect::<Vec<_>>()
        });
        let seen = match seen.await {
            Ok(seen) => seen,
            Err(error) => {
                self.known = Some(known);
                return Err(error);
            }
        };
        for job in seen {
            if known.get(&job.id) != Some(&job) {
                known.insert(job.id, job.clone());
                self.events.push_back(WatchEvent::Changed(Box::new(job)));
            }
        }
        if is_first {
            self.events.clear();
            self.events.push_back(WatchEvent::Listed(known.values().cloned().collect()));
        }
        self.known = Some(known);
        Ok(())
    }

    /// Subscribes to each job before it is read, so that no change is missed. Returns the ids of all jobs.
    async fn listen_to_each(&mut self) -> Result<Vec<JobId>, Unavailable> {
        let ids = self.backend.try_blocking("cannot list the jobs", |this| this.machine.ids()).await?;
        let Some(ears) = &mut self.ears else { return Ok(ids) };
        ears.each.retain(|id, _| ids.binary_search(id).is_ok());
        for id in &ids {
            if !ears.each.contains_key(id) {
                // Subscribing fails for a job that was just deleted. The next refresh reports it as removed.
                let listening = listen(self.backend.machine.folder(*id).path(), &ears.bell);
                ears.each.extend(listening.ok().map(|listening| (*id, listening)));
            }
        }
        Ok(ids)
    }
}

fn interrupted(error: io::Error) -> WatchEvent {
    WatchEvent::Interrupted(Unavailable::caused_by("cannot watch the directory of the jobs", error))
}
