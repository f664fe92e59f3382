//! A server on a real cluster, with test load: jobs that succeed or fail, refused jobs, and reads.

use super::scraper::{curl, free_port, wait_until};
use super::write_file;
use runway_devcluster::Kubectl;
use runway_steps::{ChildGuard, StepError, target_dir, workspace_root};
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// An image that exists on the node of the development cluster.
const IMAGE: &str = "runway.test/busybox:1";

pub(super) struct TestLoad {
    api: String,
    ops_port: u16,
    _server: ChildGuard,
    _namespace: NamespaceGuard,
}

impl TestLoad {
    /// Starts a server with its own namespace for jobs, and waits until the server is ready.
    pub(super) fn start(place: &Path) -> Result<Self, StepError> {
        let namespace = NamespaceGuard::create(Kubectl::new()?)?;
        let policy = fs::read_to_string(workspace_root().join("fixtures/policies/default.yaml"));
        let policy = policy.map_err(StepError::io("the policy"))?;
        let policy_file = place.join("policy.yaml");
        write_file(
            &policy_file,
            &policy.replace("namespace: runway-jobs", &format!("namespace: {}", namespace.name)),
        )?;
        let (port, ops_port) = (free_port()?, free_port()?);
        let log = File::create(place.join("runway-http.log"));
        let server = Command::new(target_dir().join("debug/runway-http"))
            .args(["--backend", "kubernetes", "--log-format", "json", "--policy"])
            .arg(&policy_file)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--listen-ops", &format!("127.0.0.1:{ops_port}")])
            .stderr(log.map_err(StepError::io("the server"))?)
            .spawn()
            .map_err(StepError::io("the server"))?;
        let load = Self {
            api: format!("http://127.0.0.1:{port}"),
            ops_port,
            _server: ChildGuard(server),
            _namespace: namespace,
        };
        wait_until("the server", || curl(&[&format!("http://127.0.0.1:{ops_port}/readyz")]).is_ok())?;
        Ok(load)
    }

    pub(super) fn ops_port(&self) -> u16 {
        self.ops_port
    }

    /// Submits a job that succeeds, a job that fails and a job that is refused. Then reads the jobs, the
    /// policy and a tenant.
    pub(super) fn send_requests(&self) -> Result<(), StepError> {
        for (tenant, command) in [("search", "true"), ("vision", "false")] {
            self.submit(tenant, json!({ "name": "load", "image": IMAGE, "command": [command] }))?;
        }
        self.submit("search", json!({ "name": "greedy", "image": IMAGE, "resources": { "cpu": "64" } }))?;
        for path in ["/v1/jobs", "/v1/policy", "/v1/tenants/search"] {
            curl(&[&format!("{}{path}", self.api)])?;
        }
        Ok(())
    }

    /// Submits a job. Any HTTP status is accepted, because tenants also reach their quotas and rate limits.
    fn submit(&self, tenant: &str, job: serde_json::Value) -> Result<(), StepError> {
        let (url, tenant, job) =
            (format!("{}/v1/jobs", self.api), format!("X-Tenant-ID: {tenant}"), job.to_string());
        let json = "Content-Type: application/json";
        let arguments = ["--no-fail", &url, "--header", json, "--header", &tenant, "--data-binary", &job];
        curl(&arguments).map(drop)
    }
}

/// A namespace that is deleted when this value is dropped.
struct NamespaceGuard {
    kubectl: Kubectl,
    name: String,
}

impl NamespaceGuard {
    fn create(kubectl: Kubectl) -> Result<Self, StepError> {
        let name = format!("t-dashboard-{}", std::process::id());
        let created = kubectl.run(&["create", "namespace", &name], None);
        created.map_err(|what| StepError::check_failed("the namespace of the dashboard's jobs", what))?;
        Ok(Self { kubectl, name })
    }
}

impl Drop for NamespaceGuard {
    fn drop(&mut self) {
        let _none = self.kubectl.run(&["delete", "namespace", &self.name, "--wait=false"], None);
    }
}
