//! A test directory, a cgroup and servers for one test, and a check that no job leaves anything behind.

use runway_testing::process::ServerProcess;
use runway_testing::wire::{HttpResponse, TIMEOUT, exchange, get, post, request};
use runway_testing::{delegation, machine, policies};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Returns the path of the server.
pub fn program() -> PathBuf {
    runway_testing::paths::program("RUNWAY_TEST_SERVER", env!("CARGO_BIN_EXE_runway-http"))
}

pub struct Harness {
    dir: PathBuf,
    cgroup: PathBuf,
}

impl Harness {
    pub fn new() -> Self {
        let name = machine::unique_name("h");
        let cgroup = delegation::cgroup().join(&name);
        let dir = std::env::temp_dir().join(format!("runway-{name}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("policy.yaml"), policies::MACHINE).unwrap();
        Self { dir, cgroup }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the flags of a server of this test.
    pub fn flags(&self) -> Vec<String> {
        let (policy, state) = (self.path("policy.yaml"), self.state_dir());
        let flags = [
            ("--policy", policy.as_path()),
            ("--state-dir", &state),
            ("--cgroup-parent", &self.cgroup),
            ("--shutdown-delay", Path::new("0s")),
            ("--backend", Path::new("local")),
        ];
        flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.display().to_string()]).collect()
    }

    pub async fn serve(&self, more: &[&str]) -> Server {
        let flags = self.flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let server = Server { process: ServerProcess::launch(&program(), &flags).await };
        server.wait_until("the server to be ready", async || server.get("/readyz").await.status == 200).await;
        server
    }

    /// Returns the directories of all jobs.
    pub fn jobs(&self) -> Vec<PathBuf> {
        machine::job_dirs(&self.state_dir())
    }

    /// Returns the pid of a process of a job: its `supervisor` or its `init`.
    pub fn pid_of(&self, id: &str, which: &str) -> i32 {
        machine::pid_of(&self.state_dir().join("jobs").join(id), which)
    }
}

impl Drop for Harness {
    /// Waits until all jobs are finished, and asserts that no process, cgroup, mount or `files` directory of
    /// a job is left. If the test has failed, only kills the jobs.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for job in self.jobs() {
                let _ = std::fs::write(job.join("kill"), "");
            }
            return;
        }
        let began = Instant::now();
        let is_finished = |job: &PathBuf| {
            let status = machine::read_status(job);
            !job.join("files").exists()
                && ["supervisor", "init"].iter().all(|which| !machine::is_alive(&status[*which]))
                && !status["finished_at"].is_null()
        };
        while !self.jobs().iter().all(is_finished) {
            assert!(began.elapsed() < TIMEOUT, "processes or files are left: {:?}", self.jobs());
            std::thread::sleep(Duration::from_millis(5));
        }
        delegation::assert_cgroup_empty(&self.cgroup);
        machine::remove_test_dir(&self.dir);
    }
}

/// Starts a server that is expected to fail. Returns its exit code and its error output. `listen` contains
/// the flags for the addresses. If it is empty, the server listens on a loopback address.
pub async fn failed_start(listen: &[&str], flags: &[String]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(program());
    command.args(if listen.is_empty() { &["--listen", "127.0.0.1:0"] } else { listen });
    let output = command.args(flags).kill_on_drop(true).output();
    let output = tokio::time::timeout(TIMEOUT, output).await.expect("the server exits in time").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

pub struct Server {
    pub process: ServerProcess,
}

impl Server {
    pub async fn get(&self, path: &str) -> HttpResponse {
        exchange(self.process.address, get(path)).await
    }

    pub async fn submit(&self, job: &Json, headers: &str) -> HttpResponse {
        exchange(self.process.address, post("/v1/jobs", headers, &job.to_string())).await
    }

    /// Submits a job, asserts that it is admitted, and returns its id.
    pub async fn submit_admitted(&self, job: &Json) -> String {
        let answer = self.submit(job, "").await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn job(&self, id: &str) -> Json {
        self.get(&format!("/v1/jobs/{id}")).await.json()
    }

    pub async fn cancel(&self, id: &str) -> u16 {
        exchange(self.process.address, request("DELETE", &format!("/v1/jobs/{id}"), "", "")).await.status
    }

    pub async fn logs(&self, id: &str, query: &str) -> String {
        let answer = self.get(&format!("/v1/jobs/{id}/logs{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }

    /// Waits until a job is finished, and returns the job.
    pub async fn wait_until_finished(&self, id: &str) -> Json {
        self.wait_until("the job to finish", async || !self.job(id).await["finished_at"].is_null()).await;
        self.job(id).await
    }

    /// Waits until the output of a job contains the text.
    pub async fn wait_for_output(&self, id: &str, text: &str) {
        self.wait_until(text, async || {
            let answer = self.get(&format!("/v1/jobs/{id}/logs")).await;
            answer.status == 200 && answer.text().contains(text)
        })
        .await;
    }

    pub async fn wait_until(&self, awaited: &str, holds: impl AsyncFnMut() -> bool) {
        runway_testing::wire::wait_until(awaited, holds).await;
    }

    /// Kills the server with SIGKILL.
    pub async fn kill(mut self) {
        self.process.signal(rustix::process::Signal::KILL);
        self.process.wait_for_exit().await;
    }
}

/// Returns a job that runs a shell script.
pub fn script(text: &str) -> Json {
    json!({"name": "job", "tenant": "search", "image": "busybox", "command": ["sh", "-c", text]})
}

pub fn with_field(mut job: Json, field: &str, value: Json) -> Json {
    job[field] = value;
    job
}
