//! Checks with `/proc` on the node that the server's process is confined as its manifest requires.

use std::fs;
use std::path::{Path, PathBuf};

/// The name of the server's process.
const PROCESS_NAME: &str = "runway-http";

/// Expected values in `/proc/PID/status`: user and group, no capabilities, no new privileges, seccomp filter.
const EXPECTED_STATUS: [(&str, &str); 6] = [
    ("Uid:", "65532 65532 65532 65532"),
    ("Gid:", "65532 65532 65532 65532"),
    ("CapEff:", "0000000000000000"),
    ("CapBnd:", "0000000000000000"),
    ("NoNewPrivs:", "1"),
    ("Seccomp:", "2"),
];

/// Finds the server's process in the pod with this uid and checks the process.
pub(super) fn check(pod: &str) -> Result<(), String> {
    let found: Vec<PathBuf> = process_dirs().filter(|place| is_server_of(place, pod)).collect();
    let [proc_dir] = found.as_slice() else {
        return Err(format!("found {} processes of the server in the pod {pod}, expected one", found.len()));
    };
    let read = |name| fs::read_to_string(proc_dir.join(name)).map_err(|error| format!("{name}: {error}"));
    let deviations = find_deviations(&read("status")?, &read("mounts")?);
    if deviations.is_empty() {
        Ok(())
    } else {
        Err(format!("the server is not confined: {}", deviations.join(", ")))
    }
}

fn process_dirs() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether a process is the server in the pod with this uid. The kubelet puts the uid into the names of the
/// pod's cgroups.
fn is_server_of(proc_dir: &Path, pod: &str) -> bool {
    let read = |name| fs::read_to_string(proc_dir.join(name)).unwrap_or_default();
    read("comm").trim() == PROCESS_NAME && read("cgroup").contains(&format!("/pod{pod}/"))
}

/// Returns the deviations from [`EXPECTED_STATUS`], and whether the root file system is not mounted
/// read-only.
fn find_deviations(status: &str, mounts: &str) -> Vec<String> {
    let mut deviations = Vec::new();
    for (name, expected) in EXPECTED_STATUS {
        let found = field(status, name);
        if found != expected {
            deviations.push(format!("{name} {found}"));
        }
    }
    let root = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/"));
    let options = root.and_then(|line| line.split(' ').nth(3)).unwrap_or_default();
    let mode = options.split(',').next().unwrap_or_default();
    if mode != "ro" {
        deviations.push(format!("the root is mounted {mode}"));
    }
    deviations
}

/// Returns a field of `/proc/PID/status`, with its words separated by single spaces.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::find_deviations;

    const STATUS: &str = "Name:\trunway-http\nUid:\t65532\t65532\t65532\t65532\nGid:\t65532\t65532\t65532\t65532\n\
        CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    const MOUNTS: &str = "overlay / overlay ro,relatime 0 0\nproc /proc proc rw 0 0\n";

    #[test]
    fn each_deviation_is_reported() {
        assert_eq!(find_deviations(STATUS, MOUNTS), [""; 0]);
        let root = STATUS.replace("Uid:\t65532\t65532", "Uid:\t65532\t0");
        assert_eq!(find_deviations(&root, MOUNTS), ["Uid: 65532 0 65532 65532"]);
        let strong = STATUS.replace("CapBnd:\t0000000000000000", "CapBnd:\t00000000a80425fb");
        assert_eq!(find_deviations(&strong, MOUNTS), ["CapBnd: 00000000a80425fb"]);
        let open = STATUS.replace("Seccomp:\t2", "Seccomp:\t0").replace("NoNewPrivs:\t1", "NoNewPrivs:\t0");
        assert_eq!(find_deviations(&open, MOUNTS), ["NoNewPrivs: 0", "Seccomp: 0"]);
        assert_eq!(find_deviations(STATUS, &MOUNTS.replace("ro,", "rw,")), ["the root is mounted rw"]);
        assert_eq!(find_deviations(STATUS, ""), ["the root is mounted "]);
    }
}
