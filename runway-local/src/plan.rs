//! What the processes of a job tell each other. Commands and variables go this way and no other: they never touch a disk.

use crate::cgroup::Groups;
use runway_core::units::{MemoryBytes, Seconds};
use rustix::process::{getgid, getuid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What a supervisor is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The job's folder.
    pub folder: PathBuf,
    /// Whether the job ends when the process that started it does.
    pub attached: bool,
    /// How long it may take, retries included.
    pub timeout: Seconds,
    /// How long it has to end after it was asked to.
    pub grace: Seconds,
    /// How often a failed attempt is repeated.
    pub retries: u32,
    /// What it may take on disk, its output included.
    pub storage: MemoryBytes,
    /// How much of its output is kept.
    pub log: MemoryBytes,
    /// Its control groups.
    pub groups: Groups,
    /// What is round its process.
    pub sandbox: Sandbox,
    /// Its process.
    pub process: Process,
}

/// What is round a job's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// How the machine is called inside.
    pub hostname: String,
    /// Whether it has the machine's own network; otherwise none.
    pub open_network: bool,
    /// Who it runs as.
    pub user: User,
    /// Folders that it sees empty, beside those that no job sees.
    pub hidden: Vec<PathBuf>,
    /// The size of `/dev/shm`.
    pub shm: MemoryBytes,
    /// Its devices, beside the harmless ones.
    pub devices: Vec<PathBuf>,
}

/// Who a job runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum User {
    /// As somebody else, which takes root.
    Other {
        /// The number of the user, and of their group.
        id: u32,
    },
    /// As whoever starts it, in a user namespace.
    Same {
        /// The number of the user.
        uid: u32,
        /// The number of their group.
        gid: u32,
    },
}

impl User {
    /// Returns `run_as_user` if this process is root, and otherwise the user of this process.
    pub(crate) fn of_jobs(run_as_user: u32) -> Self {
        if getuid().is_root() {
            Self::Other { id: run_as_user }
        } else {
            Self::Same { uid: getuid().as_raw(), gid: getgid().as_raw() }
        }
    }
}

/// A job's process. Printing it shows nothing of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// All of its variables.
    pub env: Vec<(String, String)>,
    /// The working directory, if it is not the default one.
    pub workdir: Option<String>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arguments, variables) = (self.command.len(), self.env.len());
        write!(f, "Process({arguments} arguments, {variables} variables)")
    }
}

/// What the supervisor answers to its plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The job is inside its walls: it runs, or could not be started for reasons of its own.
    Started,
    /// The walls cannot be put up here; nothing was run.
    Refused(String),
}

/// What the process that makes a user namespace is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EntryPlan {
    /// The supervisor's number.
    pub supervisor: u32,
    /// The number of the user.
    pub uid: u32,
    /// The number of their group.
    pub gid: u32,
}

/// What the first process of a job's namespaces is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InitPlan {
    /// The files by which it joins the control groups.
    pub join: Vec<PathBuf>,
    /// What it puts up.
    pub sandbox: Sandbox,
    /// The folder that becomes `/tmp`.
    pub files: PathBuf,
    /// What it runs.
    pub process: Process,
}

/// What a supervisor is told by the processes that it started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The first process of the namespaces is there, with this number outside of them.
    Entered(u32),
    /// The walls cannot be put up.
    Failed(String),
    /// The job's process runs.
    Running,
    /// The job's process could not be started.
    NotStarted {
        /// Why.
        message: String,
        /// What a shell would exit with.
        code: i32,
    },
    /// It ended with an exit code.
    Exited(i32),
    /// It was ended by a signal.
    Signaled(i32),
}
