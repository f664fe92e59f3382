//! The launcher: the process that starts a job, such as `runway run` or the server.
//!
//! It claims the job's id, creates the job's directory and control groups, and starts the supervisor.

use crate::cgroup::{JobCgroups, Limits};
use crate::error::StartError;
use crate::gpu::{self, AssignedGpus};
use crate::job::{Job, Supervision, SupervisorConnection};
use crate::job_dir::JobDir;
use crate::machine::{Machine, Retention};
use crate::plan::{Process, RunAs, Sandbox, SupervisorPlan, SupervisorReply};
use crate::record::JobFile;
use crate::reexec::Role;
use crate::wire;
use runway_control::backend::CreateRequest;
use runway_control::{Env, SystemEnv};
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
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The default size of `/dev/shm`, as in container engines. A job with less memory gets the size of its
/// memory.
const DEFAULT_SHM: MemoryBytes = MemoryBytes::new(64 << 20);

/// Time limit of each rollback step: killing the processes of a failed start, and removing its control
/// groups.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

impl Job {
    /// Starts an admitted job. Returns after its limits and sandbox are set up and its program runs, or has
    /// failed to start.
    ///
    /// # Errors
    /// [`StartError`] if the job was not started. Everything that the start created is removed again.
    pub fn start(
        machine: &Machine,
        request: &CreateRequest,
        supervision: Supervision,
    ) -> Result<Self, StartError> {
        let process = job_process(request)?;
        if request.admitted.job().network == Network::Internal {
            return Err(StartError::UnsupportedNetwork);
        }
        let machine_lock = machine.lock_machine().map_err(StartError::LockMachine)?;
        let dir = claim_id(machine, request.id, &machine_lock)?;
        let job_start = JobStart { machine, request, supervision, dir };
        let started = job_start.start_locked(process, machine_lock);
        if started.is_err() {
            job_start.roll_back();
        }
        started
    }
}

/// Creates the directory of the job, which reserves the job's id. Deletes the remains of an interrupted start
/// with the same id first.
fn claim_id(machine: &Machine, id: JobId, machine_lock: &File) -> Result<JobDir, StartError> {
    let dir = machine.job_dir(id);
    for _ in 0..2 {
        match dir.create() {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StartError::CreateJobDir(error)),
        }
        if let Some((job, status)) = machine.read_job(id).map_err(StartError::ReadRecord)? {
            return Err(StartError::IdConflict(Box::new(job.to_snapshot(&status))));
        }
        machine.remove_partial(id, machine_lock).map_err(StartError::RemovePartial)?;
    }
    Err(StartError::Busy)
}

/// The start of one job whose id is claimed.
struct JobStart<'a> {
    machine: &'a Machine,
    request: &'a CreateRequest,
    supervision: Supervision,
    dir: JobDir,
}

