//! Why a cluster could not be brought up, asked or taken down.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// How many of a log's last lines a failure shows.
const TAIL: usize = 15;

/// What went wrong, with the data to act on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The system refused something.
    Io { what: String, error: io::Error },
    /// A file of the state folder does not say what it should.
    State { path: PathBuf, error: serde_json::Error },
    /// Another program ended with an error.
    Command { what: String, output: String },
    /// A process of the cluster ended by itself.
    Died { process: &'static str, log: PathBuf },
    /// Something did not come in time.
    TimedOut { what: String, seconds: u64, last: String },
    /// Programs that a folder or the system does not have.
    Missing { programs: Vec<String>, place: String, advice: String },
    /// Something that this machine cannot do.
    Unable { what: String },
    /// What runs is not what was asked for, or the other way round.
    Mismatch { what: String },
}

impl Failure {
    /// An error of the system, told with what was attempted.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
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
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL)).copied().collect::<Vec<_>>().join("\n")
}
