//! This program in its hidden modes: the processes that stand between a job and whoever started it.

mod attempt;
mod supervisor;

pub(crate) use supervisor::end_all;

use crate::sandbox;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The process that outlives whoever started the job.
pub(crate) const SUPERVISOR: &str = "runway-supervisor";
/// The process that makes a user namespace.
const ENTRY: &str = "runway-entry";
/// The first process of the job's namespaces.
pub(crate) const INIT: &str = "runway-init";

/// Does the work of a hidden mode, and ends the program, if that is what it was started for. Otherwise it does nothing.
///
/// Call it first in `main`, before there is a second thread.
pub fn run_if_asked() {
    let name = std::env::args_os().next().unwrap_or_default();
    let code = match name.to_str() {
        Some(SUPERVISOR) => supervisor::main(),
        Some(ENTRY) => sandbox::entry::main(),
        Some(INIT) => sandbox::init::main(),
        _ => return,
    };
    std::process::exit(code.into());
}

/// This program in a hidden mode, with an empty environment.
pub(crate) fn stage(name: &str) -> Command {
    hidden(Path::new("/proc/self/exe"), name)
}

/// A program in a hidden mode.
pub(crate) fn hidden(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg0(name).env_clear();
    command
}
