//! How a command ended, as the shell sees it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All jobs are admitted, or there was nothing to judge.
    Admitted,
    /// At least one job is refused.
    Refused,
    /// At least one job could not be judged: no such file, a policy that does not load, wrong usage.
    NotJudged,
    /// What `runway run` ends with: the exit code of its job, or one that stands for why there is none.
    Code(u8),
}

impl Exit {
    /// The worse of the two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Admitted => 0,
            Exit::Refused => 1,
            // Also what clap exits with on wrong usage.
            Exit::NotJudged => 2,
            Exit::Code(code) => code,
        })
    }
}
