//! The harness of the tests: a machine with its own state directory and control group. When it is dropped, it
//! checks that no job has left anything behind.

pub use crate::requests::{POLICY, command, create_request, create_request_with_policy, script};
use runway_control::JobSnapshot;
use runway_core::{JobId, JobSpec};
use runway_local::{Job, LocalSettings, Machine, StartError, Stream, Supervision};
use runway_testing::delegation;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub struct Harness {
    pub machine: Machine,
    state_dir: PathBuf,
    cgroup: PathBuf,
}

pub fn supervisor() -> PathBuf {
    let configured = std::env::var_os("RUNWAY_TEST_SUPERVISOR").map(PathBuf::from);
    configured.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_runway-supervisor")))
}

/// The path of the test launcher: a program that starts a job and never exits.
pub fn launcher() -> PathBuf {
    let configured = std::env::var_os("RUNWAY_TEST_LAUNCHER").map(PathBuf::from);
    configured.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_runway-test-launcher")))
}

impl Harness {
    pub fn new() -> Self {
        Self::with_settings(|_| {})
    }

    pub fn with_settings(change: impl FnOnce(&mut LocalSettings)) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let cgroup = delegation::cgroup().join(&name);
        let state_dir = std::env::temp_dir().join(format!("runway-{name}"));
        let mut settings = LocalSettings::new(&state_dir);
        settings.cgroup_parent = Some(cgroup.clone());
        settings.supervisor_program = supervisor();
        change(&mut settings);
        let machine = Machine::open(settings).unwrap();
        Self { machine, state_dir, cgroup }
    }

    /// Opens the same state directory again, as another process or a restarted server would.
    pub fn reopen(&self) -> Machine {
        Machine::open(self.machine.settings().clone()).unwrap()
    }

    pub fn start(&self, spec: JobSpec) -> Job {
        self.try_start(spec).unwrap()
    }

    pub fn try_start(&self, spec: JobSpec) -> Result<Job, StartError> {
        Job::start(&self.machine, &create_request(spec), Supervision::Detached)
    }

    /// Runs a job until it is finished.
    pub fn run(&self, spec: JobSpec) -> FinishedJob {
        let job = self.start(spec);
        wait_finished(&job)
    }

    pub fn find_job(&self, id: JobId) -> Job {
        Job::find(&self.machine, id).unwrap().unwrap()
    }

    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

pub struct FinishedJob {
    pub snapshot: JobSnapshot,
    pub stdout: String,
    pub stderr: String,
}

/// Waits until a job is finished, and reads its output.
pub fn wait_finished(job: &Job) -> FinishedJob {
    let snapshot = job.wait(Some(Duration::from_secs(60))).unwrap();
    assert!(!snapshot.status.occupies_resources, "the job is not finished: {:?}", snapshot.status);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut reader = job.reader().unwrap();
    while let Some(chunk) = reader.next_blocking().unwrap() {
        match chunk.stream {
            Stream::Stdout => stdout.extend_from_slice(&chunk.bytes),
            Stream::Stderr | Stream::Marker => stderr.extend_from_slice(&chunk.bytes),
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    FinishedJob { snapshot, stdout: text(stdout), stderr: text(stderr) }
}

/// Waits until a condition holds. Panics after 60 seconds.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for Harness {
    /// Checks that no process, control group, mount or temporary file of a job remains. Then deletes the
    /// state directory. Does nothing if the test has panicked.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        delegation::assert_cgroup_empty(&self.cgroup);
        let jobs =
            || std::fs::read_dir(self.state_dir.join("jobs")).unwrap().map(|job| job.unwrap().file_name());
        wait_until("job directories to be deleted", || {
            !jobs().any(|name| name.to_string_lossy().starts_with('.'))
        });
        for job in std::fs::read_dir(self.state_dir.join("jobs")).unwrap() {
            let job = job.unwrap().path();
            assert!(!job.join("files").exists(), "files are left in {job:?}");
            let status = std::fs::read(job.join("status.json")).unwrap();
            let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
            for process in ["supervisor", "init"] {
                let (pid, start) = (&status[process]["pid"], &status[process]["started"]);
                if pid.is_null() {
                    continue;
                }
                let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let field = |stat: String| {
                    stat.rsplit_once(')')
                        .and_then(|(_, rest)| rest.split_whitespace().nth(19).map(str::to_owned))
                };
                wait_until(&format!("the {process} to exit"), || field(stat()) != Some(start.to_string()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.state_dir.to_str().unwrap()), "mounts are left");
        std::fs::remove_dir_all(&self.state_dir).unwrap();
    }
}
