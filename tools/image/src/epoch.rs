//! The timestamp of generated files. It is the time of the sources, so that the same sources give the same
//! bytes.

use runway_steps::{StepError, workspace_root};
use std::fmt;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceEpoch(u64);

/// The last second of the year 9999, the latest date with four-digit years.
const MAX_SECONDS: u64 = 253_402_300_799;

const VARIABLE: &str = "SOURCE_DATE_EPOCH";

impl SourceEpoch {
    /// Returns the value of `SOURCE_DATE_EPOCH`, or else the time of the current commit.
    ///
    /// # Errors
    /// [`StepError::CheckFailed`] if the value is not a number of seconds up to the year 9999, or if there is
    /// neither the variable nor a repository.
    pub fn from_sources() -> Result<Self, StepError> {
        let (source, text) = match std::env::var(VARIABLE) {
            Ok(text) => (VARIABLE, Some(text)),
            Err(_) => ("the time of the commit", git(&["log", "-1", "--format=%ct"])),
        };
        let wrong = |what| StepError::CheckFailed { step: source.to_owned(), what };
        let text = text.ok_or_else(|| {
            wrong(format!("not a Git checkout: set {VARIABLE} to the seconds since 1970-01-01"))
        })?;
        Self::parse(&text).ok_or_else(|| wrong(format!("`{text}` is not a Unix time in seconds")))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS).map(Self)
    }

    pub(crate) fn seconds(self) -> u64 {
        self.0
    }
}

/// Formats the time as in `2026-11-21T11:15:42Z`.
impl fmt::Display for SourceEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).fmt(f)
    }
}

/// Returns the current commit; `None` if tracked files have changed since, or there is no repository.
pub(crate) fn clean_commit() -> Option<String> {
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    git(&["rev-parse", "HEAD"]).filter(|_| changes.is_empty())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(workspace_root()).output().ok()?;
    let stdout = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| stdout.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{MAX_SECONDS, SourceEpoch};

    #[test]
    fn parse_accepts_seconds_up_to_year_9999() {
        let shown = |text: &str| SourceEpoch::parse(text).map(|epoch| epoch.to_string());
        assert_eq!(shown("0").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(shown(&MAX_SECONDS.to_string()).as_deref(), Some("9999-12-31T23:59:59Z"));
        assert_eq!(shown(&(MAX_SECONDS + 1).to_string()), None);
        for wrong in ["", "-1", "1.5", "now"] {
            assert_eq!(shown(wrong), None);
        }
    }
}