impl JobStart<'_> {
    /// Starts the job. If this fails, the caller must call [`roll_back`](Self::roll_back).
    fn start_locked(&self, mut process: Process, machine_lock: File) -> Result<Job, StartError> {
        let lock = self.dir.create_lock().map_err(StartError::LockJobDir)?;
        let gpus = self.choose_gpus()?;
        let assigned = AssignedGpus::new(gpus.clone());
        process.env.extend(assigned.env_vars());
        let devices = assigned.device_files();
        let (cgroups, not_enforced) = self.create_cgroups(&devices)?;
        let record = self.record(gpus, cgroups, not_enforced);
        self.dir.write_job(&record).map_err(StartError::WriteRecord)?;
        // The record now reserves the id and the GPUs, so the machine lock is no longer needed.
        drop(machine_lock);
        let attached = self.spawn_supervisor(&self.plan(&record, process, devices), lock)?;
        Ok(Job::new(self.dir.clone(), record, attached))
    }

    /// Kills the processes in the control groups of a failed start. Deletes the control groups and the job's
    /// directory. A supervisor that still runs kills the job when its directory is missing.
    fn roll_back(&self) {
        let cgroups = self.machine.layout().existing(self.request.id.as_str());
        cgroups.kill_all(ROLLBACK_TIMEOUT);
        let _ = cgroups.remove(ROLLBACK_TIMEOUT);
        let _ = self.dir.remove();
    }

    /// Chooses free GPUs for the job.
    fn choose_gpus(&self) -> Result<Vec<String>, StartError> {
        let requested = self.request.admitted.job().resources.gpu;
        if requested == GpuCount::ZERO {
            return Ok(Vec::new());
        }
        let mut gpus = self.machine.free_gpus().map_err(StartError::ListGpus)?;
        let (free, count) = (gpus.len(), usize::try_from(requested.units()).unwrap_or(usize::MAX));
        if free < count {
            return Err(StartError::NotEnoughGpus {
                requested,
                free,
                total: self.machine.settings().gpus.len(),
            });
        }
        gpus.truncate(count);
        Ok(gpus)
    }

    /// Creates the job's control groups. Returns them with the limits that they do not enforce. With such
    /// limits, the start fails unless `best_effort` is set.
    fn create_cgroups(&self, devices: &[PathBuf]) -> Result<(JobCgroups, Vec<String>), StartError> {
        let (settings, resources) = (self.machine.settings(), &self.request.admitted.job().resources);
        let limits = Limits {
            cpu: resources.cpu,
            memory: resources.memory,
            // Init is in the control groups too, but does not count as a process of the job.
            pids: settings.max_pids.saturating_add(1),
            devices: devices.iter().filter_map(|device| gpu::device_number(device)).collect(),
        };
        let layout = self.machine.layout();
        let (cgroups, unenforced) = layout.create(self.request.id.as_str(), &limits);
        if !unenforced.is_empty() && !settings.best_effort {
            return Err(layout.not_enforced(&unenforced).into());
        }
        Ok((cgroups, unenforced.iter().map(ToString::to_string).collect()))
    }

    /// Returns the job's record.
    fn record(&self, gpus: Vec<String>, cgroups: JobCgroups, not_enforced: Vec<String>) -> JobFile {
        let (job, run) = (self.request.admitted.job(), self.request.policy.run_settings());
        JobFile {
            id: self.request.id,
            name: job.name.clone(),
            tenant: job.tenant.clone(),
            class: job.class.clone(),
            cpu: job.resources.cpu,
            memory: job.resources.memory,
            gpus,
            timeout: job.timeout,
            grace: run.termination_grace,
            retries: job.retries,
            created_at: SystemEnv.now(),
            quote: self.request.admitted.quote().clone(),
            spec_digest: self.request.admitted.spec_digest(),
            ttl_after_finished: run.ttl_after_finished,
            groups: cgroups,
            not_enforced,
            attached: self.supervision == Supervision::Attached,
        }
    }

    /// Returns the plan for the supervisor.
    fn plan(&self, record: &JobFile, process: Process, devices: Vec<PathBuf>) -> SupervisorPlan {
        let job = self.request.admitted.job();
        let storage = job.resources.ephemeral_storage;
        SupervisorPlan {
            job_dir: self.dir.path().to_owned(),
            attached: record.attached,
            timeout: record.timeout,
            grace: record.grace,
            retries: record.retries,
            max_storage_bytes: storage,
            max_log_bytes: MemoryBytes::new(storage.units() / 2).min(self.machine.settings().max_log_bytes),
            cgroups: record.groups.clone(),
            sandbox: Sandbox {
                hostname: job.name.as_str().to_owned(),
                open_network: job.network == Network::Open,
                run_as: RunAs::for_job(self.request.policy.run_settings().run_as_user),
                hidden_dirs: hidden_dirs(self.machine),
                shm_size: job.resources.shm.unwrap_or(DEFAULT_SHM.min(job.resources.memory)),
                devices,
            },
            process,
        }
    }

    /// Starts the supervisor and waits for its reply. The supervisor inherits the lock of the job's directory
    /// as its standard output. Returns the connection to the supervisor of an attached job.
    fn spawn_supervisor(
        &self,
        plan: &SupervisorPlan,
        lock: File,
    ) -> Result<Option<SupervisorConnection>, StartError> {
        let (socket, supervisor_end) = UnixStream::pair().map_err(StartError::CreateSocket)?;
        let mut supervisor = Role::Supervisor
            .command(&self.machine.settings().supervisor_program)
            .stdin(Stdio::from(OwnedFd::from(supervisor_end)))
            .stdout(Stdio::from(lock))
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(StartError::SpawnSupervisor)?;
        wire::send(&socket, plan).map_err(StartError::SendPlan)?;
        let error = match wire::receive(&socket).map_err(StartError::ReceiveReply)? {
            Some(SupervisorReply::Started) => None,
            Some(SupervisorReply::SandboxFailed(why)) => Some(StartError::SandboxFailed { reason: why }),
            None => Some(StartError::SupervisorExited),
        };
        if let Some(error) = error {
            let _ = supervisor.wait();
            return Err(error);
        }
        let connection = plan.attached.then(|| SupervisorConnection::open(socket)).transpose();
        let connection = connection.map_err(StartError::FollowSupervisor)?;
        self.reap_supervisor(supervisor, connection.as_ref()).map_err(StartError::FollowSupervisor)?;
        Ok(connection)
    }

    /// Waits for the supervisor's exit in a background thread, then recovers the job.
    fn reap_supervisor(
        &self,
        mut supervisor: Child,
        connection: Option<&SupervisorConnection>,
    ) -> std::io::Result<()> {
        let (machine, id) = (self.machine.clone(), self.request.id);
        let notifier = connection.map(SupervisorConnection::notifier);
        let thread = std::thread::Builder::new().name("runway-supervisor".to_owned()).stack_size(128 * 1024);
        thread.spawn(move || {
            let _ = supervisor.wait();
            // A killed supervisor has written no outcome.
            let _ = machine.recover_job(id, Retention::Attached);
            if let Some(bell) = notifier {
                bell.close();
            }
        })?;
        Ok(())
    }
}

/// Returns the job's command and its environment, without the variables for GPUs.
fn job_process(request: &CreateRequest) -> Result<Process, StartError> {
    let (job, spec) = (request.admitted.job(), request.admitted.spec());
    if spec.command.is_empty() {
        return Err(StartError::NoCommand);
    }
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env =
        vec![variable("RUNWAY_JOB_ID", request.id.as_str()), variable("RUNWAY_TENANT", job.tenant.as_str())];
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOME", "/tmp")] {
        if !spec.env.contains_key(name) && !spec.secrets.contains_key(name) {
            env.push(variable(name, value));
        }
    }
    env.extend(spec.env.iter().map(|(name, value)| variable(name, value)));
    for (name, secret) in &spec.secrets {
        match secret {
            Secret::Value(value) => env.push(variable(name, value)),
            Secret::FromEnv(from_env) => {
                return Err(StartError::UnresolvedSecret { name: name.clone(), from_env: from_env.clone() });
            }
        }
    }
    let command = spec.command.iter().chain(&spec.args).cloned().collect();
    Ok(Process { command, env, workdir: job.workdir.clone() })
}

/// Returns the directories to hide from jobs: the state directory, and the directory that `HOME` names in
/// this process.
fn hidden_dirs(machine: &Machine) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute() && home.parent().is_some());
    std::iter::once(machine.settings().state_dir.clone()).chain(home).collect()
}
