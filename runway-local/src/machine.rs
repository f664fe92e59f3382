//! A machine that runs jobs: its state directory, its control groups and its GPUs.

use crate::cgroup::{Layout, Limits, NotEnforced};
use crate::error::OpenError;
use crate::folder::{Folder, REMOVED};
use crate::process::kill_processes;
use crate::record::{JobFile, StatusFile};
use crate::settings::LocalSettings;
use crate::usage::Usage;
use crate::{output, tree};
use runway_control::{Surroundings, System};
use runway_core::JobId;
use runway_core::status::LocalEnd;
use runway_core::units::{CpuMillis, MemoryBytes};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One Linux machine that runs jobs. A clone refers to the same machine.
#[derive(Debug, Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: LocalSettings,
    layout: Layout,
}

/// Which job directories survive the recovery of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Only directories of detached jobs. An attached job has lost its launcher, so its directory is deleted.
    Detached,
    /// Directories of attached jobs too. The launcher recovers its own job and still reads the outcome.
    Attached,
}

/// Time limit for killing the processes of one job and for removing its control groups.
const LOOK: Duration = Duration::from_secs(1);

impl Machine {
    /// Opens the state directory and recovers the jobs in it. Jobs with a running supervisor continue. If the
    /// supervisor was killed, the job's processes are killed too, and only its outcome remains.
    ///
    /// # Errors
    /// [`OpenError`] if the settings, the state directory or the control groups cannot be used.
    pub fn open(mut settings: LocalSettings) -> Result<Self, OpenError> {
        if let Some(parent) = settings.cgroup_parent.as_deref().filter(|parent| leads_up(parent)) {
            return Err(OpenError::Parent { parent: parent.to_owned() });
        }
        let folder = settings.state.clone();
        private_folder(&folder.join("jobs"))
            .map_err(|source| OpenError::CreateFolder { folder: folder.clone(), source })?;
        // Jobs must not see the state directory, so its path must not contain symbolic links.
        settings.state = folder
            .canonicalize()
            .map_err(|source| OpenError::ResolveFolder { folder: folder.clone(), source })?;
        // A GPU that is listed twice would be assigned to two jobs.
        let mut named = BTreeSet::new();
        settings.gpus.retain(|gpu| !gpu.is_empty() && named.insert(gpu.clone()));
        let layout = Layout::discover(settings.cgroup_parent.as_deref()).map_err(OpenError::Groups)?;
        let machine = Self { inner: Arc::new(Inner { settings, layout }) };
        machine.sweep().map_err(|source| OpenError::RemoveOld { folder: folder.clone(), source })?;
        machine.settle().map_err(|source| OpenError::ListJobs { folder, source })?;
        Ok(machine)
    }

    /// The settings of this machine.
    #[must_use]
    pub fn settings(&self) -> &LocalSettings {
        &self.inner.settings
    }

    /// Checks whether limits can be enforced, by creating a temporary control group.
    ///
    /// # Errors
    /// [`NotEnforced`] with the limits that cannot be enforced.
    pub fn try_limits(&self) -> Result<(), NotEnforced> {
        let limits = Limits {
            cpu: CpuMillis::new(1000),
            memory: MemoryBytes::new(1 << 30),
            pids: self.inner.settings.pids,
            devices: Vec::new(),
        };
        let (groups, missing) = self.layout().make(&format!("trial-{}", std::process::id()), &limits);
        if let Err(error) = groups.remove(LOOK) {
            tracing::warn!(%error, "cannot delete the temporary control group");
        }
        if missing.is_empty() { Ok(()) } else { Err(self.layout().not_enforced(&missing)) }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn jobs(&self) -> PathBuf {
        self.inner.settings.state.join("jobs")
    }

    pub(crate) fn folder(&self, id: JobId) -> Folder {
        Folder::of(&self.jobs(), id)
    }

    /// Returns the ids of all jobs in the state directory, sorted.
    pub(crate) fn ids(&self) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.jobs())? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads the record and the status of a job. Returns `None` if there is no record, or none yet.
    pub(crate) fn read(&self, id: JobId) -> io::Result<Option<(JobFile, StatusFile)>> {
        let folder = self.folder(id);
        let Some(job) = folder.job()? else { return Ok(None) };
        Ok(Some((job, folder.status()?.unwrap_or_default())))
    }

