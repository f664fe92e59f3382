//! A handle to one job: reads its status and output, cancels it, waits for it.

use crate::error::JobError;
use crate::job_dir::{ControlRequest, JobDir};
use crate::machine::Machine;
use crate::notify::{Notifier, subscribe};
use crate::output::LogReader;
use crate::record::{JobFile, StatusFile};
use crate::usage::Usage;
use runway_control::backend::CancelOutcome;
use runway_control::{Env, JobSnapshot, SystemEnv};
use runway_core::JobId;
use runway_core::units::{CpuMillis, MemoryBytes};
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The fate of a job when the process that started it exits or is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervision {
    /// The job continues. A process that opens the same state directory finds it.
    Detached,
    /// The job is cancelled and its directory is deleted.
    Attached,
}

/// A job on this machine.
#[derive(Debug)]
pub struct Job {
    dir: JobDir,
    record: JobFile,
    connection: Option<SupervisorConnection>,
}

/// The connection of the launcher to the supervisor of an attached job.
#[derive(Debug)]
pub(crate) struct SupervisorConnection {
    /// The socket to the supervisor, which cancels the job when the socket is closed.
    socket: UnixStream,
    /// Notified when the supervisor reports a change. Closed after the supervisor has exited and the job is
    /// recovered. The supervisor sends the changes over the socket, because an inotify subscription would
    /// delay the exit of this process by about 10 ms.
    notifier: Arc<Notifier>,
}

impl SupervisorConnection {
    /// Starts a thread that receives the supervisor's notifications and passes them to the notifier.
    pub(crate) fn open(socket: UnixStream) -> io::Result<Self> {
        let connection = Self { socket, notifier: Arc::new(Notifier::default()) };
        let (mut socket, notifier) = (connection.socket.try_clone()?, connection.notifier());
        let thread = thread::Builder::new().name("runway-notify".to_owned()).stack_size(128 * 1024);
        thread.spawn(move || {
            let mut buffer = [0; 64];
            while socket.read(&mut buffer).is_ok_and(|count| count > 0) {
                notifier.notify();
            }
            notifier.notify();
        })?;
        Ok(connection)
    }

    pub(crate) fn notifier(&self) -> Arc<Notifier> {
        Arc::clone(&self.notifier)
    }

    fn disconnect(&self) {
        // The reader thread holds a copy of the socket, so dropping the other copy would not close the
        // connection.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for SupervisorConnection {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl Job {
    pub(crate) fn new(dir: JobDir, record: JobFile, connection: Option<SupervisorConnection>) -> Self {
        Self { dir, record, connection }
    }

    /// Returns the job with this id, or `None` if the machine has no such job.
    ///
    /// # Errors
    /// [`JobError::ReadRecord`] if the job's record cannot be read.
    pub fn find(machine: &Machine, id: JobId) -> Result<Option<Self>, JobError> {
        let dir = machine.job_dir(id);
        let record = dir.read_job().map_err(JobError::ReadRecord)?;
        Ok(record.map(|file| Self { dir, record: file, connection: None }))
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.record.id
    }

    /// Returns the current status of the job.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's directory is deleted.
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    pub fn status(&self) -> Result<JobSnapshot, JobError> {
        Ok(self.record.to_snapshot(&self.read_status()?))
    }

    fn read_status(&self) -> Result<StatusFile, JobError> {
        match self.dir.read_status().map_err(JobError::ReadStatus)? {
            Some(status) => Ok(status),
            // The supervisor has not written the status yet, or a power failure truncated it.
            None if self.dir.exists() => Ok(StatusFile::default()),
            None => Err(self.removed_error()),
        }
    }

    fn removed_error(&self) -> JobError {
        JobError::Removed { dir: self.dir.path().to_owned() }
    }

    /// Returns the resources that the job has used so far, or in total if it is finished.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's directory is deleted.
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    pub fn usage(&self) -> Result<Usage, JobError> {
        let status = self.read_status()?;
        if status.finished_at.is_some() {
            return Ok(status.usage);
        }
        let started = status.started_at.unwrap_or(self.record.created_at);
        let wall = Duration::from_nanos(SystemEnv.now().nanos_since(started));
        Ok(Usage::measure(wall, &self.record.groups))
    }

    /// Returns the memory that the job currently uses, or `None` if no control group measures it.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryBytes> {
        self.record.groups.current_memory()
    }

    /// Returns the CPU limit and the memory limit of the job.
    #[must_use]
    pub fn limits(&self) -> (CpuMillis, MemoryBytes) {
        (self.record.cpu, self.record.memory)
    }

