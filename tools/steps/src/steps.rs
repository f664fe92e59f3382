//! Runs steps, and prints the name of each step first.

use crate::failure::Failure;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::{fmt, io};

/// The cause of a failed step.
#[derive(Debug)]
pub enum Failed {
    /// A program could not be started, or a file could not be read or written.
    NotStarted {
        /// The step that needs the program.
        step: String,
        /// The I/O error.
        error: io::Error,
    },
    /// A program failed. It has already printed the reason.
    Unsuccessful {
        /// The step that ran the program.
        step: String,
    },
    /// The cluster for a step could not be started.
    Cluster {
        /// The cause.
        failure: Failure,
    },
    /// The virtual machine for a step could not be started.
    Machine {
        /// The cause.
        failure: Failure,
    },
    /// A program that a step needs is missing.
    Tools {
        /// The cause.
        failure: Failure,
    },
    /// A check failed.
    Wrong {
        /// The step that made the check.
        step: String,
        /// The finding.
        what: String,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { step, error } => write!(f, "{step}: {error}"),
            Self::Unsuccessful { step } => write!(f, "{step}: failed"),
            Self::Cluster { failure } => write!(f, "cluster: {failure}"),
            Self::Machine { failure } => write!(f, "virtual machine: {failure}"),
            Self::Tools { failure } => failure.fmt(f),
            Self::Wrong { step, what } => write!(f, "{step}: {what}"),
        }
    }
}

/// The root directory of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// The target directory of cargo.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns a call of the same `cargo` that started this program.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Prints the name of a step and runs its command.
///
/// # Errors
/// [`StepError::Io`] if the program cannot be started.
/// [`StepError::CommandFailed`] if the program fails.
pub fn run(step: &str, command: &mut Command) -> Result<(), Failed> {
    eprintln!("\nxtask: {step}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failed::Unsuccessful { step: step.to_owned() }),
        Err(error) => Err(Failed::NotStarted { step: step.to_owned(), error }),
    }
}

/// Runs cargo as one step.
///
/// # Errors
/// Same errors as [`run_step`].
pub fn cargo(step: &str, arguments: &[&str]) -> Result<(), Failed> {
    run(step, &mut command(arguments))
}

/// A child process that is killed when this value is dropped.
pub struct Running(
    /// The running process.
    pub Child,
);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}
