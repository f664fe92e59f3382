//! The error of a command: its causes, their messages, and their exit codes.

use crate::Exit;
use crate::client::{ClientConfigError, Trouble};
use crate::input::MAX_BYTES;
use crate::output::{self, OutputError};
use runway_core::Violation;
use runway_core::policy::RateVariableError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file could not be read.
    Unreadable { path: PathBuf, error: io::Error },
    /// A file is larger than any that is read.
    Oversized { path: PathBuf },
    /// A file is not what the command reads.
    Malformed { path: PathBuf, fault: String },
    /// A variable of the environment does not hold what it should.
    Variable(RateVariableError),
    /// The policy has faults: they, and their story.
    Policy { violations: Vec<Violation>, story: String },
    /// The arguments do not fit together.
    Usage(String),
    /// The output could not be written.
    Output(OutputError),
    /// The options that name a server cannot be used.
    ClientConfig(ClientConfigError),
    /// The server did not do what was asked of it.
    Online(Trouble),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "cannot read `{}`: {error}", printable(path)),
            Self::Oversized { path } => {
                write!(
                    f,
                    "cannot read `{}`: it has more than {} MiB",
                    printable(path),
                    MAX_BYTES / 1024 / 1024
                )
            }
            Self::Malformed { path, fault } => write!(f, "cannot read `{}`: {fault}", printable(path)),
            Self::Variable(error) => f.write_str(&output::printable(&error.to_string())),
            Self::Policy { story, .. } => f.write_str(story.trim_end()),
            Self::Usage(message) => f.write_str(message),
            Self::Output(error) => error.fmt(f),
            Self::ClientConfig(error) => error.fmt(f),
            Self::Online(trouble) => trouble.fmt(f),
        }
    }
}

impl Failure {
    /// Prints the error on standard error.
    pub(crate) fn print(&self) {
        let text = match self {
            // Its faults have been drawn with their own titles.
            Self::Policy { story, .. } => story.clone(),
            failure => format!("error: {failure}\n"),
        };
        // If standard error is closed, the exit code still reports the failure.
        let _ = output::print_aside(&text);
    }

    /// How a command ends that fails so.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Online(trouble) => trouble.exit(),
            _ => Exit::NotJudged,
        }
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

impl From<ClientConfigError> for Failure {
    fn from(error: ClientConfigError) -> Self {
        Self::ClientConfig(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Online(trouble)
    }
}

fn printable(path: &Path) -> String {
    output::printable(&path.display().to_string())
}
