//! One job: started, followed, stopped.

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

/// What becomes of a job when the process that started it ends, be it killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervision {
    /// It goes on; whoever opens the same folder finds it.
    Detached,
    /// It is stopped, and nothing of it is kept.
    Attached,
}

/// A job on this machine.
#[derive(Debug)]
pub struct Job {
    folder: Folder,
    file: JobFile,
    attached: Option<Attached>,
}

/// What a process has of the supervisor of a job that ends with it.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The line to it: it ends the job when this is closed.
    line: UnixStream,
    /// Rings whenever it says on that line that something has changed, and for the last time once it has ended and its job is
    /// settled. The kernel's own way of telling (`inotify`) would cost this process some ten milliseconds at its exit.
    bell: Arc<Bell>,
}

impl Attached {
    /// Starts a thread that listens to the supervisor.
    pub(crate) fn listen(line: UnixStream) -> io::Result<Self> {
        let attached = Self { line, bell: Arc::new(Bell::default()) };
        let (mut line, bell) = (attached.line.try_clone()?, attached.bell());
        let thread = thread::Builder::new().name("runway-bell".to_owned()).stack_size(128 * 1024);
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
        // Whoever listens to it has the line open as well.
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

    /// The job of this id, if it is kept here.
    ///
    /// # Errors
    /// [`JobError::ReadRecord`]
    pub fn find(machine: &Machine, id: JobId) -> Result<Option<Self>, JobError> {
        let folder = machine.folder(id);
        let file = folder.job().map_err(JobError::ReadRecord)?;
        Ok(file.map(|file| Self { folder, file, attached: None }))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.file.id
    }

    /// What is known of it just now.
    ///
    /// # Errors
    /// [`JobError::Removed`] or [`JobError::ReadStatus`]
    pub fn status(&self) -> Result<Observation, JobError> {
        Ok(self.file.observe(&self.status_file()?))
    }

    fn status_file(&self) -> Result<StatusFile, JobError> {
        match self.folder.status().map_err(JobError::ReadStatus)? {
            Some(status) => Ok(status),
            // It was not begun yet, or what stood there was cut off.
            None if self.folder.exists() => Ok(StatusFile::default()),
            None => Err(self.removed()),
        }
    }

    fn removed(&self) -> JobError {
        JobError::Removed { folder: self.folder.path().to_owned() }
    }

    /// What it has used so far, or in the end.
    ///
    /// # Errors
    /// [`JobError::Removed`] or [`JobError::ReadStatus`]
    pub fn usage(&self) -> Result<Usage, JobError> {
        let status = self.status_file()?;
        if status.finished_at.is_some() {
            return Ok(status.usage);
        }
        let started = status.started_at.unwrap_or(self.file.created_at);
        let wall = Duration::from_nanos(System.now().nanos_since(started));
        Ok(Usage::measure(wall, &self.file.groups))
    }

    /// The memory it has just now; `None` where nothing counts it.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryBytes> {
        self.file.groups.memory()
    }

    /// What it may have of processors and memory.
    #[must_use]
    pub fn limits(&self) -> (CpuMillis, MemoryBytes) {
        (self.file.cpu, self.file.memory)
    }

    /// The GPUs it was given.
    #[must_use]
    pub fn gpus(&self) -> &[String] {
        &self.file.gpus
    }

    /// The limits that are not enforced, each with the reason; nothing unless it was run with best effort.
    #[must_use]
    pub fn not_enforced(&self) -> &[String] {
        &self.file.not_enforced
    }

    /// Asks it to end: a signal, its grace, and death. Returns once that is asked for.
    ///
    /// # Errors
    /// [`JobError::ReadStatus`] or [`JobError::Request`]
    pub fn stop(&self) -> Result<Cancelled, JobError> {
        self.ask(Wish::Cancel)
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// [`JobError::ReadStatus`] or [`JobError::Request`]
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

    /// Stops a job that is attached to this process, as the end of the process would, and waits until it has ended: where its
    /// folder cannot be used, this is what is left. Others it leaves alone.
    pub fn let_go(&self) {
        let Some(attached) = &self.attached else { return };
        attached.let_go();
        while !attached.bell.is_over() {
            attached.bell.wait(attached.bell.times(), None);
        }
    }

    /// A reader of its output from the first byte on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn reader(&self) -> io::Result<Reader> {
        self.reader_at(0)
    }

    /// A reader of its output from this byte on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn reader_at(&self, offset: u64) -> io::Result<Reader> {
        match &self.attached {
            Some(attached) => Reader::with_bell(&self.folder, offset, &attached.bell),
            None => Reader::of_job(&self.folder, offset),
        }
    }

    /// Waits until nothing of it is left, or for the time. Its outcome then, or how it is.
    ///
    /// # Errors
    /// - [`JobError::Removed`] if the job's folder is deleted.
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

    /// Takes away what is kept of it, once nothing of it is left. Whether it was.
    ///
    /// # Errors
    /// [`JobError::ReadStatus`] or [`JobError::Delete`]
    pub fn remove(self) -> Result<bool, JobError> {
        let status = self.folder.status().map_err(JobError::ReadStatus)?;
        if status.is_none_or(|status| status.finished_at.is_none()) {
            return Ok(false);
        }
        self.folder.remove().map_err(JobError::Delete)?;
        Ok(true)
    }
}
