//! A handle to one job: reads its status and output, cancels it, waits for it.

use crate::bell::{Bell, listen};
use crate::error::JobError;
use crate::folder::{Folder, Wish};
use crate::machine::Machine;
use crate::output::Reader;
use crate::record::{JobFile, StatusFile};
use crate::usage::Usage;
use runway_control::backend::Cancelled;
use runway_control::{Observation, Surroundings, System};
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
    folder: Folder,
    file: JobFile,
    attached: Option<Attached>,
}

/// The connection of the launcher to the supervisor of an attached job.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The socket to the supervisor, which cancels the job when the socket is closed.
    line: UnixStream,
    /// Notified when the supervisor reports a change. Closed after the supervisor has exited and the job is
    /// recovered. An inotify subscription would delay the exit of this process by about 10 ms.
    bell: Arc<Bell>,
}

impl Attached {
    /// Starts a thread that reads the notifications of the supervisor.
    pub(crate) fn listen(line: UnixStream) -> io::Result<Self> {
        let attached = Self { line, bell: Arc::new(Bell::default()) };
        let (mut line, bell) = (attached.line.try_clone()?, attached.bell());
        let thread = thread::Builder::new().name("runway-notify".to_owned()).stack_size(128 * 1024);
        thread.spawn(move || {
            let mut what = [0; 64];
            while line.read(&mut what).is_ok_and(|count| count > 0) {
                bell.ring();
            }
            bell.ring();
        })?;
        Ok(attached)
    }

    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    fn let_go(&self) {
        // The reader thread holds a copy of the socket, so dropping this one would not close the connection.
        let _ = self.line.shutdown(Shutdown::Both);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Job {
    pub(crate) fn new(folder: Folder, file: JobFile, attached: Option<Attached>) -> Self {
        Self { folder, file, attached }
    }

    /// Returns the job with this id, or `None` if the machine has no such job.
    ///
    /// # Errors
    /// [`JobError::ReadRecord`] if the job's record cannot be read.
    pub fn find(machine: &Machine, id: JobId) -> Result<Option<Self>, JobError> {
        let folder = machine.folder(id);
        let file = folder.job().map_err(JobError::ReadRecord)?;
        Ok(file.map(|file| Self { folder, file, attached: None }))
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.file.id
    }

    /// Returns the current status of the job.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's directory is deleted.
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    pub fn status(&self) -> Result<Observation, JobError> {
        Ok(self.file.observe(&self.status_file()?))
    }

    fn status_file(&self) -> Result<StatusFile, JobError> {
        match self.folder.status().map_err(JobError::ReadStatus)? {
            Some(status) => Ok(status),
            // The supervisor has not written the status yet, or a power failure truncated it.
            None if self.folder.exists() => Ok(StatusFile::default()),
            None => Err(self.removed()),
        }
    }

    fn removed(&self) -> JobError {
        JobError::Removed { folder: self.folder.path().to_owned() }
    }

    /// Returns the resources that the job has used so far, or in total if it is finished.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's directory is deleted.
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    pub fn usage(&self) -> Result<Usage, JobError> {
        let status = self.status_file()?;
        if status.finished_at.is_some() {
            return Ok(status.usage);
        }
        let started = status.started_at.unwrap_or(self.file.created_at);
        let wall = Duration::from_nanos(System.now().nanos_since(started));
        Ok(Usage::measure(wall, &self.file.groups))
    }

    /// Returns the memory that the job currently uses, or `None` if no control group measures it.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryBytes> {
        self.file.groups.memory()
    }

    /// Returns the CPU limit and the memory limit of the job.
    #[must_use]
    pub fn limits(&self) -> (CpuMillis, MemoryBytes) {
        (self.file.cpu, self.file.memory)
    }

    /// Returns the GPUs that are assigned to the job.
    #[must_use]
    pub fn gpus(&self) -> &[String] {
        &self.file.gpus
    }

    /// Returns the limits that are not enforced, each with the reason. Always empty without `best_effort`.
    #[must_use]
    pub fn not_enforced(&self) -> &[String] {
        &self.file.not_enforced
    }

    /// Requests the job's cancellation: a signal, then a kill after the grace period. Does not wait for the
    /// end.
    ///
    /// # Errors
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    /// - [`JobError::Request`] if the request cannot be written.
    pub fn stop(&self) -> Result<Cancelled, JobError> {
        self.ask(Wish::Cancel)
    }

    /// Requests to kill the job at once. Does not wait for the end.
    ///
    /// # Errors
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    /// - [`JobError::Request`] if the request cannot be written.
    pub fn kill(&self) -> Result<Cancelled, JobError> {
        self.ask(Wish::Kill)
    }

    fn ask(&self, wish: Wish) -> Result<Cancelled, JobError> {
        match self.status_file() {
            Ok(status) if status.finished_at.is_some() => return Ok(Cancelled::Finished),
            Ok(_) => {}
            Err(JobError::Removed { .. }) => return Ok(Cancelled::Gone),
            Err(error) => return Err(error),
        }
        match self.folder.ask(wish) {
            Ok(()) => Ok(Cancelled::Begun),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Cancelled::Gone),
            Err(error) => Err(JobError::Request(error)),
        }
    }

