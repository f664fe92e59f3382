//! The launcher: the process that starts a job, such as `runway run` or the server.
//!
//! It claims the job's id, creates the job's directory and control groups, and starts the supervisor.

use crate::cgroup::{Groups, Limits};
use crate::error::StartError;
use crate::folder::Folder;
use crate::gpu::{self, Given};
use crate::job::{Attached, Job, Supervision};
use crate::machine::{Keep, Machine};
use crate::plan::{Answer, Plan, Process, Sandbox, User};
use crate::record::JobFile;
use crate::reexec::Role;
use crate::wire;
use runway_control::backend::Order;
use runway_control::{Surroundings, System};
use runway_core::JobId;
use runway_core::policy::Network;
use runway_core::spec::Secret;
use runway_core::units::{GpuCount, MemoryBytes};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The `PATH` of a job that does not set it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The default size of `/dev/shm`, as in container engines.
const SHM: MemoryBytes = MemoryBytes::new(64 << 20);

/// Time limit for killing and removing the remains of a failed start.
const UNDO: Duration = Duration::from_secs(5);

impl Job {
    /// Starts an admitted job. Returns after its limits and sandbox are set up and its program runs, or has
    /// failed to start.
    ///
    /// # Errors
    /// [`StartError`] if the job was not started. No files, processes or control groups of it remain.
    pub fn start(machine: &Machine, order: &Order, supervision: Supervision) -> Result<Self, StartError> {
        let process = process(order)?;
        if order.admitted.job().network == Network::Internal {
            return Err(StartError::Network);
        }
        let exclusive = machine.exclusively().map_err(StartError::LockMachine)?;
        let folder = claim_id(machine, order.id, &exclusive)?;
        let start = Start { machine, order, supervision, folder };
        let started = start.begin(process, exclusive);
        if started.is_err() {
            start.undo();
        }
        started
    }
}

/// Creates the directory of the job, which reserves its id.
fn claim_id(machine: &Machine, id: JobId, exclusive: &File) -> Result<Folder, StartError> {
    let folder = machine.folder(id);
    for _ in 0..2 {
        match folder.make() {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StartError::CreateFolder(error)),
        }
        if let Some((job, status)) = machine.read(id).map_err(StartError::ReadRecord)? {
            return Err(StartError::Taken(Box::new(job.observe(&status))));
        }
        machine.clear_broken(id, exclusive).map_err(StartError::RemovePartial)?;
    }
    Err(StartError::Busy)
}

/// The start of one job whose id is claimed.
struct Start<'a> {
    machine: &'a Machine,
    order: &'a Order,
    supervision: Supervision,
    folder: Folder,
}

