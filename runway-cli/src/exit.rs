//! How a command ended, as the shell sees it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All jobs are admitted, have been submitted or have succeeded, or there was nothing to judge.
    Fine,
    /// At least one job is refused, or the server refuses what was asked of it.
    Refused,
    /// At least one job could not be judged or sent: no such file, a policy that does not load, wrong usage.
    NotJudged,
    /// At least one job that was waited for did not succeed.
    Failed,
    /// The server cannot be reached, or cannot answer.
    Unreachable,
    /// What `runway run` ends with: the exit code of its job, or one that stands for why there is none.
    Code(u8),
}

impl Exit {
    /// What `runway run` ends with where there is no job to speak of.
    pub(crate) const NOT_RUN: Self = Self::Code(125);

    /// The worse of the two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Refused => 1,
            Exit::NotJudged => 2,
            Exit::Failed => 3,
            Exit::Unreachable => 4,
            Exit::Code(code) => code,
        })
    }
}
