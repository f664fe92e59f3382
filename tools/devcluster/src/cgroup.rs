//! The cgroups of one cluster. They contain every process that the node starts, so that all of them can be
//! found and killed.

use crate::process::POLL_INTERVAL;
use crate::state::ClusterState;
use runway_steps::ToolError;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Controllers that a kubelet needs in the unified hierarchy (cgroup v2).
const CONTROLLERS: &[&str] = &["+cpuset", "+cpu", "+io", "+memory", "+pids", "+hugetlb"];

/// Maximum time for killed processes to leave their cgroups.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Creates the cluster's cgroup in every hierarchy, with a child cgroup `node`. Returns the `cgroup.procs`
/// file of `node` in one hierarchy. Through this file, containerd, the relay and the kubelet join the cgroup.
pub(crate) fn create(state: &ClusterState) -> Result<PathBuf, ToolError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(ToolError::io("`/proc/self/mounts`"))?;
    let roots = hierarchies(&mounts);
    for root in &roots {
        let group = root.join(&state.tag);
        let io_error = |error| ToolError::Io { what: format!("control group `{}`", group.display()), error };
        for controller in CONTROLLERS {
            // The kernel may lack a controller. The kubelet reports an error if it needs a missing
            // controller.
            let _missing = fs::write(root.join("cgroup.subtree_control"), controller);
        }
        fs::create_dir_all(group.join("node")).map_err(io_error)?;
        for controller in CONTROLLERS {
            let _missing = fs::write(group.join("cgroup.subtree_control"), controller);
        }
        // In cgroup v1, a new cpuset group has no CPUs and no memory nodes. So it gets those of the root
        // group.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read(root.join(file)) {
                fs::write(group.join(file), all).map_err(io_error)?;
            }
        }
    }
    let preferred = roots.iter().find(|root| root.ends_with("pids")).or(roots.last());
    let root =
        preferred.ok_or_else(|| ToolError::Unsupported { what: "no cgroups are mounted".to_owned() })?;
    Ok(root.join(&state.tag).join("node/cgroup.procs"))
}

/// Kills every process in the cluster's cgroups and removes the cgroups. A missing cgroup is not an error.
pub(crate) fn remove(state: &ClusterState) -> Result<(), ToolError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(ToolError::io("`/proc/self/mounts`"))?;
    let groups = hierarchies(&mounts).into_iter().map(|root| root.join(&state.tag));
    let groups: Vec<PathBuf> = groups.filter(|group| group.is_dir()).collect();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let pids: Vec<i32> = groups.iter().flat_map(|group| member_pids(group)).collect();
        for pid in &pids {
            kill_member(*pid, &state.tag);
        }
        let remaining: Vec<&PathBuf> = groups.iter().filter(|group| !remove_tree(group)).collect();
        if remaining.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let last =
                remaining.iter().map(|group| group.display().to_string()).collect::<Vec<_>>().join(", ");
            let what = "the containers to exit".to_owned();
            return Err(ToolError::Timeout { what, seconds: TIMEOUT.as_secs(), last });
        }
        sleep(POLL_INTERVAL);
    }
}

/// Kills one process. The pidfd is opened first and the cgroup is checked afterwards, so that a process that
/// reuses the pid is never killed.
fn kill_member(pid: i32, tag: &str) {
    let handle = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if let Some(handle) = handle
        && groups.contains(&format!("/{tag}/"))
    {
        let _ended_meanwhile = pidfd_send_signal(handle, Signal::KILL);
    }
}

/// Returns the pids of all processes in a cgroup and its descendants.
fn member_pids(group: &Path) -> Vec<i32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    pids.extend(child_groups(group).iter().flat_map(|group| member_pids(group)));
    pids
}

/// Removes a cgroup and its descendants, the deepest first. Returns whether the cgroup is gone.
fn remove_tree(group: &Path) -> bool {
    for group in child_groups(group) {
        remove_tree(&group);
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn child_groups(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Returns the mount points of all cgroup hierarchies, from the text of `/proc/self/mounts`.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(place), Some("cgroup" | "cgroup2")) = (fields.next(), fields.next())
            && !found.contains(&PathBuf::from(place))
        {
            found.push(place.into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::hierarchies;
    use std::path::PathBuf;

    #[test]
    fn hierarchies_are_listed_once() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n";
        let expected = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(hierarchies(mounts), expected);
    }
}
