//! The start of a job: its folder, its control groups, its supervisor.

use crate::bell::Bell;
use crate::cgroup::{Limits, NotEnforced};
use crate::folder::Folder;
use crate::gpu::{self, Given};
use crate::job::{Attached, Job, Supervision};
use crate::machine::{Keep, Machine};
use crate::plan::{Answer, Plan, Process, Sandbox};
use crate::record::JobFile;
use crate::reexec::Role;
use crate::wire;
use runway_control::backend::Order;
use runway_control::{Observation, Surroundings, System};
use runway_core::JobId;
use runway_core::policy::Network;
use runway_core::spec::Secret;
use runway_core::units::{GpuCount, MemoryBytes};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Why a job was not started. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is a job of this id.
    #[error("there is a job of this id already")]
    Taken(Box<Observation>),
    /// A job of this id is being created by somebody else, or left just now.
    #[error("a job of this id is being created or removed just now")]
    Busy,
    /// It says nothing to run.
    #[error("the job has no `command`: its image is not used here, so there is nothing to run")]
    NoCommand,
    /// It wants a network that cannot be made here.
    #[error(
        "the network `internal` cannot be kept apart from the others on one machine: ask for `none`, or for `open` where the \
         policy allows it"
    )]
    Network,
    /// A secret has no value.
    #[error("the secret `{name}` has no value yet: the environment variable `{from_env}` must be read first")]
    UnresolvedSecret {
        /// The name of the secret.
        name: String,
        /// The variable it comes from.
        from_env: String,
    },
    /// The GPUs are not there, or not free.
    #[error("the job asks for {wanted} GPUs, and {free} of this machine's {all} are free")]
    Gpus {
        /// How many it asks for.
        wanted: GpuCount,
        /// How many are free.
        free: usize,
        /// How many there are.
        all: usize,
    },
    /// A limit cannot be enforced.
    #[error(transparent)]
    NotEnforced(#[from] NotEnforced),
    /// The job cannot be kept apart from the machine.
    #[error("the job cannot be kept apart from this machine: {why}")]
    NoWalls {
        /// Why not.
        why: String,
    },
    /// Something of Runway's own failed.
    #[error("{doing}")]
    Io {
        /// What it was.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What a job finds in its environment whether it names it or not, unless it does.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The size of `/dev/shm` where the job does not say; container engines have the same.
const SHM: MemoryBytes = MemoryBytes::new(64 << 20);

/// Starts what was admitted, or leaves nothing of it.
pub(crate) fn start(machine: &Machine, order: &Order, supervision: Supervision) -> Result<Job, StartError> {
    let process = process(order)?;
    if order.admitted.job().network == Network::Internal {
        return Err(StartError::Network);
    }
    let folder = machine.folder(order.id);
    let exclusive = machine.exclusively();
    let exclusive =
        exclusive.map_err(|source| StartError::Io { doing: "locking the folder of jobs", source })?;
    make_folder(machine, order.id, &folder, &exclusive)?;
    match begin(machine, order, supervision, &folder, process, exclusive) {
        Ok(job) => Ok(job),
        Err(error) => {
            // A supervisor that was started has ended what it began.
            let groups = machine.layout().named(order.id.as_str());
            groups.kill_all(Duration::from_secs(5));
            let _ = groups.remove(Duration::from_secs(5));
            let _ = folder.remove();
            Err(error)
        }
    }
}

/// Makes the folder of a job, which nobody else can then.
fn make_folder(machine: &Machine, id: JobId, folder: &Folder, exclusive: &File) -> Result<(), StartError> {
    let failed = |source| StartError::Io { doing: "making the job's folder", source };
    for _ in 0..2 {
        match folder.make() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result.map_err(failed),
        }
        if let Some((job, status)) = machine.read(id).map_err(failed)? {
            return Err(StartError::Taken(Box::new(job.observe(&status))));
        }
        machine.clear_broken(id, exclusive).map_err(failed)?;
    }
    Err(StartError::Busy)
}

fn begin(
    machine: &Machine,
    order: &Order,
    supervision: Supervision,
    folder: &Folder,
    mut process: Process,
    exclusive: File,
) -> Result<Job, StartError> {
    let io = |doing| move |source| StartError::Io { doing, source };
    let lock = folder.make_lock().map_err(io("locking the job's folder"))?;
    let settings = machine.settings();
    let (job, run) = (order.admitted.job(), order.policy.run());
    let wanted = job.resources.gpu;
    let free = if wanted == GpuCount::ZERO {
        Vec::new()
    } else {
        machine.free_gpus().map_err(io("counting the GPUs"))?
    };
    let gpus: Vec<_> =
        free.iter().take(usize::try_from(wanted.units()).unwrap_or(usize::MAX)).cloned().collect();
    if u64::try_from(gpus.len()).unwrap_or(u64::MAX) < wanted.units() {
        return Err(StartError::Gpus { wanted, free: free.len(), all: settings.gpus.len() });
    }
    let given = Given::new(gpus.clone());
    process.env.extend(given.variables());
    let devices = given.files();
    let limits = Limits {
        cpu: job.resources.cpu,
        memory: job.resources.memory,
        // Those that stand round it are not the job's.
        pids: settings.pids.saturating_add(1),
        devices: devices.iter().filter_map(|device| gpu::number(device)).collect(),
    };
    let (groups, missing) = machine.layout().make(order.id.as_str(), &limits);
    if !missing.is_empty() && !settings.best_effort {
        return Err(machine.layout().not_enforced(&missing).into());
    }
    let file = JobFile {
        id: order.id,
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
        quote: order.admitted.quote().clone(),
        spec_digest: order.admitted.spec_digest(),
        kept: run.ttl_after_finished,
        groups: groups.clone(),
        not_enforced: missing.iter().map(ToString::to_string).collect(),
        attached: supervision == Supervision::Attached,
    };
    folder.write_job(&file).map_err(io("writing down the job"))?;
    // Now it can be seen whose the folder and the GPUs are.
    drop(exclusive);
    let storage = job.resources.ephemeral_storage;
    let plan = Plan {
        folder: folder.path().to_owned(),
        attached: file.attached,
        timeout: file.timeout,
        grace: file.grace,
        retries: file.retries,
        storage,
        log: MemoryBytes::new(storage.units() / 2).min(settings.log),
        groups,
        sandbox: Sandbox {
            hostname: job.name.as_str().to_owned(),
            open_network: job.network == Network::Open,
            user: machine.user(run.run_as_user),
            hidden: hidden_folders(machine),
            shm: job.resources.shm.unwrap_or(SHM.min(job.resources.memory)),
            devices,
        },
        process,
    };
    let attached = supervise(machine, order.id, &plan, lock)?;
    Ok(Job { folder: folder.clone(), file, attached })
}

/// Starts the supervisor, which holds the lock of the job's folder from now on, and waits for its answer.
fn supervise(machine: &Machine, id: JobId, plan: &Plan, lock: File) -> Result<Option<Attached>, StartError> {
    let io = |doing| move |source| StartError::Io { doing, source };
    let (line, end) = UnixStream::pair().map_err(io("making a line to the supervisor"))?;
    let mut supervisor = Role::Supervisor
        .command(&machine.settings().program)
        .stdin(Stdio::from(OwnedFd::from(end)))
        .stdout(Stdio::from(lock))
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(io("starting the supervisor"))?;
    wire::send(&line, plan).map_err(io("telling the supervisor what to do"))?;
    let answer = wire::receive::<Answer>(&line).map_err(io("hearing from the supervisor"))?;
    let refused = match answer {
        Some(Answer::Started) => None,
        Some(Answer::Refused(why)) => Some(StartError::NoWalls { why }),
        None => Some(StartError::Io {
            doing: "the supervisor ended before the job began",
            source: ErrorKind::UnexpectedEof.into(),
        }),
    };
    if let Some(refused) = refused {
        let _ = supervisor.wait();
        return Err(refused);
    }
    let attached = plan.attached.then(|| Attached { line, bell: Arc::new(Bell::default()) });
    let thread = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024);
    let waiting = io("waiting for the supervisor");
    if let Some(Attached { line, bell }) = &attached {
        let (mut line, bell) = (line.try_clone().map_err(&waiting)?, Arc::clone(bell));
        let ring = move || {
            let mut what = [0; 64];
            while line.read(&mut what).is_ok_and(|count| count > 0) {
                bell.ring();
            }
            bell.ring();
        };
        thread("runway-bell").spawn(ring).map_err(&waiting)?;
    }
    let (machine, bell) = (machine.clone(), attached.as_ref().map(|attached| Arc::clone(&attached.bell)));
    let bury = move || {
        let _ = supervisor.wait();
        // If it was killed, somebody has to tell the outcome.
        let _ = machine.settle_job(id, Keep::Attached);
        if let Some(bell) = bell {
            bell.end();
        }
    };
    thread("runway-supervisor").spawn(bury).map_err(&waiting)?;
    Ok(attached)
}

/// The job's command and all of its variables.
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

/// What no job is to see beside what it never does: other jobs' folders, and the home of who starts it.
fn hidden_folders(machine: &Machine) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute() && home.parent().is_some());
    std::iter::once(machine.settings().state.clone()).chain(home).collect()
}
