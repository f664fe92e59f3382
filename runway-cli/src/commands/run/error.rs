//! The errors of `runway run`.

use crate::error::CliError;
use crate::output::{self, OutputError};
use crate::policy::PolicyLoadError;
use runway_core::ErrorChain;
use runway_local::{JobError, NoStateDir, OpenError, StartError};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error after which `runway run` exits with 125.
#[derive(Debug)]
pub(super) enum RunError {
    /// An error that other commands can have as well.
    Command(CliError),
    /// The file contains no job, or several.
    NotOneJob { file: PathBuf, count: usize },
    /// `--state-dir` is missing, and the environment does not determine a state directory.
    StateDir(NoStateDir),
    /// The signal handlers cannot be installed.
    Signals(io::Error),
    /// The state directory or the control groups cannot be used.
    Open(OpenError),
    /// The job did not start.
    Start(StartError),
    /// The job's status cannot be read, or the job cannot be stopped.
    Follow(JobError),
    /// The job's output cannot be read.
    ReadOutput(io::Error),
    /// The job's output cannot be written to standard output or standard error.
    WriteOutput(io::Error),
    /// The resources that the job used cannot be read.
    Usage(JobError),
    /// The job's directory cannot be deleted.
    Remove(JobError),
}

impl RunError {
    /// Prints the error.
    pub(super) fn report(&self) {
        match self {
            Self::Command(failure) => failure.print(),
            // If standard error is closed, the error cannot be reported.
            error => drop(output::eprint(&format!("error: {error}\n"))),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(failure) => failure.fmt(f),
            Self::NotOneJob { file, count } => {
                write!(f, "`{}` contains {count} jobs; `run` accepts one", file.display())
            }
            Self::StateDir(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot install the signal handlers: {error}"),
            Self::Open(error) => ErrorChain::new(error).fmt(f),
            Self::Start(StartError::NotEnforced(limits)) => {
                write!(
                    f,
                    "{limits}; try `systemd-run --user --scope runway run …`, or run the job without these limits \
                     with `--best-effort`"
                )
            }
            Self::Start(error) => ErrorChain::new(error).fmt(f),
            Self::Follow(error) => {
                write!(f, "cannot follow the job: {}", ErrorChain::new(error))
            }
            Self::ReadOutput(error) => write!(f, "cannot read the output of the job: {error}"),
            Self::WriteOutput(error) => {
                write!(f, "cannot write the output of the job, so the job was cancelled: {error}")
            }
            Self::Usage(error) => write!(f, "cannot read the usage of the job: {}", ErrorChain::new(error)),
            Self::Remove(error) => {
                write!(f, "cannot delete the files of the job: {}", ErrorChain::new(error))
            }
        }
    }
}

impl From<CliError> for RunError {
    fn from(failure: CliError) -> Self {
        Self::Command(failure)
    }
}

impl From<PolicyLoadError> for RunError {
    fn from(error: PolicyLoadError) -> Self {
        Self::Command(error.into())
    }
}

impl From<OutputError> for RunError {
    fn from(error: OutputError) -> Self {
        Self::Command(error.into())
    }
}
