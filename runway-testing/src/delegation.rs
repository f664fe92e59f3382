//! Reruns the tests of a program as an unprivileged user with a delegated cgroup.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The uid of the unprivileged user. No account has this uid.
pub const USER: u32 = 64_999;

/// The variable with the path of the delegated cgroup, relative to the root of each hierarchy.
const GROUP: &str = "RUNWAY_TEST_GROUP";

/// Returns `true` in the rerun as the unprivileged user.
#[must_use]
pub fn is_plain() -> bool {
    std::env::var_os(GROUP).is_some()
}

/// Returns the parent cgroup of the tests' cgroups, relative to the root of each hierarchy.
#[must_use]
pub fn group() -> PathBuf {
    std::env::var_os(GROUP).map_or_else(|| PathBuf::from("/runway-tests"), PathBuf::from)
}

/// Returns the mount points of all cgroup hierarchies.
#[must_use]
pub fn hierarchies() -> Vec<PathBuf> {
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

/// Asserts that a test's cgroup has no children, and removes it.
pub fn check_groups(group: &Path) {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(group.strip_prefix("/").unwrap());
        let entries = std::fs::read_dir(&group).into_iter().flatten().flatten();
        let left: Vec<_> = entries.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "cgroups remain: {left:?}");
        let _ = std::fs::remove_dir(&group);
        // The last test also removes the shared parent. The delegated cgroup stays.
        let _ = group.parent().filter(|_| !is_plain()).map(std::fs::remove_dir);
    }
}

/// Reruns all tests of this program except `skipped_test` as the unprivileged user, in a directory of that
/// user.
///
/// `programs` are variables with the paths of programs. The programs are copied, because the user cannot
/// access the originals. `files` are copied from `root` to the same relative paths in the directory.
pub fn as_plain_user(this_one: &str, programs: &[(&str, PathBuf)], root: &Path, files: &[&str]) {
    assert!(!is_plain(), "the rerun must skip this test");
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(me, 0, "these tests must run as root, which can delegate cgroups to an unprivileged user");
    let name = format!("runway-plain-{}", std::process::id());
    let groups: Vec<_> = hierarchies().into_iter().map(|at| at.join(&name)).collect();
    for group in &groups {
        // As systemd does for a user: with cgroup v2, the parent must enable the controllers for its
        // children.
        let above = group.parent().unwrap();
        let offered = std::fs::read_to_string(above.join("cgroup.controllers")).unwrap_or_default();
        for controller in offered.split_whitespace().filter(|name| ["cpu", "memory", "pids"].contains(name)) {
            std::fs::write(above.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        std::fs::create_dir(group).unwrap();
        chown(group, Some(USER), Some(USER)).unwrap();
        for file in ["cgroup.procs", "cgroup.subtree_control"] {
            let _ = chown(group.join(file), Some(USER), Some(USER));
        }
    }
    let folder = Path::new("/tmp").join(&name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let copy = |from: &Path, to: &str| {
        std::fs::copy(from, folder.join(to)).unwrap();
        folder.join(to)
    };
    let tests = copy(&std::env::current_exe().unwrap(), "tests");
    let own = folder.join("own");
    std::fs::create_dir(&own).unwrap();
    chown(&own, Some(USER), Some(USER)).unwrap();
    for file in files {
        std::fs::create_dir_all(own.join(file).parent().unwrap()).unwrap();
        copy(&root.join(file), &format!("own/{file}"));
    }
    // With cgroup v2, a user can move processes only within the delegated cgroup. So the shell starts in it,
    // and waits until it has been moved before it runs the tests.
    let begun: Vec<_> = groups
        .iter()
        .filter(|group| group.join("cgroup.kill").exists())
        .map(|group| group.join("tests"))
        .collect();
    let mut again = Command::new("sh");
    again
        .args(["-c", "read begin && exec \"$@\" </dev/null", "sh"])
        .arg(tests)
        // The arguments of this run, without the filter that selected it.
        .args(std::env::args().skip(1).filter(|word| word != "plain"))
        .args(["--skip", this_one])
        .env(GROUP, format!("/{name}"))
        .env("TMPDIR", &own)
        .env("HOME", &own)
        .current_dir(&own)
        .stdin(Stdio::piped())
        .uid(USER)
        .gid(USER);
    for (number, (variable, program)) in programs.iter().enumerate() {
        again.env(variable, copy(program, &format!("program-{number}")));
    }
    let mut ran = again.spawn().unwrap();
    for group in &begun {
        std::fs::create_dir(group).unwrap();
        std::fs::write(group.join("cgroup.procs"), ran.id().to_string()).unwrap();
    }
    ran.stdin.take().unwrap().write_all(b"begin\n").unwrap();
    let ran = ran.wait().unwrap();
    // Clean up after failed tests as well.
    std::fs::remove_dir_all(&folder).unwrap();
    let removed = begun.iter().chain(&groups);
    let left: Vec<_> = removed.filter(|group| !is_removed(group)).collect();
    assert!(ran.success(), "the tests failed as an unprivileged user; see the output above");
    assert!(left.is_empty(), "cgroups remain: {left:?}");
}

/// Removes a cgroup after its last process has ended. Returns `false` if this fails.
fn is_removed(group: &Path) -> bool {
    let began = Instant::now();
    while let Err(error) = std::fs::remove_dir(group) {
        if error.kind() != ErrorKind::ResourceBusy || began.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
