//! A machine that runs jobs: its state directory, its control groups and its GPUs.

use crate::cgroup::{CgroupLayout, Limits, NotEnforced};
use crate::error::OpenError;
use crate::job_dir::{JobDir, REMOVED_PREFIX};
use crate::process::kill_processes;
use crate::record::{JobFile, StatusFile};
use crate::settings::LocalSettings;
use crate::usage::Usage;
use crate::{output, tree};
use runway_control::{Env, SystemEnv};
use runway_core::JobId;
use runway_core::status::LocalTermination;
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
    layout: CgroupLayout,
}

/// Which job directories the recovery of a job keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Directories of detached jobs only. The directory of an attached job is deleted, because only the
    /// launcher of the job reads the outcome.
    Detached,
    /// Directories of attached jobs too. The launcher uses this value for its own job, because it still reads
    /// the outcome.
    Attached,
}

/// Time limit of each cleanup step: killing the processes of one job, and removing its control groups.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(1);

impl Machine {
    /// Opens the state directory and recovers the jobs in it. A job with a running supervisor continues. If
    /// the supervisor of a job was killed, the job's processes are killed too, and its outcome is written.
    ///
    /// # Errors
    /// [`OpenError`] if the settings, the state directory or the control groups cannot be used.
    pub fn open(mut settings: LocalSettings) -> Result<Self, OpenError> {
        if let Some(parent) = settings.cgroup_parent.as_deref().filter(|parent| has_parent_component(parent))
        {
            return Err(OpenError::InvalidCgroupParent { parent: parent.to_owned() });
        }
        let state_dir = settings.state_dir.clone();
        create_private_dirs(&state_dir.join("jobs"))
            .map_err(|source| OpenError::CreateStateDir { state_dir: state_dir.clone(), source })?;
        // The sandbox hides the state directory by its path, so symbolic links in the path are resolved
        // first.
        settings.state_dir = state_dir
            .canonicalize()
            .map_err(|source| OpenError::ResolveStateDir { state_dir: state_dir.clone(), source })?;
        // A GPU that is listed twice would count as two free GPUs. An empty id names no GPU.
        let mut seen_ids = BTreeSet::new();
        settings.gpus.retain(|gpu| !gpu.is_empty() && seen_ids.insert(gpu.clone()));
        let layout =
            CgroupLayout::discover(settings.cgroup_parent.as_deref()).map_err(OpenError::ReadCgroups)?;
        let machine = Self { inner: Arc::new(Inner { settings, layout }) };
        machine
            .purge_removed()
            .map_err(|source| OpenError::RemoveOld { state_dir: state_dir.clone(), source })?;
        machine.recover().map_err(|source| OpenError::ListJobs { state_dir, source })?;
        Ok(machine)
    }

    /// The settings of this machine.
    #[must_use]
    pub fn settings(&self) -> &LocalSettings {
        &self.inner.settings
    }

    /// Checks whether limits can be enforced, by creating temporary control groups.
    ///
    /// # Errors
    /// [`NotEnforced`] with the limits that cannot be enforced.
    pub fn try_limits(&self) -> Result<(), NotEnforced> {
        let limits = Limits {
            cpu: CpuMillis::new(1000),
            memory: MemoryBytes::new(1 << 30),
            pids: self.inner.settings.max_pids,
            devices: Vec::new(),
        };
        let (cgroups, unenforced) = self.layout().create(&format!("trial-{}", std::process::id()), &limits);
        if let Err(error) = cgroups.remove(CLEANUP_TIMEOUT) {
            tracing::warn!(%error, "cannot delete the temporary control group");
        }
        if unenforced.is_empty() { Ok(()) } else { Err(self.layout().not_enforced(&unenforced)) }
    }

    pub(crate) fn layout(&self) -> &CgroupLayout {
        &self.inner.layout
    }

    pub(crate) fn jobs_dir(&self) -> PathBuf {
        self.inner.settings.state_dir.join("jobs")
    }

    pub(crate) fn job_dir(&self, id: JobId) -> JobDir {
        JobDir::for_job(&self.jobs_dir(), id)
    }

