//! A job's folder: all that is known of a job, for whoever comes.
//!
//! `job.json` is written once, before the job runs; `status.json` by its supervisor alone, each time as a whole. `lock` is
//! locked as long as the supervisor lives. `cancel` and `kill` are what it is asked for. `log/` holds the output, `files/` is
//! the job's own `/tmp`, there only while it runs. Neither its command nor its variables are here.

use crate::record::{JobFile, StatusFile};
use runway_core::JobId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// So begin the names of folders that are being taken away.
pub(crate) const REMOVED: &str = ".removed-";

/// The folder of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder of a job below that of all jobs.
    pub(crate) fn of(jobs: &Path, id: JobId) -> Self {
        Self { path: jobs.join(id.as_str()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// Makes it; an error where it is there already.
    pub(crate) fn make(&self) -> io::Result<()> {
        make_private(&self.path)?;
        make_private(&self.log())
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the lock and takes it; whoever has the file or a copy of it then keeps it.
    pub(crate) fn make_lock(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(self.path.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Takes the lock. `None` where somebody has it.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().write(true).open(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn job(&self) -> io::Result<Option<JobFile>> {
        read(&self.path.join("job.json"))
    }

    pub(crate) fn write_job(&self, job: &JobFile) -> io::Result<()> {
        // Of a job that ends with this process nobody asks after a power cut.
        self.write("job.json", job, !job.attached)
    }

    pub(crate) fn status(&self) -> io::Result<Option<StatusFile>> {
        read(&self.path.join("status.json"))
    }

    pub(crate) fn write_status(&self, status: &StatusFile) -> io::Result<()> {
        // Without it a job that does not run any more is known to have been lost.
        self.write("status.json", status, false)
    }

    pub(crate) fn ask(&self, wish: Wish) -> io::Result<()> {
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.path.join(wish.name()))?;
        Ok(())
    }

    pub(crate) fn is_asked(&self, wish: Wish) -> bool {
        self.path.join(wish.name()).exists()
    }

    /// Takes it away, with all that is in it: first out of sight as a whole, so that nobody finds half of it and takes that for
    /// a creation that was broken off.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = self.path.with_file_name(format!("{REMOVED}{name}-{}", std::process::id()));
        match fs::rename(&self.path, &aside) {
            // Somebody else has taken it away.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        Ok(crate::tree::remove(&aside)?)
    }

    /// The whole file or the one before, whenever it is read and whatever happens meanwhile.
    fn write(&self, name: &str, value: &impl Serialize, is_to_last: bool) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        if is_to_last {
            file.sync_all()?;
        }
        fs::rename(&new, self.path.join(name))?;
        if is_to_last {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }
}

/// What a supervisor can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To end the job: a signal, some time, and death.
    Cancel,
    /// To end it now.
    Kill,
}

impl Wish {
    const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Kill => "kill",
        }
    }
}

/// What stands in a file. One that ends too soon, as after a power cut, is as good as none; one that cannot be understood may be of
/// another version.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    match serde_json::from_slice(&bytes) {
        Err(error) if error.is_eof() => {
            tracing::error!(file = %path.display(), "the file is cut off, and what stood in it is lost");
            Ok(None)
        }
        read => Ok(Some(read?)),
    }
}

/// A folder that is its owner's alone.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}
