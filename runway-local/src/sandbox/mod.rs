//! The sandbox of a job's process: namespaces, mounts, dropped privileges and filtered system calls.
//!
//! Init sets it up. Without root, the entry process first creates a user namespace, in which init has the
//! necessary capabilities.

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
#[error("{what}: {why}")]
pub(crate) struct Failure {
    what: String,
    why: String,
}

/// Adds the attempted action to an error.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure { what: what.to_string(), why: errno::text(&error.into()) })
    }
}

/// Asks the kernel to kill this process when its parent dies.
pub(crate) fn die_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("setting the parent death signal")
}

/// Moves this process to new namespaces.
///
/// `rustix` deprecates the called function for an unsafe one, because the flag `FILES` gives a thread its own
/// descriptor table. This flag is not used here, and the process has only one thread.
#[expect(deprecated, reason = "its replacement is the same function, marked as unsafe")]
pub(crate) fn unshare(namespaces: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(namespaces)
}
