//! What is round a job's process: namespaces, mounts, and rights given up.
//!
//! `init` is the first process of a job's process namespace: it joins the control groups, makes all the other walls and runs the
//! job. Where there is no root another process goes before it, `entry`, which makes the user namespace that gives it the right
//! to. Both are this very program in a hidden mode.

pub(crate) mod entry;
pub(crate) mod init;
mod loopback;
mod mounts;
mod privileges;
mod seccomp;

use crate::plan::Report;
use crate::wire;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// What could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Failure {
    what: String,
    why: String,
}

/// Says what was tried where it fails.
trait Doing<T> {
    fn doing(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| {
            let why = error.into().to_string();
            let why = why.split_once(" (os error").map_or(why.clone(), |(why, _)| why.to_owned());
            Failure { what: what.to_string(), why }
        })
    }
}

/// The line to the supervisor, which stands in the place of standard input.
fn line() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Runs one of the two, and tells the supervisor where it fails.
fn reporting(run: impl FnOnce(&UnixStream) -> Result<(), Failure>) -> u8 {
    let Ok(line) = line() else { return 1 };
    match run(&line) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = wire::send(&line, &Report::Failed(failure.to_string()));
            1
        }
    }
}

/// Dies when the one who started it does.
fn die_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("asking to end with the supervisor")
}
