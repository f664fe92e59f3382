//! Errors of the development tools.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Number of lines that an error shows from the end of a log.
const TAIL: usize = 15;

/// The cause of a failed step, with the data that helps to fix it.
#[derive(Debug)]
pub enum Failure {
    /// A system call failed.
    Io {
        /// The attempted operation.
        what: String,
        /// The I/O error.
        error: io::Error,
    },
    /// A file in the state directory cannot be parsed.
    State {
        /// The file.
        path: PathBuf,
        /// The parse error.
        error: serde_json::Error,
    },
    /// Another program returned a non-zero exit code.
    Command {
        /// The command.
        what: String,
        /// The output of the program.
        output: String,
    },
    /// A process of the cluster exited unexpectedly.
    Died {
        /// The name of the process.
        process: &'static str,
        /// The file with its output.
        log: PathBuf,
    },
    /// An event did not happen in time.
    TimedOut {
        /// The expected event.
        what: String,
        /// The time limit in seconds.
        seconds: u64,
        /// The last observed state.
        last: String,
    },
    /// Programs are missing in a directory or on the system.
    Missing {
        /// The names of the programs.
        programs: Vec<String>,
        /// The place that was searched, for messages.
        place: String,
        /// How to fix the problem.
        advice: String,
    },
    /// This machine does not meet a requirement.
    Unable {
        /// The requirement and how to meet it.
        what: String,
    },
    /// The current state or configuration does not fit the request.
    Mismatch {
        /// The conflict and how to resolve it.
        what: String,
    },
}

impl Failure {
    /// Returns a function that adds the attempted operation to an I/O error.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::State { path, error } => write!(f, "`{}`: {error}", path.display()),
            Self::Command { what, output } => write!(f, "{what} failed:\n{}", output.trim_end()),
            Self::Died { process, log } => {
                write!(f, "{process} exited unexpectedly; the last lines of its log:\n{}", tail(log))
            }
            Self::TimedOut { what, seconds, last } => {
                write!(f, "timed out after {seconds} s waiting for {what}; last state: {last}")
            }
            Self::Missing { programs, place, advice } => {
                write!(f, "missing {place}: {}\n{advice}", programs.join(", "))
            }
            Self::Unable { what } | Self::Mismatch { what } => f.write_str(what),
        }
    }
}

/// Returns the last lines of a log. The text is empty if the log cannot be read.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL)).copied().collect::<Vec<_>>().join("\n")
}
