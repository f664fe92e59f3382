//! The directory of a job. It holds everything that other processes need to know about the job.
//!
//! - `job.json` describes the job. The launcher writes it once, before the job runs.
//! - `status.json` holds the status. The supervisor replaces the whole file on each change.
//! - `lock` is locked while the supervisor runs.
//! - `cancel` and `kill` are requests to the supervisor.
//! - `log/` holds the output.
//! - `files/` becomes the job's `/tmp`. It exists only during an attempt.
//!
//! The command and the environment of the job are never written to this directory.

use crate::record::{JobFile, StatusFile};
use runway_core::JobId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Prefix of a job directory's name while it is being deleted.
pub(crate) const REMOVED_PREFIX: &str = ".removed-";

/// The directory of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobDir {
    path: PathBuf,
}

impl JobDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the directory of the job with this id, below the directory of all jobs.
    pub(crate) fn for_job(jobs_dir: &Path, id: JobId) -> Self {
        Self { path: jobs_dir.join(id.as_str()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn files_dir(&self) -> PathBuf {
        self.path.join("files")
    }

    /// Creates the job's directory and its log directory. Fails if the job's directory exists.
    pub(crate) fn create(&self) -> io::Result<()> {
        create_private_dir(&self.path)?;
        create_private_dir(&self.log_dir())
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Creates the lock file and locks it. The lock is held until every copy of the returned file is closed,
    /// in this process and in child processes.
    pub(crate) fn create_lock(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(self.path.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Locks the lock file. Returns `None` if another process holds the lock.
    pub(crate) fn try_lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().write(true).open(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn read_job(&self) -> io::Result<Option<JobFile>> {
        read_json(&self.path.join("job.json"))
    }

    pub(crate) fn write_job(&self, job: &JobFile) -> io::Result<()> {
        // An attached job ends with its launcher. Nothing needs its record after a power failure, so the
        // record need not be durable.
        self.write_json("job.json", job, !job.attached)
    }

    pub(crate) fn read_status(&self) -> io::Result<Option<StatusFile>> {
        read_json(&self.path.join("status.json"))
    }

    pub(crate) fn write_status(&self, status: &StatusFile) -> io::Result<()> {
        // After a power failure, a missing status means that the job was lost. The file need not be durable.
        self.write_json("status.json", status, false)
    }

    pub(crate) fn request(&self, request: ControlRequest) -> io::Result<()> {
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.path.join(request.file_name()))?;
        Ok(())
    }

    pub(crate) fn is_requested(&self, request: ControlRequest) -> bool {
        self.path.join(request.file_name()).exists()
    }

    /// Deletes the directory with its content. Renames the directory first, so that other processes do not
    /// take a partly deleted directory for an interrupted start.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let removed_path = self.path.with_file_name(format!("{REMOVED_PREFIX}{name}-{}", std::process::id()));
        match fs::rename(&self.path, &removed_path) {
            // Another process has deleted the directory.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        Ok(crate::tree::remove(&removed_path)?)
    }

    /// Replaces a file atomically. A reader finds either the old or the new content, even if this process is
    /// killed. With `is_durable`, this also holds after a power failure.
    fn write_json(&self, name: &str, value: &impl Serialize, is_durable: bool) -> io::Result<()> {
        let new_path = self.path.join(format!("{name}.new"));
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new_path)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        if is_durable {
            file.sync_all()?;
        }
        fs::rename(&new_path, self.path.join(name))?;
        if is_durable {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }
}

/// A request to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlRequest {
    /// Send `SIGTERM` to the job's process, then kill the job after its grace period.
    Cancel,
    /// Kill the job at once.
    Kill,
}

impl ControlRequest {
    const fn file_name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Kill => "kill",
        }
    }
}

/// Reads a JSON file. Returns `None` if the file does not exist or is truncated, as after a power failure.
/// Other parse errors are returned, because another version may have written the file.
fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    match serde_json::from_slice(&bytes) {
        Err(error) if error.is_eof() => {
            tracing::error!(file = %path.display(), "ignoring a truncated file; its content is lost");
            Ok(None)
        }
        read => Ok(Some(read?)),
    }
}

/// Creates a directory that only its owner can access.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}
