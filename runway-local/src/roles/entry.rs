//! The entry process, used without root: creates a user namespace and a PID namespace, and starts init in
//! them.

use crate::plan::{EntryPlan, Report};
use crate::reexec::{Role, SELF};
use crate::sandbox::{Doing, Failure, die_with_parent, privileges, unshare};
use crate::wire;
use rustix::thread::UnshareFlags;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

/// Runs the entry process until init has exited.
pub(super) fn run(line: &UnixStream) -> Result<(), Failure> {
    let plan = wire::receive::<EntryPlan>(line).doing("receiving the plan")?;
    let plan =
        plan.ok_or_else(|| std::io::Error::from(ErrorKind::UnexpectedEof)).doing("receiving the plan")?;
    die_with_parent()?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.and_then(|pid| u32::try_from(pid).ok()) != Some(plan.supervisor) {
        // The supervisor died before the death signal was set, so this process would not be killed with it.
        return Ok(());
    }
    let EntryPlan { uid, gid, .. } = plan;
    unshare(UnshareFlags::NEWUSER).doing("creating a user namespace")?;
    fs::write("/proc/self/setgroups", "deny").doing("denying `setgroups`")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).doing("mapping the user id")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).doing("mapping the group id")?;
    privileges::keep_over_exec().doing("keeping the capabilities of the user namespace")?;
    unshare(UnshareFlags::NEWPID).doing("creating a PID namespace")?;
    let mut init = Role::Init.command(SELF).spawn().doing("starting init")?;
    wire::send(line, &Report::Entered(init.id())).doing("sending the report")?;
    // Init reports its own outcome.
    let _ = init.wait();
    Ok(())
}
