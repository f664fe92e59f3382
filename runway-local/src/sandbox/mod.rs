//! The sandbox of a job's process: namespaces, mounts, dropped privileges and filtered system calls.
//!
//! Init sets it up. Without root, the entry process first creates a user namespace that gives init the right to do so.

pub(crate) mod loopback;
pub(crate) mod mounts;
pub(crate) mod privileges;
pub(crate) mod seccomp;

use crate::errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;
use std::fmt::Display;
use std::io;

/// What could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Failure {
    what: String,
    why: String,
}

/// Says what was tried where it fails.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure { what: what.to_string(), why: errno::text(&error.into()) })
    }
}

/// Dies when the one who started it does.
pub(crate) fn die_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("asking to end with the supervisor")
}

/// Leaves namespaces for new ones.
///
/// The function has become unsafe for the sake of one flag, `FILES`, by which threads would lose their descriptors. It is not
/// used here, and there is one thread only.
#[expect(deprecated, reason = "its replacement differs in being marked as unsafe alone")]
pub(crate) fn unshare(namespaces: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(namespaces)
}
