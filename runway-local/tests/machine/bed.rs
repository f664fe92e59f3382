//! The harness of the tests: a machine with its own state directory and control group. It checks that no job
//! leaves anything behind.

pub use crate::order::{POLICY, command, order, order_by, script};
use runway_control::Observation;
use runway_core::{JobId, JobSpec};
use runway_local::{Job, LocalSettings, Machine, StartError, Stream, Supervision};
use runway_testing::delegation;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub struct Bed {
    pub machine: Machine,
    folder: PathBuf,
    group: PathBuf,
}

pub fn supervisor() -> PathBuf {
    let elsewhere = std::env::var_os("RUNWAY_TEST_SUPERVISOR").map(PathBuf::from);
    elsewhere.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_runway-supervisor")))
}

/// The path of a program that starts a job and never exits.
pub fn launcher() -> PathBuf {
    let elsewhere = std::env::var_os("RUNWAY_TEST_LAUNCHER").map(PathBuf::from);
    elsewhere.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_runway-test-launcher")))
}

impl Bed {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut LocalSettings)) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let group = delegation::group().join(&name);
        let folder = std::env::temp_dir().join(format!("runway-{name}"));
        let mut settings = LocalSettings::new(&folder);
        settings.cgroup_parent = Some(group.clone());
        settings.program = supervisor();
        change(&mut settings);
        let machine = Machine::open(settings).unwrap();
        Self { machine, folder, group }
    }

    /// Opens the same state directory again, as another process or a restarted one would.
    pub fn again(&self) -> Machine {
        Machine::open(self.machine.settings().clone()).unwrap()
    }

    pub fn start(&self, spec: JobSpec) -> Job {
        self.try_start(spec).unwrap()
    }

    pub fn try_start(&self, spec: JobSpec) -> Result<Job, StartError> {
        Job::start(&self.machine, &order(spec), Supervision::Detached)
    }

    /// Runs a job until it is finished.
    pub fn run(&self, spec: JobSpec) -> Ran {
        let job = self.start(spec);
        ended(&job)
    }

    pub fn machine_job(&self, id: JobId) -> Job {
        Job::find(&self.machine, id).unwrap().unwrap()
    }

    pub fn state(&self) -> &Path {
        &self.folder
    }
}

pub struct Ran {
    pub seen: Observation,
    pub out: String,
    pub err: String,
}

/// Waits until a job is finished, and reads its output.
pub fn ended(job: &Job) -> Ran {
    let seen = job.wait(Some(Duration::from_secs(60))).unwrap();
    assert!(!seen.status.holds, "the job is not finished: {:?}", seen.status);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut reader = job.reader().unwrap();
    while let Some(chunk) = reader.next_blocking().unwrap() {
        match chunk.stream {
            Stream::Out => out.extend_from_slice(&chunk.bytes),
            Stream::Err | Stream::Mark => err.extend_from_slice(&chunk.bytes),
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { seen, out: text(out), err: text(err) }
}

/// Waits until a condition holds. Panics after 60 seconds.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for Bed {
    /// Checks that no process, control group, mount or file of a job remains.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        delegation::check_groups(&self.group);
        let jobs =
            || std::fs::read_dir(self.folder.join("jobs")).unwrap().map(|job| job.unwrap().file_name());
        wait_until("job directories to be deleted", || {
            !jobs().any(|name| name.to_string_lossy().starts_with('.'))
        });
        for job in std::fs::read_dir(self.folder.join("jobs")).unwrap() {
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
        assert!(!mounts.contains(self.folder.to_str().unwrap()), "mounts are left");
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}
