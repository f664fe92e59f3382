//! Jobs on one Linux machine: the same limits as on a cluster, and nothing but the kernel to keep them.
//!
//! Each job has a supervisor: a process of its own, which outlives the one that started the job. It is this very program
//! in a hidden mode, so whoever uses the library calls [`run_if_asked`] first in `main`. The supervisor starts init, which
//! enters the job's control groups and namespaces and runs its command. The supervisor writes the job's output to a file,
//! enforces its limits of time and storage, and records its outcome in the job's folder. Any process that can read the
//! folder can follow the job, stop it, and find it again after a restart.
//!
//! There are no images here: a job's command runs on this machine's own files, which it sees read-only.

mod advice;
mod attempt;
mod backend;
mod bell;
mod cgroup;
mod errno;
mod error;
mod folder;
mod gpu;
mod job;
mod machine;
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
pub use output::{Chunk, Reader, Stream};
pub use roles::run_if_asked;
pub use settings::{LocalSettings, NoStateDir};
pub use usage::Usage;