    /// Locks the machine. While the file is held, no other process can start a job or assign GPUs.
    pub(crate) fn exclusively(&self) -> io::Result<File> {
        let file = lock_file(&self.inner.settings.state.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Locks the state directory for this server while the file is held.
    pub(crate) fn claim(&self) -> Result<File, OpenError> {
        let folder = self.inner.settings.state.clone();
        let locked = lock_file(&folder.join("server")).map_err(TryLockError::Error);
        match locked.and_then(|file| file.try_lock().map(|()| file)) {
            Ok(file) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::Served { folder }),
            Err(TryLockError::Error(source)) => Err(OpenError::LockServer { folder, source }),
        }
    }

    /// Returns the GPUs that are not assigned to an unfinished job.
    pub(crate) fn free_gpus(&self) -> io::Result<Vec<String>> {
        let mut free = self.inner.settings.gpus.clone();
        for id in self.ids()? {
            if let Some((job, status)) = self.read(id)?
                && status.finished_at.is_none()
            {
                free.retain(|gpu| !job.gpus.contains(gpu));
            }
        }
        Ok(free)
    }

    /// Deletes job directories whose deletion was interrupted.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.jobs())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(REMOVED) {
                tree::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Recovers all jobs that have lost their supervisor, and deletes expired job directories.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let now = System.now();
        for id in self.ids()? {
            let settled = self.settle_job(id, Keep::Detached).and_then(|()| match self.read(id)? {
                Some((job, status)) if status.is_over(job.kept, now) => self.folder(id).remove(),
                _ => Ok(()),
            });
            if let Err(error) = settled {
                // A broken job directory must not block the recovery of the other jobs.
                tracing::warn!(job = %id, %error, "cannot recover the job");
            }
        }
        Ok(())
    }

    /// Recovers a job whose supervisor has exited without an outcome. Kills its processes, removes its
    /// control groups and files, and writes the outcome.
    pub(crate) fn settle_job(&self, id: JobId, keep: Keep) -> io::Result<()> {
        let folder = self.folder(id);
        if !folder.exists() {
            return Ok(());
        }
        if folder.job()?.is_none() {
            return self.clear_broken(id, &self.exclusively()?);
        }
        if folder.status()?.is_some_and(|status| status.finished_at.is_some()) {
            return Ok(());
        }
        let lock = match folder.lock() {
            Ok(Some(lock)) => lock,
            // The supervisor is running, or is just exiting.
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(job) = folder.job()? else { return Ok(()) };
        let mut status = folder.status()?.unwrap_or_default();
        if status.finished_at.is_some() {
            return Ok(());
        }
        if !kill_processes(&job.groups, status.init, LOOK) {
            // The job still occupies its resources. The next recovery retries.
            return Ok(());
        }
        let wall = Duration::from_nanos(System.now().nanos_since(job.created_at));
        status.usage = Usage::measure(wall, &job.groups);
        job.groups.remove(LOOK)?;
        tree::remove(&folder.files())?;
        let now = System.now();
        if let Some(last) = status.attempts.last_mut().filter(|last| last.end.is_none()) {
            last.end = Some(LocalEnd::Lost);
            last.ended.get_or_insert(now);
        }
        status.finished_at = Some(now);
        output::conclude(&folder.log())?;
        folder.write_status(&status)?;
        drop(lock);
        if job.attached && keep == Keep::Detached { folder.remove() } else { Ok(()) }
    }

    /// Deletes the directory of an interrupted start, or of a job whose record was lost, and kills its
    /// processes.
    ///
    /// The caller must hold the machine lock. A launcher holds it until the job's record is written, so a
    /// directory without a record belongs to no running launcher.
    pub(crate) fn clear_broken(&self, id: JobId, _exclusive: &File) -> io::Result<()> {
        let folder = self.folder(id);
        if !folder.exists() || folder.job()?.is_some() {
            return Ok(());
        }
        let groups = self.layout().named(id.as_str());
        kill_processes(&groups, None, LOOK);
        groups.remove(LOOK)?;
        folder.remove()
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn leads_up(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
