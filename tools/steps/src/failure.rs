//! Errors of the tools.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// How many of a log's last lines a failure shows.
const TAIL: usize = 15;

/// What went wrong, with the data to act on.
#[derive(Debug)]
pub enum Failure {
    /// The system refused something.
    Io {
        /// The attempted operation.
        what: String,
        /// The error of the system.
        error: io::Error,
    },
    /// A file of the state folder does not say what it should.
    State {
        /// The file.
        path: PathBuf,
        /// The error of the parser.
        error: serde_json::Error,
    },
    /// Another program ended with an error.
    Command {
        /// The command.
        what: String,
        /// The output of the program.
        output: String,
    },
    /// A process of the cluster ended by itself.
    Died {
        /// The name of the process.
        process: &'static str,
        /// The file with its output.
        log: PathBuf,
    },
    /// Something did not come in time.
    TimedOut {
        /// The expected event.
        what: String,
        /// The time that it had.
        seconds: u64,
        /// The last observed state.
        last: String,
    },
    /// Programs that a folder or the system does not have.
    Missing {
        /// The names of the programs.
        programs: Vec<String>,
        /// The place that lacks them.
        place: String,
        /// The way out.
        advice: String,
    },
    /// Something that this machine cannot do.
    Unable {
        /// The limit and the way out.
        what: String,
    },
    /// What runs is not what was asked for, or the other way round.
    Mismatch {
        /// The difference and the way out.
        what: String,
    },
}

impl Failure {
    /// An error of the system, told with what was attempted.
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
            Self::Command { what, output } => write!(f, "{what}: failed\n{}", output.trim_end()),
            Self::Died { process, log } => {
                write!(f, "{process} ended by itself; the last lines of its log:\n{}", tail(log))
            }
            Self::TimedOut { what, seconds, last } => {
                write!(f, "{what}: not within {seconds} s; last seen: {last}")
            }
            Self::Missing { programs, place, advice } => {
                write!(f, "missing {place}: {}\n{advice}", programs.join(", "))
            }
            Self::Unable { what } | Self::Mismatch { what } => f.write_str(what),
        }
    }
}

/// The last lines of a log; empty where it cannot be read.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL)).copied().collect::<Vec<_>>().join("\n")
}
