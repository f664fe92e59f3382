//! A namespace of a test's own, and the program on it.

use crate::process::{Folder, Process};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use runway_testing::cluster::{self, image, namespace, unique};
use runway_testing::policies;
use runway_testing::wire::{Answer, Wire, ask, get, post, until};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::time::Duration;

/// How long a call to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Server {
    pub process: Process,
    pub jobs: Api<Job>,
    folder: Folder,
    flags: Vec<&'static str>,
}

/// The way to the cluster as the user `runway`; in whose name an administrator acts where it has no kubeconfig of its own.
fn kubeconfig(folder: &Folder) -> PathBuf {
    if let Some(path) = std::env::var_os("RUNWAY_TEST_KUBECONFIG") {
        return path.into();
    }
    let mut config = Kubeconfig::read().unwrap();
    for user in config.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
        user.impersonate = Some("runway".to_owned());
    }
    folder.write("kubeconfig", serde_json::to_vec(&config).unwrap())
}

impl Server {
    pub async fn start(name: &str, change: impl FnOnce(String) -> String, flags: &[&'static str]) -> Self {
        let (admin, space): (Client, String) = (cluster::admin().await, unique(name));
        namespace(&admin, &space).await;
        let folder = Folder::new(name);
        folder.write("policy.yaml", change(policies::in_namespace(&space)));
        let flags: Vec<_> = ["--shutdown-delay", "1s"].iter().chain(flags).copied().collect();
        let process = Process::start(folder.path("policy.yaml"), kubeconfig(&folder), &flags).await;
        let server = Self { process, jobs: Api::namespaced(admin, &space), folder, flags };
        server.ready().await;
        server
    }

    /// The program once more, on the same namespace.
    pub async fn restart(&mut self) {
        self.process =
            Process::start(self.folder.path("policy.yaml"), kubeconfig(&self.folder), &self.flags).await;
        self.ready().await;
    }

    /// Takes the jobs away: the cluster makes their pods at its own pace, and those of other tests would have to wait.
    pub async fn clear(&self) {
        let (background, all) = (DeleteParams::background(), ListParams::default());
        self.jobs.delete_collection(&background, &all).await.unwrap();
    }

    async fn ready(&self) {
        until("it to be ready", async || {
            // Until the cluster has been asked for rights, nothing is answered yet.
            match Wire::connect(self.process.address).await {
                Ok(mut wire) => wire.ask(get("/readyz")).await.status == 200,
                Err(_) => false,
            }
        })
        .await;
    }

    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        ask(self.process.address, request).await
    }

    pub async fn submit(&self, job: &Json) -> Answer {
        self.ask(post("/v1/jobs", "", &job.to_string())).await
    }

    /// The id of a job that is created.
    pub async fn created(&self, job: &Json) -> String {
        let answer = self.submit(job).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job is in a phase.
    pub async fn comes_to(&self, id: &str, phase: &str) -> Json {
        let mut last = Json::Null;
        cluster::until(&format!("{id} to be {phase}"), async || {
            last = self.ask(get(&format!("/v1/jobs/{id}"))).await.json();
            (last["phase"] == phase).then(|| last.clone())
        })
        .await
    }
}

/// Whether a submission has to be sent again, with its key, since the API server did not answer. On a busy machine it may stand
/// still for a while: only that excuses such an answer, and so only one that comes when its time is over.
pub fn is_put_off(answer: &Answer, took: Duration) -> bool {
    let is_put_off = answer.status == 503 && answer.problem() == "backend-unavailable";
    assert!(!is_put_off || took >= CALL_TIMEOUT, "after {took:?}: {}", answer.text());
    is_put_off
}

/// A job that runs a script.
pub fn shell(name: &str, tenant: &str, script: &str) -> Json {
    json!({"name": name, "tenant": tenant, "image": image(), "command": ["sh", "-c", script]})
}

/// A job that no node has room for: it is the submission that counts.
pub fn waiting(name: &str, tenant: &str) -> Json {
    let mut job = shell(name, tenant, "true");
    job["resources"] = json!({"cpu": "500"});
    job
}
