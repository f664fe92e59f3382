//! A test directory, a cgroup and servers for one test, and a check that no job leaves anything behind.

use crate::process::Process;
use runway_testing::delegation;
use runway_testing::wire::{HttpResponse, TIMEOUT, exchange, get, post, request};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const POLICY: &str = "
version: 1
limits:
  cpu: {min: 10m, max: '4', default: 500m}
  memory: {min: 1Mi, max: 1Gi, default: 64Mi}
  ephemeral_storage: {min: 1Mi, max: 1Gi, default: 64Mi}
  gpu: {max: 8}
  timeout: {min: 1s, max: 10m, default: 1m}
  retries: {max: 3, default: 0}
  network: [none, internal, open]
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
rate_limit: {per_minute: 60000, burst: 1000}
quota: {gpus: 8, concurrent_jobs: 3}
run: {termination_grace: 2s, run_as_user: 65532}
";

pub struct Harness {
    dir: PathBuf,
    cgroup: PathBuf,
}

impl Harness {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("h{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let cgroup = delegation::cgroup().join(&name);
        let dir = std::env::temp_dir().join(format!("runway-{name}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("policy.yaml"), POLICY).unwrap();
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
        let server = Server { process: Process::launch(&flags).await };
        server.wait_until("the server to be ready", async || server.get("/readyz").await.status == 200).await;
        server
    }

    /// Returns the directories of all jobs.
    pub fn jobs(&self) -> Vec<PathBuf> {
        let jobs = std::fs::read_dir(self.state_dir().join("jobs")).into_iter().flatten().flatten();
        jobs.map(|job| job.path()).collect()
    }

    /// Returns the pid of a process of a job: its `supervisor` or its `init`.
    pub fn pid_of(&self, id: &str, which: &str) -> i32 {
        let pid = &status(&self.state_dir().join("jobs").join(id))[which]["pid"];
        i32::try_from(pid.as_u64().unwrap()).unwrap()
    }
}

pub fn status(job: &Path) -> Json {
    std::fs::read(job.join("status.json")).map_or(Json::Null, |text| serde_json::from_slice(&text).unwrap())
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
            let status = status(job);
            !job.join("files").exists()
                && ["supervisor", "init"].iter().all(|which| !is_alive(&status[*which]))
                && !status["finished_at"].is_null()
        };
        while !self.jobs().iter().all(is_finished) {
            assert!(began.elapsed() < TIMEOUT, "processes or files are left: {:?}", self.jobs());
            std::thread::sleep(Duration::from_millis(5));
        }
        delegation::assert_cgroup_empty(&self.cgroup);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.to_str().unwrap()), "mounts are left");
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// Returns whether the process still runs. The start time excludes a reused pid.
fn is_alive(process: &Json) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process["pid"])).unwrap_or_default();
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    started == Some(&process["started"].to_string())
}

/// Starts a server that is expected to fail. Returns its exit code and its error output. `listen` contains
/// the flags for the addresses. If it is empty, the server listens on a loopback address.
pub async fn failed_start(listen: &[&str], flags: &[String]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(crate::process::program());
    command.args(if listen.is_empty() { &["--listen", "127.0.0.1:0"] } else { listen });
    let output = command.args(flags).kill_on_drop(true).output();
    let output = tokio::time::timeout(TIMEOUT, output).await.expect("the server exits in time").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

pub struct Server {
    pub process: Process,
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
