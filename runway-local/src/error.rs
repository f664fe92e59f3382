//! The errors of a machine and its jobs.

use crate::cgroup::NotEnforced;
use runway_control::JobSnapshot;
use runway_core::units::GpuCount;
use std::io;
use std::path::PathBuf;

/// The machine cannot run jobs.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be created.
    #[error("cannot create the state directory `{}`", .state_dir.display())]
    CreateStateDir {
        /// The state directory.
        state_dir: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The path of the state directory cannot be resolved.
    #[error("cannot resolve the path of the state directory `{}`", .state_dir.display())]
    ResolveStateDir {
        /// The state directory.
        state_dir: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A job directory whose deletion was interrupted cannot be deleted.
    #[error("cannot delete old jobs in the state directory `{}`", .state_dir.display())]
    RemoveOld {
        /// The state directory.
        state_dir: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The jobs in the state directory cannot be listed.
    #[error("cannot list the jobs in the state directory `{}`", .state_dir.display())]
    ListJobs {
        /// The state directory.
        state_dir: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The state directory cannot be locked for this server.
    #[error("cannot lock the state directory `{}` for this server", .state_dir.display())]
    LockServer {
        /// The state directory.
        state_dir: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// Another server uses the state directory.
    #[error("another server uses the state directory `{}`; stop it, or use another directory", .state_dir.display())]
    AlreadyServed {
        /// The state directory.
        state_dir: PathBuf,
    },
    /// The configured parent of the control groups has a `..` component.
    #[error("invalid control group `{}`: it must be a path from the root of a hierarchy, without `..`", .parent.display())]
    InvalidCgroupParent {
        /// The configured path.
        parent: PathBuf,
    },
    /// The mounts or the control groups of this process cannot be read.
    #[error("cannot read the control groups of this machine")]
    ReadCgroups(#[source] io::Error),
}

/// The job was not started. Files, processes and control groups that the start created are removed again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another job has this id.
    #[error("another job has this id")]
    IdConflict(Box<JobSnapshot>),
    /// Another process is creating or deleting a job with this id.
    #[error("another process is creating or deleting a job with this id; retry later")]
    Busy,
    /// The job has no command.
    #[error("the job has no `command`; the local backend does not use the image, so the job must set one")]
    NoCommand,
    /// The job requests the network `internal`, which one machine cannot provide.
    #[error(
        "the local backend does not support the network `internal`; use `none`, or `open` if the policy \
         allows it"
    )]
    UnsupportedNetwork,
    /// A secret has no value.
    #[error("the secret `{name}` has no value yet: the environment variable `{from_env}` must be read first")]
    UnresolvedSecret {
        /// The name of the secret.
        name: String,
        /// The environment variable that has the value.
        from_env: String,
    },
    /// The machine has too few free GPUs.
    #[error("the job requests {requested} GPUs, but only {free} of {total} are free")]
    NotEnoughGpus {
        /// The number of GPUs that the job requests.
        requested: GpuCount,
        /// The number of free GPUs.
        free: usize,
        /// The number of GPUs of the machine.
        total: usize,
    },
    /// A limit cannot be enforced.
    #[error(transparent)]
    NotEnforced(#[from] NotEnforced),
    /// The sandbox of the job could not be set up.
    #[error("cannot set up the sandbox: {reason}")]
    SandboxFailed {
        /// The reason.
        reason: String,
    },
    /// The lock of the state directory cannot be taken.
    #[error("cannot lock the state directory")]
    LockMachine(#[source] io::Error),
    /// The job's directory cannot be created.
    #[error("cannot create the job's directory")]
    CreateJobDir(#[source] io::Error),
    /// A directory with the job's id exists, and its record cannot be read.
    #[error("cannot read the record of the job that has this id")]
    ReadRecord(#[source] io::Error),
    /// A directory that an interrupted start left cannot be removed.
    #[error("cannot delete the remains of an interrupted start")]
    RemovePartial(#[source] io::Error),
    /// The lock of the job's directory cannot be taken.
    #[error("cannot lock the job's directory")]
    LockJobDir(#[source] io::Error),
    /// The records that list the assigned GPUs cannot be read.
    #[error("cannot read which GPUs are in use")]
    ListGpus(#[source] io::Error),
    /// The job's record cannot be written.
    #[error("cannot write the job's record")]
    WriteRecord(#[source] io::Error),
    /// The socket to the supervisor cannot be created.
    #[error("cannot create the socket to the supervisor")]
    CreateSocket(#[source] io::Error),
    /// The supervisor's program cannot be started.
    #[error("cannot start the supervisor")]
    SpawnSupervisor(#[source] io::Error),
    /// The plan cannot be sent to the supervisor.
    #[error("cannot send the plan to the supervisor")]
    SendPlan(#[source] io::Error),
    /// The supervisor's reply cannot be received.
    #[error("cannot receive the reply of the supervisor")]
    ReceiveReply(#[source] io::Error),
    /// The supervisor exited without a reply.
    #[error("the supervisor exited before the job started")]
    SupervisorExited,
    /// The threads that wait for the supervisor cannot be created.
    #[error("cannot wait for the supervisor in the background")]
    FollowSupervisor(#[source] io::Error),
}

/// A job cannot be read, cancelled, awaited or deleted.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The job's directory no longer exists.
    #[error("the job directory `{}` no longer exists", .dir.display())]
    Removed {
        /// The directory.
        dir: PathBuf,
    },
    /// The supervisor of an attached job exited without an outcome. It could not write the outcome, or could
    /// not kill a process of the job.
    #[error("the supervisor exited without an outcome in `{}`", .dir.display())]
    NoOutcome {
        /// The job's directory.
        dir: PathBuf,
    },
    /// The job's record cannot be read.
    #[error("cannot read the record of the job")]
    ReadRecord(#[source] io::Error),
    /// The job's status cannot be read.
    #[error("cannot read the status of the job")]
    ReadStatus(#[source] io::Error),
    /// The job's directory cannot be watched.
    #[error("cannot watch the directory of the job")]
    Watch(#[source] io::Error),
    /// The request to cancel or kill the job cannot be written.
    #[error("cannot write the request to cancel the job")]
    Request(#[source] io::Error),
    /// The job's directory cannot be deleted.
    #[error("cannot delete the directory of the job")]
    Delete(#[source] io::Error),
}
