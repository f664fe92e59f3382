//! A test namespace, and the program that runs jobs in it.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use runway_testing::cluster::{self, create_namespace, image, unique};
use runway_testing::paths::{TempDir, program};
use runway_testing::policies;
use runway_testing::process::ServerProcess;
use runway_testing::wire::{HttpResponse, RawConnection, exchange, get, post, wait_until};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::time::Duration;

/// The program's time limit for a call to the API server of the cluster.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Server {
    pub process: ServerProcess,
    pub jobs: Api<Job>,
    dir: TempDir,
    flags: Vec<&'static str>,
}

/// Returns a kubeconfig for the user `runway`. If `RUNWAY_TEST_KUBECONFIG` is not set, the user of the
/// default kubeconfig impersonates `runway`.
fn kubeconfig(dir: &TempDir) -> PathBuf {
    if let Some(path) = std::env::var_os("RUNWAY_TEST_KUBECONFIG") {
        return path.into();
    }
    let mut config = Kubeconfig::read().unwrap();
    for user in config.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
        user.impersonate = Some("runway".to_owned());
    }
    dir.write("kubeconfig", serde_json::to_vec(&config).unwrap())
}

async fn start_program(dir: &TempDir, flags: &[&str]) -> ServerProcess {
    let program = program("RUNWAY_TEST_SERVER", env!("CARGO_BIN_EXE_runway-http"));
    ServerProcess::start_on_cluster(&program, dir, &kubeconfig(dir), flags).await
}

impl Server {
    pub async fn start(name: &str, change: impl FnOnce(String) -> String, flags: &[&'static str]) -> Self {
        let (admin, space): (Client, String) = (cluster::admin_client().await, unique(name));
        create_namespace(&admin, &space).await;
        let dir = TempDir::new(name);
        dir.write("policy.yaml", change(policies::in_namespace(&space)));
        let flags: Vec<_> = ["--shutdown-delay", "1s"].iter().chain(flags).copied().collect();
        let process = start_program(&dir, &flags).await;
        let server = Self { process, jobs: Api::namespaced(admin, &space), dir, flags };
        server.ready().await;
        server
    }

    /// Restarts the program on the same namespace.
    pub async fn restart(&mut self) {
        self.process = start_program(&self.dir, &self.flags).await;
        self.ready().await;
    }

    /// Deletes the jobs. Otherwise, the cluster would keep creating their pods, and delay the pods of other
    /// tests.
    pub async fn delete_jobs(&self) {
        let (background, all) = (DeleteParams::background(), ListParams::default());
        self.jobs.delete_collection(&background, &all).await.unwrap();
    }

    async fn ready(&self) {
        wait_until("the server to be ready", async || {
            // The server responds only after it has checked its permissions on the cluster.
            match RawConnection::connect(self.process.address).await {
                Ok(mut wire) => wire.exchange(get("/readyz")).await.status == 200,
                Err(_) => false,
            }
        })
        .await;
    }

    pub async fn exchange(&self, request: impl AsRef<[u8]>) -> HttpResponse {
        exchange(self.process.address, request).await
    }

    pub async fn submit(&self, job: &Json) -> HttpResponse {
        self.exchange(post("/v1/jobs", "", &job.to_string())).await
    }

    /// Submits a job, asserts that it is created, and returns its id.
    pub async fn create_job(&self, job: &Json) -> String {
        let answer = self.submit(job).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job has the phase, and returns the job.
    pub async fn wait_for_phase(&self, id: &str, phase: &str) -> Json {
        let mut last = Json::Null;
        cluster::wait_until(&format!("{id} to be {phase}"), async || {
            last = self.exchange(get(&format!("/v1/jobs/{id}"))).await.json();
            (last["phase"] == phase).then(|| last.clone())
        })
        .await
    }
}

/// Returns whether the API server of the cluster did not respond in time, so the client must retry with the
/// same key. On a busy machine, the API server can stall. Panics if such a response came before the call
/// timeout.
pub fn is_backend_timeout(answer: &HttpResponse, took: Duration) -> bool {
    let is_timeout = answer.status == 503 && answer.problem() == "backend-unavailable";
    assert!(!is_timeout || took >= CALL_TIMEOUT, "after {took:?}: {}", answer.text());
    is_timeout
}

/// Returns a job that runs a shell script.
pub fn shell_job(name: &str, tenant: &str, script: &str) -> Json {
    json!({"name": name, "tenant": tenant, "image": image(), "command": ["sh", "-c", script]})
}

/// Returns a job that no node can run, for tests that need only the submission.
pub fn unschedulable_job(name: &str, tenant: &str) -> Json {
    let mut job = shell_job(name, tenant, "true");
    job["resources"] = json!({"cpu": "500"});
    job
}
