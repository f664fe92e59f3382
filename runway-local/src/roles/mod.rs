//! The processes of a job, one module for each.
//!
//! The launcher is the process that uses this library. It starts the supervisor, the supervisor starts init,
//! and init starts the job's command. Without root, the supervisor starts the entry, which creates a user
//! namespace and then starts init. The supervisor, the entry and init are hidden roles of one program, which
//! by default is the launcher's program.

mod entry;
mod init;
mod launcher;
mod supervisor;

use crate::plan::ChildReport;
use crate::reexec::Role;
use crate::sandbox::SandboxError;
use crate::wire;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Runs the hidden role that this program was started in, and exits. Returns if the program was not started
/// in a role.
///
/// Call it first in `main`, before other threads exist.
pub fn reexec_init() {
    let name = std::env::args_os().next().unwrap_or_default();
    let is_done = match Role::from_name(&name) {
        Some(Role::Supervisor) => supervisor::run().is_ok(),
        Some(Role::Entry) => report_failure(entry::run),
        Some(Role::Init) => report_failure(init::run),
        None => return,
    };
    std::process::exit(i32::from(!is_done));
}

/// Runs a role and reports its failure to the supervisor. Returns whether the role succeeded.
fn report_failure(run: impl FnOnce(&UnixStream) -> Result<(), SandboxError>) -> bool {
    // Standard input is the socket to the supervisor.
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else { return false };
    let result = run(&socket);
    if let Err(error) = &result {
        let _ = wire::send(&socket, &ChildReport::SandboxFailed(error.to_string()));
    }
    result.is_ok()
}
