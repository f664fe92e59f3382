//! This machine: where its jobs are kept, how they are limited, and which GPUs there are.

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

/// One Linux machine that runs jobs. Clones are the same machine.
#[derive(Debug, Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: LocalSettings,
    layout: Layout,
}

/// Of which jobs what is known is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Of those that do not end with who started them: of another one nobody will ask.
    Detached,
    /// Of those as well, by who started them.
    Attached,
}

/// For so long whatever is left of a job may take to end before others are looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Machine {
    /// Opens the folder of jobs, and settles what an earlier process has left there: jobs that still run are left running, and
    /// of those whose supervisor was killed nothing is left but their outcome.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(mut settings: LocalSettings) -> Result<Self, OpenError> {
        if let Some(parent) = settings.cgroup_parent.as_deref().filter(|parent| leads_up(parent)) {
            return Err(OpenError::Parent { parent: parent.to_owned() });
        }
        let folder = settings.state.clone();
        private_folder(&folder.join("jobs"))
            .map_err(|source| OpenError::CreateFolder { folder: folder.clone(), source })?;
        // Links on the way to it would be other folders to a job.
        settings.state = folder
            .canonicalize()
            .map_err(|source| OpenError::ResolveFolder { folder: folder.clone(), source })?;
        // Named twice, one would be given to two.
        let mut named = BTreeSet::new();
        settings.gpus.retain(|gpu| !gpu.is_empty() && named.insert(gpu.clone()));
        let layout = Layout::discover(settings.cgroup_parent.as_deref()).map_err(OpenError::Groups)?;
        let machine = Self { inner: Arc::new(Inner { settings, layout }) };
        machine.sweep().map_err(|source| OpenError::RemoveOld { folder: folder.clone(), source })?;
        machine.settle().map_err(|source| OpenError::ListJobs { folder, source })?;
        Ok(machine)
    }

    /// How jobs are run here.
    #[must_use]
    pub fn settings(&self) -> &LocalSettings {
        &self.inner.settings
    }

    /// Tries with a control group, which is taken away, whether limits can be enforced here.
    ///
    /// # Errors
    /// [`NotEnforced`]
    pub fn try_limits(&self) -> Result<(), NotEnforced> {
        let limits = Limits {
            cpu: CpuMillis::new(1000),
            memory: MemoryBytes::new(1 << 30),
            pids: self.inner.settings.pids,
            devices: Vec::new(),
        };
        let (groups, missing) = self.layout().make(&format!("trial-{}", std::process::id()), &limits);
        if let Err(error) = groups.remove(LOOK) {
            tracing::warn!(%error, "a control group is left");
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

    /// The ids of all jobs that are kept.
    pub(crate) fn ids(&self) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.jobs())? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// What stands in the folder of a job. `None` where there is none, or none yet.
    pub(crate) fn read(&self, id: JobId) -> io::Result<Option<(JobFile, StatusFile)>> {
        let folder = self.folder(id);
        let Some(job) = folder.job()? else { return Ok(None) };
        Ok(Some((job, folder.status()?.unwrap_or_default())))
    }

    /// Keeps others from creating jobs and giving GPUs away meanwhile, for as long as the file is held.
    pub(crate) fn exclusively(&self) -> io::Result<File> {
        let file = lock_file(&self.inner.settings.state.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Says that this process serves the jobs, for as long as the file is held.
    pub(crate) fn claim(&self) -> Result<File, OpenError> {
        let folder = self.inner.settings.state.clone();
        let locked = lock_file(&folder.join("server")).map_err(TryLockError::Error);
        match locked.and_then(|file| file.try_lock().map(|()| file)) {
            Ok(file) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::Served { folder }),
            Err(TryLockError::Error(source)) => Err(OpenError::LockServer { folder, source }),
        }
    }

    /// The GPUs that no job has.
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

    /// Takes away what somebody was taking away when they were killed.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.jobs())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(REMOVED) {
                tree::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Settles what has no supervisor any more, and takes away what has been kept long enough.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let now = System.now();
        for id in self.ids()? {
            let settled = self.settle_job(id, Keep::Detached).and_then(|()| match self.read(id)? {
                Some((job, status)) if status.is_over(job.kept, now) => self.folder(id).remove(),
                _ => Ok(()),
            });
            if let Err(error) = settled {
                // One folder that is broken is no reason to leave the others.
                tracing::warn!(job = %id, %error, "what is left of the job cannot be settled");
            }
        }
        Ok(())
    }

    /// Settles a job whose supervisor is gone: nothing is left of it but what is known.
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
            // It has a supervisor, or has just left.
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
            // It holds what it has; the next one who looks tries again.
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

    /// Takes away what is left of a creation that was broken off, and of a job whose record was lost. Whoever creates a job holds the
    /// machine's lock until it is written down, so with that lock one that is not is nobody's.
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
