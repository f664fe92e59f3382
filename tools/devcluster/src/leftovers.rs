//! Removes everything that a cluster leaves on the machine, after a normal or an abrupt end.

use crate::cgroup;
use crate::process::{PROCESSES, ProcessIdentity};
use crate::state::{ClusterDir, ClusterState};
use runway_steps::{ToolError, search_path};
use rustix::mount::{UnmountFlags, unmount};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stops the processes in reverse order of their start, then the containers, and removes the directory,
/// mounts, cgroups and bridge. A missing part is not an error.
pub(crate) fn remove(dir: &ClusterDir) -> Result<(), ToolError> {
    if !dir.path().exists() {
        return Ok(());
    }
    for process in PROCESSES.iter().rev() {
        if let Some(identity) = ProcessIdentity::recorded(dir, process) {
            identity.stop()?;
        }
    }
    // The state is saved before anything starts. So if the state cannot be loaded, nothing was started.
    if let Ok(Some(state)) = ClusterState::load(dir) {
        cgroup::remove(&state)?;
        remove_bridge(&state)?;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(ToolError::io("`/proc/self/mounts`"))?;
    for mount in mounts_below(&mounts, dir.path()) {
        unmount(&mount, UnmountFlags::DETACH)
            .map_err(|error| ToolError::io(format!("`{}`", mount.display()))(error.into()))?;
    }
    fs::remove_dir_all(dir.path()).map_err(ToolError::io(format!("`{}`", dir.path().display())))
}

fn remove_bridge(state: &ClusterState) -> Result<(), ToolError> {
    let bridge = state.bridge();
    if !Path::new("/sys/class/net").join(&bridge).exists() {
        return Ok(());
    }
    let what = format!("removing the network bridge {bridge}");
    let mut remove = Command::new(state.program_path("busybox"));
    remove.args(["ip", "link", "delete", &bridge]).env("PATH", search_path());
    let output = remove.output().map_err(ToolError::io(&*what))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ToolError::CommandFailed { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Returns the mount points at or below a directory, the deepest first. A point with several mounts is listed
/// once for each of them.
fn mounts_below(mounts: &str, dir: &Path) -> Vec<PathBuf> {
    let mount_points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mount_points = mount_points.map(|place| PathBuf::from(place.replace("\\040", " ")));
    let mut below: Vec<PathBuf> = mount_points.filter(|place| place.starts_with(dir)).collect();
    below.reverse();
    below.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
    below
}

#[cfg(test)]
mod tests {
    use super::mounts_below;
    use std::path::{Path, PathBuf};

    #[test]
    fn deepest_mount_is_unmounted_first() {
        let mounts =
            "a / ext4 rw 0 0\nb /c/x tmpfs rw 0 0\nc /c/x/y\\040z tmpfs rw 0 0\nd /cx tmpfs rw 0 0\n";
        let expected = ["/c/x/y z", "/c/x"].map(PathBuf::from);
        assert_eq!(mounts_below(mounts, Path::new("/c")), expected);
    }
}
