//! The entry process, used without root: creates a user namespace and a PID namespace, and starts init in
//! them.

use crate::plan::{ChildReport, EntryPlan};
use crate::reexec::{Role, SELF_EXE};
use crate::sandbox::{ErrorContext, SandboxError, die_with_parent, privileges, unshare};
use crate::wire;
use rustix::thread::UnshareFlags;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

/// Runs the entry process until init has exited.
pub(super) fn run(supervisor_socket: &UnixStream) -> Result<(), SandboxError> {
    let plan = wire::receive::<EntryPlan>(supervisor_socket).context("receiving the plan")?;
    let plan =
        plan.ok_or_else(|| std::io::Error::from(ErrorKind::UnexpectedEof)).context("receiving the plan")?;
    die_with_parent()?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.and_then(|pid| u32::try_from(pid).ok()) != Some(plan.supervisor_pid) {
        // The supervisor died before the death signal was set, so this process would not be killed with it.
        return Ok(());
    }
    let EntryPlan { uid, gid, .. } = plan;
    unshare(UnshareFlags::NEWUSER).context("creating a user namespace")?;
    fs::write("/proc/self/setgroups", "deny").context("denying `setgroups`")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).context("mapping the user id")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).context("mapping the group id")?;
    privileges::keep_capabilities_over_exec().context("keeping the capabilities of the user namespace")?;
    unshare(UnshareFlags::NEWPID).context("creating a PID namespace")?;
    let mut init = Role::Init.command(SELF_EXE).spawn().context("starting init")?;
    wire::send(supervisor_socket, &ChildReport::InitStarted(init.id())).context("sending the report")?;
    // Init itself reports how the job ended.
    let _ = init.wait();
    Ok(())
}