    /// Closes the connection to the supervisor of an attached job, which cancels the job, and waits until the
    /// job is finished. Works even if the job's directory cannot be used. Does nothing for a job that this
    /// process did not start as attached.
    pub fn let_go(&self) {
        let Some(attached) = &self.attached else { return };
        attached.let_go();
        while !attached.bell.is_over() {
            attached.bell.wait(attached.bell.times(), None);
        }
    }

    /// Returns a reader of the job's output that starts at the first byte.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn reader(&self) -> io::Result<Reader> {
        self.reader_at(0)
    }

    /// Returns a reader of the job's output that starts at the byte `offset`.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn reader_at(&self, offset: u64) -> io::Result<Reader> {
        match &self.attached {
            Some(attached) => Reader::with_bell(&self.folder, offset, &attached.bell),
            None => Reader::of_job(&self.folder, offset),
        }
    }

    /// Waits until the job no longer occupies resources, or until the timeout expires. Returns the final or
    /// the current status.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's directory is deleted.
    /// - [`JobError::NoOutcome`] if the job is attached and its supervisor exited without an outcome.
    /// - [`JobError::Watch`] or [`JobError::ReadStatus`] if the file system fails.
    pub fn wait(&self, within: Option<Duration>) -> Result<Observation, JobError> {
        let (bell, _listening) = match &self.attached {
            Some(attached) => (Arc::clone(&attached.bell), None),
            None => {
                let bell = Arc::new(Bell::default());
                let listening = listen(self.folder.path(), &bell).map_err(|error| match error.kind() {
                    ErrorKind::NotFound => self.removed(),
                    _ => JobError::Watch(error),
                })?;
                (bell, Some(listening))
            }
        };
        let began = std::time::Instant::now();
        loop {
            let (times, is_over) = (bell.times(), bell.is_over());
            let seen = self.status()?;
            let left = within.map(|within| within.saturating_sub(began.elapsed()));
            if !seen.status.holds {
                return Ok(seen);
            }
            if is_over {
                return Err(JobError::NoOutcome { folder: self.folder.path().to_owned() });
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(seen);
            }
            bell.wait(times, left);
        }
    }

    /// Deletes the directory of a finished job. Returns `false` if the job is not finished or its status is
    /// missing.
    ///
    /// # Errors
    /// - [`JobError::ReadStatus`] if the job's status cannot be read.
    /// - [`JobError::Delete`] if the job's directory cannot be deleted.
    pub fn remove(self) -> Result<bool, JobError> {
        let status = self.folder.status().map_err(JobError::ReadStatus)?;
        if status.is_none_or(|status| status.finished_at.is_none()) {
            return Ok(false);
        }
        self.folder.remove().map_err(JobError::Delete)?;
        Ok(true)
    }
}
