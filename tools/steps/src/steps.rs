//! One step after another, each told of before it runs.

use crate::failure::Failure;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::{fmt, io};

/// Why a chore did not come to its end.
#[derive(Debug)]
pub enum Failed {
    /// A program could not be started.
    NotStarted {
        /// The step that needs the program.
        step: String,
        /// The error of the system.
        error: io::Error,
    },
    /// A program ended with an error, of which it has told itself.
    Unsuccessful {
        /// The step that the program did.
        step: String,
    },
    /// The cluster for a step did not come up.
    Cluster {
        /// The cause.
        failure: Failure,
    },
    /// The virtual machine for a step did not.
    Machine {
        /// The cause.
        failure: Failure,
    },
    /// A program for a step is not there.
    Tools {
        /// The cause.
        failure: Failure,
    },
    /// Something is not as it has to be.
    Wrong {
        /// The step that found it.
        step: String,
        /// The finding.
        what: String,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { step, error } => write!(f, "{step}: could not be started: {error}"),
            Self::Unsuccessful { step } => write!(f, "{step}: failed"),
            Self::Cluster { failure } => write!(f, "the cluster: {failure}"),
            Self::Machine { failure } => write!(f, "the virtual machine: {failure}"),
            Self::Tools { failure } => failure.fmt(f),
            Self::Wrong { step, what } => write!(f, "{step}: {what}"),
        }
    }
}

/// The project's folder.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// Where cargo builds.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A call of the cargo that runs this.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs one step and tells of it.
///
/// # Errors
/// [`Failed::NotStarted`] if the program cannot be started. [`Failed::Unsuccessful`] if it fails.
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
/// As [`run`].
pub fn cargo(step: &str, arguments: &[&str]) -> Result<(), Failed> {
    run(step, &mut command(arguments))
}

/// A program that ends with what holds it.
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
