//! Removes everything that a cluster leaves on the machine, after a normal or an abrupt end.

use crate::cgroup;
use crate::process::{Identity, PROCESSES};
use crate::state::{Folder, State};
use runway_steps::{Failure, search_path};
use rustix::mount::{UnmountFlags, unmount};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stops the processes in reverse order of their start, then the containers, and removes the directory,
/// mounts, cgroups and bridge. A missing part is not an error.
pub(crate) fn remove(folder: &Folder) -> Result<(), Failure> {
    if !folder.path().exists() {
        return Ok(());
    }
    for process in PROCESSES.iter().rev() {
        if let Some(identity) = Identity::recorded(folder, process) {
            identity.stop()?;
        }
    }
    // The state is written before anything starts. So nothing was started if it cannot be read.
    if let Ok(Some(state)) = State::load(folder) {
        cgroup::remove(&state)?;
        remove_bridge(&state)?;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(Failure::io("`/proc/self/mounts`"))?;
    for mount in mounts_below(&mounts, folder.path()) {
        unmount(&mount, UnmountFlags::DETACH)
            .map_err(|error| Failure::io(format!("`{}`", mount.display()))(error.into()))?;
    }
    fs::remove_dir_all(folder.path()).map_err(Failure::io(format!("`{}`", folder.path().display())))
}

fn remove_bridge(state: &State) -> Result<(), Failure> {
    let bridge = state.bridge();
    if !Path::new("/sys/class/net").join(&bridge).exists() {
        return Ok(());
    }
    let what = format!("removing the network bridge {bridge}");
    let mut remove = Command::new(state.program("busybox"));
    remove.args(["ip", "link", "delete", &bridge]).env("PATH", search_path());
    let output = remove.output().map_err(Failure::io(&*what))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Command { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Returns the mount points at or below a directory. The deepest comes first, and the last of several mounts
/// on the same point.
fn mounts_below(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let places = places.map(|place| PathBuf::from(place.replace("\\040", " ")));
    let mut below: Vec<PathBuf> = places.filter(|place| place.starts_with(folder)).collect();
    below.reverse();
    below.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
    below
}

#[cfg(test)]
mod tests {
    use super::mounts_below;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_deepest_mount_is_undone_first() {
        let mounts =
            "a / ext4 rw 0 0\nb /c/x tmpfs rw 0 0\nc /c/x/y\\040z tmpfs rw 0 0\nd /cx tmpfs rw 0 0\n";
        let expected = ["/c/x/y z", "/c/x"].map(PathBuf::from);
        assert_eq!(mounts_below(mounts, Path::new("/c")), expected);
    }
}
