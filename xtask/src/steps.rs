//! One step after another, each told of before it runs.

use crate::cluster::Failure;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::{fmt, io};

/// Why a chore did not come to its end.
#[derive(Debug)]
pub(crate) enum Failed {
    /// A program could not be started.
    NotStarted { step: String, error: io::Error },
    /// A program ended with an error, of which it has told itself.
    Unsuccessful { step: String },
    /// The core depends on what it must not.
    Impure { crates: Vec<String> },
    /// The cluster for a step did not come up.
    Cluster { failure: Failure },
    /// The virtual machine for a step did not.
    Machine { failure: Failure },
    /// A program for a step is not there.
    Tools { failure: Failure },
    /// Something is not as it has to be.
    Wrong { step: String, what: String },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { step, error } => write!(f, "{step}: could not be started: {error}"),
            Self::Unsuccessful { step } => write!(f, "{step}: failed"),
            Self::Impure { crates } => {
                write!(f, "runway-core is pure, and now depends on: {}", crates.join(", "))
            }
            Self::Cluster { failure } => write!(f, "the cluster: {failure}"),
            Self::Machine { failure } => write!(f, "the virtual machine: {failure}"),
            Self::Tools { failure } => failure.fmt(f),
            Self::Wrong { step, what } => write!(f, "{step}: {what}"),
        }
    }
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A call of the cargo that runs this.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs one step and tells of it.
pub(crate) fn run(step: &str, command: &mut Command) -> Result<(), Failed> {
    eprintln!("\nxtask: {step}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failed::Unsuccessful { step: step.to_owned() }),
        Err(error) => Err(Failed::NotStarted { step: step.to_owned(), error }),
    }
}

/// Runs cargo as one step.
pub(crate) fn cargo(step: &str, arguments: &[&str]) -> Result<(), Failed> {
    run(step, &mut command(arguments))
}

/// A program that ends with what holds it.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}