    /// Returns the GPUs that are assigned to the job.
    #[must_use]
    pub fn gpus(&self) -> &[String] {
        &self.record.gpus
    }

    /// Returns the limits that are not enforced, each with the reason. Always empty without `best_effort`.
    #[must_use]
    pub fn not_enforced(&self) -> &[String] {
        &self.record.not_enforced
    }

    /// Requests the job's cancellation: a signal, then a kill after the grace period. Does not wait until the
    /// job has ended.
    ///
    /// # Errors
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    /// - [`JobError::Request`] if the request cannot be written.
    pub fn cancel(&self) -> Result<CancelOutcome, JobError> {
        self.request(ControlRequest::Cancel)
    }

    /// Requests that the supervisor kill the job at once. Does not wait until the job has ended.
    ///
    /// # Errors
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    /// - [`JobError::Request`] if the request cannot be written.
    pub fn kill(&self) -> Result<CancelOutcome, JobError> {
        self.request(ControlRequest::Kill)
    }

    fn request(&self, request: ControlRequest) -> Result<CancelOutcome, JobError> {
        match self.read_status() {
            Ok(status) if status.finished_at.is_some() => return Ok(CancelOutcome::AlreadyFinished),
            Ok(_) => {}
            Err(JobError::Removed { .. }) => return Ok(CancelOutcome::NotFound),
            Err(error) => return Err(error),
        }
        match self.dir.request(request) {
            Ok(()) => Ok(CancelOutcome::Started),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(CancelOutcome::NotFound),
            Err(error) => Err(JobError::Request(error)),
        }
    }

    /// Closes the connection to the supervisor of an attached job, which cancels the job. Waits until the
    /// supervisor has exited and the job is recovered. Works even if the job's directory cannot be used. Does
    /// nothing for a job that this process did not start as attached.
    pub fn disconnect(&self) {
        let Some(connection) = &self.connection else { return };
        connection.disconnect();
        while !connection.notifier.is_closed() {
            connection.notifier.wait(connection.notifier.count(), None);
        }
    }

    /// Returns a reader of the job's output that starts at the first byte.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn reader(&self) -> io::Result<LogReader> {
        self.reader_at(0)
    }

    /// Returns a reader of the job's output that starts at the byte `offset`.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn reader_at(&self, offset: u64) -> io::Result<LogReader> {
        match &self.connection {
            Some(connection) => LogReader::with_notifier(&self.dir, offset, &connection.notifier),
            None => LogReader::for_job(&self.dir, offset),
        }
    }

    /// Waits until the job no longer occupies resources, or until the timeout expires. Without a timeout, it
    /// waits as long as necessary. Returns the final status, or the current one after a timeout.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's directory is deleted.
    /// - [`JobError::NoOutcome`] if the job is attached and its supervisor exited without an outcome.
    /// - [`JobError::Watch`] or [`JobError::ReadStatus`] if the file system fails.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<JobSnapshot, JobError> {
        let (notifier, _subscription) = match &self.connection {
            Some(connection) => (Arc::clone(&connection.notifier), None),
            None => {
                let notifier = Arc::new(Notifier::default());
                let subscription =
                    subscribe(self.dir.path(), &notifier).map_err(|error| match error.kind() {
                        ErrorKind::NotFound => self.removed_error(),
                        _ => JobError::Watch(error),
                    })?;
                (notifier, Some(subscription))
            }
        };
        let began = std::time::Instant::now();
        loop {
            let (count, is_closed) = (notifier.count(), notifier.is_closed());
            let snapshot = self.status()?;
            let remaining = timeout.map(|within| within.saturating_sub(began.elapsed()));
            if !snapshot.status.occupies_resources {
                return Ok(snapshot);
            }
            if is_closed {
                return Err(JobError::NoOutcome { dir: self.dir.path().to_owned() });
            }
            if remaining.is_some_and(|left| left.is_zero()) {
                return Ok(snapshot);
            }
            notifier.wait(count, remaining);
        }
    }

    /// Deletes the directory of a finished job. Returns `false` if the job is not finished or its status is
    /// missing.
    ///
    /// # Errors
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    /// - [`JobError::Delete`] if the job's directory cannot be deleted.
    pub fn remove(self) -> Result<bool, JobError> {
        let status = self.dir.read_status().map_err(JobError::ReadStatus)?;
        if status.is_none_or(|status| status.finished_at.is_none()) {
            return Ok(false);
        }
        self.dir.remove().map_err(JobError::Delete)?;
        Ok(true)
    }
}
