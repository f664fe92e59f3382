//! The sandbox of a job's process: namespaces, mounts, dropped privileges and filtered system calls.
//!
//! Init sets up the sandbox. Without root, the entry process first creates a user namespace, in which init
//! has the necessary capabilities.

pub(crate) mod loopback;
pub(crate) mod mounts;
pub(crate) mod privileges;
pub(crate) mod seccomp;

use crate::errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;
use std::fmt::Display;
use std::io;

/// A failed step of the sandbox setup, with the cause.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {reason}")]
pub(crate) struct SandboxError {
    action: String,
    reason: String,
}

/// Adds the attempted action to an error.
pub(crate) trait ErrorContext<T> {
    fn context(self, action: impl Display) -> Result<T, SandboxError>;
}

impl<T, E: Into<io::Error>> ErrorContext<T> for Result<T, E> {
    fn context(self, action: impl Display) -> Result<T, SandboxError> {
        self.map_err(|error| SandboxError {
            action: action.to_string(),
            reason: errno::message(&error.into()),
        })
    }
}

/// Asks the kernel to kill this process when its parent dies.
pub(crate) fn die_with_parent() -> Result<(), SandboxError> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("setting the parent death signal")
}

/// Moves this process to new namespaces. With `NEWPID`, only later children are in the new namespace.
///
/// `rustix` deprecates the called function for an unsafe one, because the flag `FILES` gives a thread its own
/// descriptor table. No caller passes this flag, and the process has only one thread.
#[expect(deprecated, reason = "its replacement is the same function, marked as unsafe")]
pub(crate) fn unshare(namespaces: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(namespaces)
}