impl Start<'_> {
    /// Starts the job. If this fails, the caller must call [`roll_back`](Self::roll_back).
    fn begin(&self, mut process: Process, exclusive: File) -> Result<Job, StartError> {
        let lock = self.folder.make_lock().map_err(StartError::LockFolder)?;
        let gpus = self.choose_gpus()?;
        let given = Given::new(gpus.clone());
        process.env.extend(given.variables());
        let devices = given.files();
        let (groups, not_enforced) = self.create_groups(&devices)?;
        let file = self.record(gpus, groups, not_enforced);
        self.folder.write_job(&file).map_err(StartError::WriteRecord)?;
        // The record now shows who owns the id and the GPUs.
        drop(exclusive);
        let attached = self.spawn_supervisor(&self.plan(&file, process, devices), lock)?;
        Ok(Job::new(self.folder.clone(), file, attached))
    }

    /// Deletes the control groups and the directory of a failed start. A started supervisor has already ended
    /// its processes.
    fn undo(&self) {
        let groups = self.machine.layout().named(self.order.id.as_str());
        groups.kill_all(UNDO);
        let _ = groups.remove(UNDO);
        let _ = self.folder.remove();
    }

    /// Chooses free GPUs for the job.
    fn choose_gpus(&self) -> Result<Vec<String>, StartError> {
        let wanted = self.order.admitted.job().resources.gpu;
        if wanted == GpuCount::ZERO {
            return Ok(Vec::new());
        }
        let mut gpus = self.machine.free_gpus().map_err(StartError::ListGpus)?;
        let (free, count) = (gpus.len(), usize::try_from(wanted.units()).unwrap_or(usize::MAX));
        if free < count {
            return Err(StartError::Gpus { wanted, free, all: self.machine.settings().gpus.len() });
        }
        gpus.truncate(count);
        Ok(gpus)
    }

    /// Creates the job's control groups. Returns the limits that they do not enforce.
    fn create_groups(&self, devices: &[PathBuf]) -> Result<(Groups, Vec<String>), StartError> {
        let (settings, resources) = (self.machine.settings(), &self.order.admitted.job().resources);
        let limits = Limits {
            cpu: resources.cpu,
            memory: resources.memory,
            // Init is in the control groups too, but does not count as a process of the job.
            pids: settings.pids.saturating_add(1),
            devices: devices.iter().filter_map(|device| gpu::number(device)).collect(),
        };
        let layout = self.machine.layout();
        let (groups, missing) = layout.make(self.order.id.as_str(), &limits);
        if !missing.is_empty() && !settings.best_effort {
            return Err(layout.not_enforced(&missing).into());
        }
        Ok((groups, missing.iter().map(ToString::to_string).collect()))
    }

    /// Returns the job's record.
    fn record(&self, gpus: Vec<String>, groups: Groups, not_enforced: Vec<String>) -> JobFile {
        let (job, run) = (self.order.admitted.job(), self.order.policy.run());
        JobFile {
            id: self.order.id,
            name: job.name.clone(),
            tenant: job.tenant.clone(),
            class: job.class.clone(),
            cpu: job.resources.cpu,
            memory: job.resources.memory,
            gpus,
            timeout: job.timeout,
            grace: run.termination_grace,
            retries: job.retries,
            created_at: System.now(),
            quote: self.order.admitted.quote().clone(),
            spec_digest: self.order.admitted.spec_digest(),
            kept: run.ttl_after_finished,
            groups,
            not_enforced,
            attached: self.supervision == Supervision::Attached,
        }
    }

    /// Returns the plan for the supervisor.
    fn plan(&self, file: &JobFile, process: Process, devices: Vec<PathBuf>) -> Plan {
        let job = self.order.admitted.job();
        let storage = job.resources.ephemeral_storage;
        Plan {
            folder: self.folder.path().to_owned(),
            attached: file.attached,
            timeout: file.timeout,
            grace: file.grace,
            retries: file.retries,
            storage,
            log: MemoryBytes::new(storage.units() / 2).min(self.machine.settings().log),
            groups: file.groups.clone(),
            sandbox: Sandbox {
                hostname: job.name.as_str().to_owned(),
                open_network: job.network == Network::Open,
                user: User::of_jobs(self.order.policy.run().run_as_user),
                hidden: hidden_folders(self.machine),
                shm: job.resources.shm.unwrap_or(SHM.min(job.resources.memory)),
                devices,
            },
            process,
        }
    }

    /// Starts the supervisor and waits for its reply. The supervisor inherits the lock of the job's
    /// directory.
    fn spawn_supervisor(&self, plan: &Plan, lock: File) -> Result<Option<Attached>, StartError> {
        let (socket, end) = UnixStream::pair().map_err(StartError::CreateSocket)?;
        let mut supervisor = Role::Supervisor
            .command(&self.machine.settings().program)
            .stdin(Stdio::from(OwnedFd::from(end)))
            .stdout(Stdio::from(lock))
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(StartError::SpawnSupervisor)?;
        wire::send(&socket, plan).map_err(StartError::SendPlan)?;
        let refused = match wire::receive(&socket).map_err(StartError::ReceiveReply)? {
            Some(Answer::Started) => None,
            Some(Answer::Refused(why)) => Some(StartError::NoWalls { why }),
            None => Some(StartError::SupervisorExited),
        };
        if let Some(refused) = refused {
            let _ = supervisor.wait();
            return Err(refused);
        }
        let attached = plan.attached.then(|| Attached::listen(socket)).transpose();
        let attached = attached.map_err(StartError::FollowSupervisor)?;
        self.reap(supervisor, attached.as_ref()).map_err(StartError::FollowSupervisor)?;
        Ok(attached)
    }

    /// Waits for the supervisor's exit in a background thread, then recovers the job.
    fn reap(&self, mut supervisor: Child, attached: Option<&Attached>) -> std::io::Result<()> {
        let (machine, id) = (self.machine.clone(), self.order.id);
        let bell = attached.map(Attached::bell);
        let thread = std::thread::Builder::new().name("runway-supervisor".to_owned()).stack_size(128 * 1024);
        thread.spawn(move || {
            let _ = supervisor.wait();
            // A killed supervisor has written no outcome.
            let _ = machine.settle_job(id, Keep::Attached);
            if let Some(bell) = bell {
                bell.end();
            }
        })?;
        Ok(())
    }
}

/// Returns the job's command and its complete environment.
fn process(order: &Order) -> Result<Process, StartError> {
    let (job, spec) = (order.admitted.job(), order.admitted.spec());
    if spec.command.is_empty() {
        return Err(StartError::NoCommand);
    }
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env = vec![own("RUNWAY_JOB_ID", order.id.as_str()), own("RUNWAY_TENANT", job.tenant.as_str())];
    for (name, value) in [("PATH", PATH), ("HOME", "/tmp")] {
        if !spec.env.contains_key(name) && !spec.secrets.contains_key(name) {
            env.push(own(name, value));
        }
    }
    env.extend(spec.env.iter().map(|(name, value)| own(name, value)));
    for (name, secret) in &spec.secrets {
        match secret {
            Secret::Value(value) => env.push(own(name, value)),
            Secret::FromEnv(from_env) => {
                return Err(StartError::UnresolvedSecret { name: name.clone(), from_env: from_env.clone() });
            }
        }
    }
    let command = spec.command.iter().chain(&spec.args).cloned().collect();
    Ok(Process { command, env, workdir: job.workdir.clone() })
}

/// Returns the directories to hide from jobs: the state directory and the home of the user that starts them.
fn hidden_folders(machine: &Machine) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute() && home.parent().is_some());
    std::iter::once(machine.settings().state.clone()).chain(home).collect()
}
