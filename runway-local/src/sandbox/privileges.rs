//! Capabilities: kept during the sandbox setup, then dropped permanently before the job runs.

use super::{ErrorContext, SandboxError, die_with_parent};
use crate::plan::RunAs;
use rustix::io::{Errno, Result};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid, capabilities, set_capabilities};

/// The capabilities that the sandbox setup needs.
const SETUP_CAPABILITIES: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::SETPCAP);

/// Keeps the setup capabilities of a user namespace across the next `exec`. Without this, a user other than
/// root loses them.
pub(crate) fn keep_capabilities_over_exec() -> Result<()> {
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable: SETUP_CAPABILITIES })?;
    for capability in SETUP_CAPABILITIES.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Drops the privileges of this process and its children permanently: all capabilities, and the ways to
/// regain them. Changes to the job's user if that is another user.
pub(crate) fn drop_privileges(run_as: RunAs) -> std::result::Result<(), SandboxError> {
    // The kernel can have more capabilities than this program knows. It returns `EINVAL` after the last one.
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error).context("dropping the bounding set of capabilities"),
        }
    }
    rustix::thread::clear_ambient_capability_set().context("dropping ambient capabilities")?;
    if let RunAs::Other { id } = run_as {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        rustix::thread::set_thread_groups(&[]).context("dropping supplementary groups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).context("changing to the job's group")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("changing to the job's user")?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .context("dropping capabilities")?;
    rustix::thread::set_no_new_privs(true).context("setting `no_new_privs`")?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("disabling core dumps")?;
    // The job runs as the same user and must not inspect init. The `exec` of the job's program resets the
    // flag for the job.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("making init non-dumpable")?;
    // The kernel clears the death signal when the user changes.
    die_with_parent()
}
