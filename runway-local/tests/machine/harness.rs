//! The harness of the tests: a machine with its own state directory and control group. When it is dropped, it
//! checks that no job has left anything behind.

use crate::requests;
pub use crate::requests::{command, script};
use runway_control::JobSnapshot;
use runway_control::backend::CreateRequest;
use runway_core::{JobId, JobSpec};
use runway_local::{Job, LocalSettings, Machine, StartError, Stream, Supervision};
use runway_testing::paths::program;
use runway_testing::{delegation, machine, policies};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub struct Harness {
    pub machine: Machine,
    state_dir: PathBuf,
    cgroup: PathBuf,
}

pub fn supervisor() -> PathBuf {
    program("RUNWAY_TEST_SUPERVISOR", env!("CARGO_BIN_EXE_runway-supervisor"))
}

/// The path of the test launcher: a program that starts a job and never exits.
pub fn launcher() -> PathBuf {
    program("RUNWAY_TEST_LAUNCHER", env!("CARGO_BIN_EXE_runway-test-launcher"))
}

/// Returns a request to create a job under the policy [`policies::MACHINE`].
pub fn create_request(spec: JobSpec) -> CreateRequest {
    requests::create_request(policies::MACHINE, spec)
}

impl Harness {
    pub fn new() -> Self {
        Self::with_settings(|_| {})
    }

    pub fn with_settings(change: impl FnOnce(&mut LocalSettings)) -> Self {
        let name = machine::unique_name("t");
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

    pub fn job_dir(&self, id: JobId) -> PathBuf {
        self.state_dir.join("jobs").join(id.as_str())
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
        let jobs = || machine::job_dirs(&self.state_dir);
        let is_hidden = |job: &PathBuf| job.file_name().unwrap().to_string_lossy().starts_with('.');
        wait_until("job directories to be deleted", || !jobs().iter().any(is_hidden));
        for job in jobs() {
            assert!(!job.join("files").exists(), "files are left in {job:?}");
            let status = machine::read_status(&job);
            assert!(!status.is_null(), "no status in {job:?}");
            for process in ["supervisor", "init"] {
                wait_until(&format!("the {process} to exit"), || !machine::is_alive(&status[process]));
            }
        }
        machine::remove_test_dir(&self.state_dir);
    }
}