    /// Returns the ids of all jobs in the state directory, sorted.
    pub(crate) fn job_ids(&self) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.jobs_dir())? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads the record and the status of a job. Returns `None` if the record is missing or truncated.
    pub(crate) fn read_job(&self, id: JobId) -> io::Result<Option<(JobFile, StatusFile)>> {
        let dir = self.job_dir(id);
        let Some(job) = dir.read_job()? else { return Ok(None) };
        Ok(Some((job, dir.read_status()?.unwrap_or_default())))
    }

    /// Locks the machine, and waits while another caller holds the lock. Until the returned file is closed,
    /// no other caller can claim a job's id or assign GPUs.
    pub(crate) fn lock_machine(&self) -> io::Result<File> {
        let file = open_lock_file(&self.inner.settings.state_dir.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Locks the state directory for one server, until the returned file is closed. Fails if another server
    /// holds the lock.
    pub(crate) fn lock_server(&self) -> Result<File, OpenError> {
        let state_dir = self.inner.settings.state_dir.clone();
        let locked = open_lock_file(&state_dir.join("server")).map_err(TryLockError::Error);
        match locked.and_then(|file| file.try_lock().map(|()| file)) {
            Ok(file) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::AlreadyServed { state_dir }),
            Err(TryLockError::Error(source)) => Err(OpenError::LockServer { state_dir, source }),
        }
    }

    /// Returns the GPUs that are not assigned to an unfinished job.
    pub(crate) fn free_gpus(&self) -> io::Result<Vec<String>> {
        let mut free = self.inner.settings.gpus.clone();
        for id in self.job_ids()? {
            if let Some((job, status)) = self.read_job(id)?
                && status.finished_at.is_none()
            {
                free.retain(|gpu| !job.gpus.contains(gpu));
            }
        }
        Ok(free)
    }

    /// Deletes job directories whose deletion was interrupted.
    fn purge_removed(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.jobs_dir())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(REMOVED_PREFIX) {
                tree::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Recovers every job in the state directory, as in [`recover_job`](Self::recover_job), and deletes
    /// expired job directories.
    pub(crate) fn recover(&self) -> io::Result<()> {
        let now = SystemEnv.now();
        for id in self.job_ids()? {
            let result =
                self.recover_job(id, Retention::Detached).and_then(|()| match self.read_job(id)? {
                    Some((job, status)) if status.is_expired(job.ttl_after_finished, now) => {
                        self.job_dir(id).remove()
                    }
                    _ => Ok(()),
                });
            if let Err(error) = result {
                // A broken job directory must not block the recovery of the other jobs.
                tracing::warn!(job = %id, %error, "cannot recover the job");
            }
        }
        Ok(())
    }

    /// Recovers a job whose supervisor has exited without an outcome. Kills the job's processes, removes its
    /// control groups and temporary files, and writes the outcome.
    ///
    /// Deletes the job's directory if it has no record, or if `retention` does not keep it. Does nothing if
    /// the job is finished, or if another process holds the lock of its directory.
    pub(crate) fn recover_job(&self, id: JobId, retention: Retention) -> io::Result<()> {
        let dir = self.job_dir(id);
        if !dir.exists() {
            return Ok(());
        }
        if dir.read_job()?.is_none() {
            return self.remove_partial(id, &self.lock_machine()?);
        }
        if dir.read_status()?.is_some_and(|status| status.finished_at.is_some()) {
            return Ok(());
        }
        let lock = match dir.try_lock() {
            Ok(Some(lock)) => lock,
            // A supervisor that still runs holds the lock, or another process is recovering the job.
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(job) = dir.read_job()? else { return Ok(()) };
        let mut status = dir.read_status()?.unwrap_or_default();
        if status.finished_at.is_some() {
            return Ok(());
        }
        if !kill_processes(&job.groups, status.init, CLEANUP_TIMEOUT) {
            // The job still occupies its resources. The next recovery retries.
            return Ok(());
        }
        let wall = Duration::from_nanos(SystemEnv.now().nanos_since(job.created_at));
        status.usage = Usage::measure(wall, &job.groups);
        job.groups.remove(CLEANUP_TIMEOUT)?;
        tree::remove(&dir.files_dir())?;
        let now = SystemEnv.now();
        if let Some(last) = status.attempts.last_mut().filter(|last| last.termination.is_none()) {
            last.termination = Some(LocalTermination::Lost);
            last.ended.get_or_insert(now);
        }
        status.finished_at = Some(now);
        output::finish_abandoned(&dir.log_dir())?;
        dir.write_status(&status)?;
        drop(lock);
        if job.attached && retention == Retention::Detached { dir.remove() } else { Ok(()) }
    }

    /// Deletes the directory of an interrupted start, or of a job whose record was lost. Kills the job's
    /// processes first.
    ///
    /// The caller must hold the machine lock. A launcher holds it until the job's record is written, so a
    /// directory without a record belongs to no running launcher.
    pub(crate) fn remove_partial(&self, id: JobId, _machine_lock: &File) -> io::Result<()> {
        let dir = self.job_dir(id);
        if !dir.exists() || dir.read_job()?.is_some() {
            return Ok(());
        }
        let cgroups = self.layout().existing(id.as_str());
        kill_processes(&cgroups, None, CLEANUP_TIMEOUT);
        cgroups.remove(CLEANUP_TIMEOUT)?;
        dir.remove()
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn has_parent_component(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

fn create_private_dirs(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
