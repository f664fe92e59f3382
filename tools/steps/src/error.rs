//! Errors of the development tools.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Number of lines that an error shows from the end of a log.
const TAIL_LINES: usize = 15;

/// The cause of a failed step, with the data that helps to fix it.
#[derive(Debug)]
pub enum ToolError {
    /// An I/O operation failed.
    Io {
        /// The attempted operation.
        what: String,
        /// The I/O error.
        error: io::Error,
    },
    /// A file in the state directory cannot be parsed.
    InvalidState {
        /// The file.
        path: PathBuf,
        /// The parse error.
        error: serde_json::Error,
    },
    /// Another program returned a non-zero exit code.
    CommandFailed {
        /// The command.
        what: String,
        /// The output of the program.
        output: String,
    },
    /// A process of the cluster exited unexpectedly.
    ProcessDied {
        /// The name of the process.
        process: &'static str,
        /// The file with its output.
        log: PathBuf,
    },
    /// An event did not happen in time.
    Timeout {
        /// The expected event.
        what: String,
        /// The time limit in seconds.
        seconds: u64,
        /// The last observed state.
        last: String,
    },
    /// Programs are missing in a directory or on the system.
    MissingPrograms {
        /// The names of the programs.
        programs: Vec<String>,
        /// The place that was searched, for messages.
        place: String,
        /// How to fix the problem.
        advice: String,
    },
    /// A requirement is not met, such as a program or a permission.
    Unsupported {
        /// The requirement and how to meet it.
        what: String,
    },
    /// The current state or configuration does not fit the request.
    FailedPrecondition {
        /// The conflict and how to resolve it.
        what: String,
    },
}

impl ToolError {
    /// Returns a function that adds the attempted operation to an I/O error.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::InvalidState { path, error } => write!(f, "`{}`: {error}", path.display()),
            Self::CommandFailed { what, output } => write!(f, "{what} failed:\n{}", output.trim_end()),
            Self::ProcessDied { process, log } => {
                write!(f, "{process} exited unexpectedly; the last lines of its log:\n{}", last_lines(log))
            }
            Self::Timeout { what, seconds, last } => {
                write!(f, "timed out after {seconds} s waiting for {what}; last state: {last}")
            }
            Self::MissingPrograms { programs, place, advice } => {
                write!(f, "missing {place}: {}\n{advice}", programs.join(", "))
            }
            Self::Unsupported { what } | Self::FailedPrecondition { what } => f.write_str(what),
        }
    }
}

/// Returns the last lines of a log. The text is empty if the log cannot be read.
#[must_use]
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).copied().collect::<Vec<_>>().join("\n")
}
