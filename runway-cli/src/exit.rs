//! Exit statuses and their codes.

use std::process::ExitCode;

/// The result of a command. The order of the variants is the order of severity: see [`Exit::or_worse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All jobs are admitted, submitted or succeeded, or the command has no jobs.
    Success,
    /// At least one job is refused, or the server refuses a request.
    Refused,
    /// The input cannot be used: a missing file, a policy that does not load, or wrong usage.
    InvalidInput,
    /// At least one job that the command waited for did not succeed.
    JobFailed,
    /// The server is unreachable, or it fails to answer.
    Unreachable,
    /// The exit code of `runway run`: the exit code of the job's program, or one of the codes that
    /// `runway run --help` lists.
    Code(u8),
}

impl Exit {
    /// The exit code of `runway run` if the job has no result: after wrong usage, for a refused job, or after
    /// an error of `run` itself.
    pub(crate) const NOT_RUN: Self = Self::Code(125);

    /// Returns the more severe of two results.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Refused => 1,
            Exit::InvalidInput => 2,
            Exit::JobFailed => 3,
            Exit::Unreachable => 4,
            Exit::Code(code) => code,
        })
    }
}
