//! Runs jobs on one Linux machine, with the limits that a cluster would apply. The kernel enforces them.
//!
//! Each job has a supervisor, a process that outlives the launcher that started the job. By default, the
//! supervisor is the launcher's own program, started again in a hidden role. A program that uses this library
//! must therefore call [`reexec_init`] first in `main`. The supervisor starts init, which enters the job's
//! control groups and namespaces and runs the job's command. The supervisor writes the job's output to a
//! file, enforces the job's time and storage limits, and records the outcome in the job's directory. Any
//! process with access to this directory can follow and cancel the job, even after the launcher has exited.
//!
//! Images are not used. The command of a job runs on the files of the machine, which are read-only for the
//! job.

mod advice;
mod attempt;
mod backend;
mod cgroup;
mod errno;
mod error;
mod gpu;
mod job;
mod job_dir;
mod machine;
mod notify;
mod output;
mod plan;
mod process;
mod record;
mod reexec;
mod roles;
mod sandbox;
mod settings;
mod storage;
mod tree;
mod usage;
mod wire;

pub use advice::advise;
pub use backend::LocalBackend;
pub use cgroup::NotEnforced;
pub use error::{JobError, OpenError, StartError};
pub use gpu::detect as detect_gpus;
pub use job::{Job, Supervision};
pub use machine::Machine;
pub use output::{LogChunk, LogReader, Stream};
pub use roles::reexec_init;
pub use settings::{LocalSettings, NoStateDir};
pub use usage::Usage;
