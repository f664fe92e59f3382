//! The messages between the processes of a job. Commands and environments are sent only in these messages,
//! never written to disk.

use crate::cgroup::JobCgroups;
use runway_core::units::{MemoryBytes, Seconds};
use rustix::process::{getgid, getuid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The instructions for a supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SupervisorPlan {
    /// The job's directory.
    pub job_dir: PathBuf,
    /// Whether the job is cancelled when its launcher exits.
    pub attached: bool,
    /// Maximum duration of the job, with all its attempts.
    pub timeout: Seconds,
    /// The time between the signal to stop and the kill.
    pub grace: Seconds,
    /// Maximum number of further attempts after a failed one.
    pub retries: u32,
    /// The limit of the job's disk usage, output included.
    pub max_storage_bytes: MemoryBytes,
    /// The limit of the job's output.
    pub max_log_bytes: MemoryBytes,
    /// The job's control groups.
    pub cgroups: JobCgroups,
    /// The sandbox around the job's process.
    pub sandbox: Sandbox,
    /// The job's process.
    pub process: Process,
}

/// The sandbox around a job's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// The host name inside the sandbox.
    pub hostname: String,
    /// Whether the job uses the network of the machine. Otherwise it has a loopback interface only.
    pub open_network: bool,
    /// The user that the job runs as.
    pub run_as: RunAs,
    /// Directories that appear empty to this job, in addition to the ones that are hidden from every job.
    pub hidden_dirs: Vec<PathBuf>,
    /// The size of `/dev/shm`.
    pub shm_size: MemoryBytes,
    /// The device files of the job, in addition to the default devices.
    pub devices: Vec<PathBuf>,
}

/// The user that a job runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunAs {
    /// Another user. Requires root.
    Other {
        /// The user id, which is also the group id.
        id: u32,
    },
    /// The user that starts the job, in a user namespace.
    Caller {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
}

impl RunAs {
    /// Returns `run_as_user` if this process is root, and otherwise the user of this process.
    pub(crate) fn for_job(run_as_user: u32) -> Self {
        if getuid().is_root() {
            Self::Other { id: run_as_user }
        } else {
            Self::Caller { uid: getuid().as_raw(), gid: getgid().as_raw() }
        }
    }
}

/// A job's process. Its `Debug` output shows only counts.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The complete environment.
    pub env: Vec<(String, String)>,
    /// The working directory, or `None` for the default one.
    pub workdir: Option<String>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arguments, variables) = (self.command.len(), self.env.len());
        write!(f, "Process({arguments} arguments, {variables} variables)")
    }
}

/// The reply of the supervisor to its plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SupervisorReply {
    /// The job has started: its program runs, has already ended, or could not be started.
    Started,
    /// The sandbox could not be set up, or another step before the start failed. Nothing was run.
    SandboxFailed(String),
}

/// The instructions for the entry process, which creates a user namespace.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EntryPlan {
    /// The pid of the supervisor.
    pub supervisor_pid: u32,
    /// The user id to map into the namespace.
    pub uid: u32,
    /// The group id to map into the namespace.
    pub gid: u32,
}

/// The instructions for init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InitPlan {
    /// The files to write to in order to join the control groups.
    pub procs_files: Vec<PathBuf>,
    /// The sandbox to set up.
    pub sandbox: Sandbox,
    /// The directory that becomes `/tmp`.
    pub files_dir: PathBuf,
    /// The process to run.
    pub process: Process,
}

/// A report to the supervisor from the processes that it started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ChildReport {
    /// Init is started. The value is the pid of init outside of the job's namespaces.
    InitStarted(u32),
    /// The sandbox could not be set up.
    SandboxFailed(String),
    /// The job's process runs.
    Running,
    /// The job's process could not be started.
    NotStarted {
        /// The reason.
        message: String,
        /// The exit code that a shell would return.
        code: i32,
    },
    /// The job's process exited with this code.
    Exited(i32),
    /// The job's process was killed by this signal.
    Signaled(i32),
}
