//! Runs steps, and prints the name of each step first.

use crate::error::ToolError;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::{fmt, io};

/// The cause of a failed step.
#[derive(Debug)]
pub enum StepError {
    /// A program could not be started, or a file could not be read or written.
    Io {
        /// The step that needs the program or the file.
        step: String,
        /// The I/O error.
        error: io::Error,
    },
    /// A program failed. It has already printed the reason.
    CommandFailed {
        /// The step that ran the program.
        step: String,
    },
    /// The cluster for a step could not be started.
    Cluster {
        /// The cause.
        failure: ToolError,
    },
    /// The virtual machine for a step could not be started.
    VirtualMachine {
        /// The cause.
        failure: ToolError,
    },
    /// A program that a step needs is missing.
    MissingTool {
        /// The cause.
        failure: ToolError,
    },
    /// A check failed.
    CheckFailed {
        /// The step that made the check.
        step: String,
        /// The finding.
        what: String,
    },
}

impl StepError {
    /// Returns a function that adds the step to an I/O error.
    pub fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |error| Self::Io { step, error }
    }

    /// Returns the error of a failed check.
    pub fn check_failed(step: impl Into<String>, what: impl Into<String>) -> Self {
        Self::CheckFailed { step: step.into(), what: what.into() }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { step, error } => write!(f, "{step}: {error}"),
            Self::CommandFailed { step } => write!(f, "{step}: failed"),
            Self::Cluster { failure } => write!(f, "cluster: {failure}"),
            Self::VirtualMachine { failure } => write!(f, "virtual machine: {failure}"),
            Self::MissingTool { failure } => failure.fmt(f),
            Self::CheckFailed { step, what } => write!(f, "{step}: {what}"),
        }
    }
}

/// The root directory of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// The target directory of cargo.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from)
}

/// Returns a call of the same `cargo` that started this program, or else of the `cargo` on the search path.
/// The call runs in the root directory of the workspace.
#[must_use]
pub fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace_root());
    command
}

/// Prints the name of a step and runs its command.
///
/// # Errors
/// [`StepError::Io`] if the program cannot be started.
/// [`StepError::CommandFailed`] if the program fails.
pub fn run_step(step: &str, command: &mut Command) -> Result<(), StepError> {
    eprintln!("\nxtask: {step}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(StepError::CommandFailed { step: step.to_owned() }),
        Err(error) => Err(StepError::Io { step: step.to_owned(), error }),
    }
}

/// Runs cargo as one step.
///
/// # Errors
/// Same errors as [`run_step`].
pub fn run_cargo(step: &str, arguments: &[&str]) -> Result<(), StepError> {
    run_step(step, &mut cargo_command(arguments))
}

/// A child process that is killed when this value is dropped.
pub struct ChildGuard(
    /// The running process.
    pub Child,
);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}
