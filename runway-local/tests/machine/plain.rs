//! The same again as a user without any rights, to whom a control group was handed down.

use crate::bed::{hierarchies, is_plain, supervisor};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// Nobody is called so.
const USER: u32 = 64_999;

#[test]
fn everything_as_a_plain_user() {
    assert!(!is_plain(), "left out by whoever runs it as a plain user");
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(me, 0, "these tests are run by root, who can hand down control groups to a plain user");
    let name = format!("runway-plain-{}", std::process::id());
    let groups: Vec<_> = hierarchies().into_iter().map(|at| at.join(&name)).collect();
    for group in &groups {
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
    let supervisor = copy(&supervisor(), "supervisor");
    let own = folder.join("own");
    std::fs::create_dir(&own).unwrap();
    chown(&own, Some(USER), Some(USER)).unwrap();
    // Version 2 lets a user move processes only within what was handed down, so they begin there.
    let begun: Vec<_> = groups.iter().filter(|group| group.join("cgroup.kill").exists()).collect();
    let mut enter = String::new();
    for group in &begun {
        std::fs::create_dir(group.join("tests")).unwrap();
        enter.push_str(&format!("echo $$ >{}/tests/cgroup.procs && ", group.display()));
    }
    let ran = Command::new("sh")
        .args(["-c", &format!("{enter} exec setpriv \"$@\""), "sh"])
        .args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()])
        .arg(tests)
        .args(["--skip", "everything_as_a_plain_user"])
        .env("RUNWAY_TEST_GROUP", format!("/{name}"))
        .env("RUNWAY_TEST_SUPERVISOR", supervisor)
        .env("TMPDIR", &own)
        .env("HOME", &own)
        .current_dir(&own)
        .status()
        .unwrap();
    assert!(ran.success(), "as a plain user: see above");
    for group in begun {
        std::fs::remove_dir(group.join("tests")).unwrap();
    }
    for group in &groups {
        std::fs::remove_dir(group).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
