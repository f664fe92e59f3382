//! Runs the tests of a program a second time as an unprivileged user with a delegated control group.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The user id, which no account has.
pub const USER: u32 = 64_999;

/// Names the group that was handed down, from the root of each hierarchy.
const GROUP: &str = "RUNWAY_TEST_GROUP";

/// Whether this is the run of the plain user.
#[must_use]
pub fn is_plain() -> bool {
    std::env::var_os(GROUP).is_some()
}

/// The group below which tests make their own, from the root of each hierarchy.
#[must_use]
pub fn group() -> PathBuf {
    std::env::var_os(GROUP).map_or_else(|| PathBuf::from("/runway-tests"), PathBuf::from)
}

/// Every hierarchy of control groups that is mounted here.
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

/// A group of a test's own is empty, and gone.
pub fn check_groups(group: &Path) {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(group.strip_prefix("/").unwrap());
        let entries = std::fs::read_dir(&group).into_iter().flatten().flatten();
        let left: Vec<_> = entries.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "groups are left: {left:?}");
        let _ = std::fs::remove_dir(&group);
        // The one that all tests share goes with the last of them; what was handed down stays.
        let _ = group.parent().filter(|_| !is_plain()).map(std::fs::remove_dir);
    }
}

/// Runs all tests of this program again, but for `this_one`, in a folder of the user's own. The variables name programs, which the
/// user cannot reach where they are; `files` are in the folder, under the same names as below `root`.
pub fn as_plain_user(this_one: &str, programs: &[(&str, PathBuf)], root: &Path, files: &[&str]) {
    assert!(!is_plain(), "left out by whoever runs it as a plain user");
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(me, 0, "these tests are run by root, who can hand down control groups to a plain user");
    let name = format!("runway-plain-{}", std::process::id());
    let groups: Vec<_> = hierarchies().into_iter().map(|at| at.join(&name)).collect();
    for group in &groups {
        // What systemd does for each user: version 2 has limits in a group where the one above hands them down.
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
    // Version 2 lets a user move processes only within what was handed down, so they begin there: whoever is to run the tests waits
    // until it has been moved.
    let begun: Vec<_> = groups
        .iter()
        .filter(|group| group.join("cgroup.kill").exists())
        .map(|group| group.join("tests"))
        .collect();
    let mut again = Command::new("sh");
    again
        .args(["-c", "read begin && exec \"$@\" </dev/null", "sh"])
        .arg(tests)
        // What this run was asked for, but for what brought it here.
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
    // Also after a test that failed.
    std::fs::remove_dir_all(&folder).unwrap();
    let removed = begun.iter().chain(&groups);
    let left: Vec<_> = removed.filter(|group| !is_removed(group)).collect();
    assert!(ran.success(), "as a plain user: see above");
    assert!(left.is_empty(), "groups are left: {left:?}");
}

/// Removes a group, once the last of its processes has ended.
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
