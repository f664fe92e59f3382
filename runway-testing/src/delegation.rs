//! Reruns the tests of a program as an unprivileged user with a delegated cgroup.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The uid of the unprivileged user. No account has this uid.
pub const TEST_UID: u32 = 64_999;

/// The variable with the path of the delegated cgroup, relative to the root of each hierarchy.
const CGROUP_VARIABLE: &str = "RUNWAY_TEST_GROUP";

/// Returns `true` in the process that [`rerun_unprivileged`] starts.
#[must_use]
pub fn is_unprivileged_run() -> bool {
    std::env::var_os(CGROUP_VARIABLE).is_some()
}

/// Returns the parent cgroup of the tests' cgroups, relative to the root of each hierarchy.
#[must_use]
pub fn cgroup() -> PathBuf {
    std::env::var_os(CGROUP_VARIABLE).map_or_else(|| PathBuf::from("/runway-tests"), PathBuf::from)
}

/// Returns the mount points of all cgroup hierarchies.
#[must_use]
pub fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mut found = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        if matches!(fields[2], "cgroup" | "cgroup2") {
            found.push(PathBuf::from(fields[1]));
        }
    }
    found
}

/// Asserts that the cgroup of a test has no child cgroups, and removes the cgroup.
pub fn assert_cgroup_empty(cgroup: &Path) {
    for hierarchy in cgroup_mounts() {
        let group = hierarchy.join(cgroup.strip_prefix("/").unwrap());
        let entries = std::fs::read_dir(&group).into_iter().flatten().flatten();
        let left: Vec<_> = entries.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "cgroups remain: {left:?}");
        let _ = std::fs::remove_dir(&group);
        // Only the last test can remove the shared parent, because the kernel removes no cgroup with
        // children. The delegated cgroup stays.
        let _ = group.parent().filter(|_| !is_unprivileged_run()).map(std::fs::remove_dir);
    }
}

/// Reruns all tests of this program except `skipped_test` as the unprivileged user, in a directory of that
/// user. The test `skipped_test` is the caller.
///
/// `programs` contains environment variables, each with the path of a program. The programs are copied,
/// because the user cannot access the originals. `files` are copied from `root` to the same relative paths in
/// the directory.
pub fn rerun_unprivileged(skipped_test: &str, programs: &[(&str, PathBuf)], root: &Path, files: &[&str]) {
    assert!(!is_unprivileged_run(), "the rerun must skip this test");
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(me, 0, "these tests must run as root, which can delegate cgroups to an unprivileged user");
    let name = format!("runway-plain-{}", std::process::id());
    let cgroups: Vec<_> = cgroup_mounts().into_iter().map(|at| at.join(&name)).collect();
    for group in &cgroups {
        // Delegate the cgroup as systemd does for a user. With cgroup v2, the parent must enable the
        // controllers for its children.
        let parent = group.parent().unwrap();
        let controllers = std::fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        for controller in
            controllers.split_whitespace().filter(|name| ["cpu", "memory", "pids"].contains(name))
        {
            std::fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        std::fs::create_dir(group).unwrap();
        chown(group, Some(TEST_UID), Some(TEST_UID)).unwrap();
        for file in ["cgroup.procs", "cgroup.subtree_control"] {
            let _ = chown(group.join(file), Some(TEST_UID), Some(TEST_UID));
        }
    }
    let directory = Path::new("/tmp").join(&name);
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    let copy = |from: &Path, to: &str| {
        std::fs::copy(from, directory.join(to)).unwrap();
        directory.join(to)
    };
    let tests = copy(&std::env::current_exe().unwrap(), "tests");
    let home = directory.join("own");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(TEST_UID), Some(TEST_UID)).unwrap();
    for file in files {
        std::fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
        copy(&root.join(file), &format!("own/{file}"));
    }
    // With cgroup v2, the user can move processes only within the delegated cgroup. So the tests must start
    // in it. The child process is a shell that first waits for a line of input. This process moves the shell
    // into the delegated cgroup and then sends the line. After that, the shell runs the tests.
    let process_cgroups: Vec<_> = cgroups
        .iter()
        .filter(|group| group.join("cgroup.kill").exists())
        .map(|group| group.join("tests"))
        .collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", "read begin && exec \"$@\" </dev/null", "sh"])
        .arg(tests)
        // The arguments of this process, without the filter `plain`, which selects only the calling test.
        .args(std::env::args().skip(1).filter(|word| word != "plain"))
        .args(["--skip", skipped_test])
        .env(CGROUP_VARIABLE, format!("/{name}"))
        .env("TMPDIR", &home)
        .env("HOME", &home)
        .current_dir(&home)
        .stdin(Stdio::piped())
        .uid(TEST_UID)
        .gid(TEST_UID);
    for (number, (variable, program)) in programs.iter().enumerate() {
        command.env(variable, copy(program, &format!("program-{number}")));
    }
    let mut child = command.spawn().unwrap();
    for group in &process_cgroups {
        std::fs::create_dir(group).unwrap();
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"begin\n").unwrap();
    let status = child.wait().unwrap();
    // Remove the directory and the cgroups even if the tests failed.
    std::fs::remove_dir_all(&directory).unwrap();
    let removed = process_cgroups.iter().chain(&cgroups);
    let left: Vec<_> = removed.filter(|group| !remove_cgroup(group)).collect();
    assert!(status.success(), "the tests failed as an unprivileged user; see the output above");
    assert!(left.is_empty(), "cgroups remain: {left:?}");
}

/// Removes a cgroup. As long as the cgroup is busy, because processes in it still exit, the removal is
/// retried for up to 10 seconds. Returns `false` if the cgroup could not be removed.
fn remove_cgroup(cgroup: &Path) -> bool {
    let start = Instant::now();
    while let Err(error) = std::fs::remove_dir(cgroup) {
        if error.kind() != ErrorKind::ResourceBusy || start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
