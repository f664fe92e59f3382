//! The files that the local backend keeps for each job, and the processes of the jobs.

use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns a name that starts with `prefix` and is unique on this machine.
#[must_use]
pub fn unique_name(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Returns the directories of all jobs in a state directory.
#[must_use]
pub fn job_dirs(state_dir: &Path) -> Vec<PathBuf> {
    let jobs = std::fs::read_dir(state_dir.join("jobs")).into_iter().flatten().flatten();
    jobs.map(|job| job.path()).collect()
}

/// Returns the status of a job, or `null` if it has none.
#[must_use]
pub fn read_status(job_dir: &Path) -> Json {
    let text = std::fs::read(job_dir.join("status.json"));
    text.map_or(Json::Null, |text| serde_json::from_slice(&text).unwrap())
}

/// Returns the pid of a process of a job: its `supervisor` or its `init`.
#[must_use]
pub fn pid_of(job_dir: &Path, process: &str) -> i32 {
    i32::try_from(read_status(job_dir)[process]["pid"].as_u64().unwrap()).unwrap()
}

/// Returns whether a process in the status of a job still runs. The start time excludes a reused pid.
#[must_use]
pub fn is_alive(process: &Json) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process["pid"])).unwrap_or_default();
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    started == Some(&process["started"].to_string())
}

/// Asserts that nothing is mounted below the directory of a test, and deletes the directory.
pub fn remove_test_dir(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "mounts are left");
    std::fs::remove_dir_all(dir).unwrap();
}
