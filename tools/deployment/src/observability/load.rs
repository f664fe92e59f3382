//! A server on a real cluster, with test load: jobs that succeed or fail, refused jobs, and reads.

use super::scraper::{curl, free_port, until};
use super::{not_started, write, wrong};
use runway_devcluster::Kubectl;
use runway_steps::{Failed, Running, root, target_folder};
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// An image that exists on the node of the development cluster.
const IMAGE: &str = "runway.test/busybox:1";

pub(super) struct Load {
    api: String,
    ops_port: u16,
    _server: Running,
    _namespace: Namespace,
}

impl Load {
    /// Starts a server with its own namespace.
    pub(super) fn begin(place: &Path) -> Result<Self, Failed> {
        let namespace = Namespace::make(Kubectl::new()?)?;
        let policy = fs::read_to_string(root().join("fixtures/policies/default.yaml"));
        let policy = policy.map_err(|error| not_started("the policy", error))?;
        let file = place.join("policy.yaml");
        write(&file, &policy.replace("namespace: runway-jobs", &format!("namespace: {}", namespace.name)))?;
        let (port, ops_port) = (free_port()?, free_port()?);
        let log = File::create(place.join("runway-http.log"));
        let server = Command::new(target_folder().join("debug/runway-http"))
            .args(["--backend", "kubernetes", "--log-format", "json", "--policy"])
            .arg(&file)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--listen-ops", &format!("127.0.0.1:{ops_port}")])
            .stderr(log.map_err(|error| not_started("the server", error))?)
            .spawn()
            .map_err(|error| not_started("the server", error))?;
        let load = Self {
            api: format!("http://127.0.0.1:{port}"),
            ops_port,
            _server: Running(server),
            _namespace: namespace,
        };
        until("the server", || curl(&[&format!("http://127.0.0.1:{ops_port}/readyz")]).is_ok())?;
        Ok(load)
    }

    pub(super) fn ops_port(&self) -> u16 {
        self.ops_port
    }

    /// Sends one request of each kind.
    pub(super) fn round(&self) -> Result<(), Failed> {
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
    fn submit(&self, tenant: &str, job: serde_json::Value) -> Result<(), Failed> {
        let (url, tenant, job) =
            (format!("{}/v1/jobs", self.api), format!("X-Tenant-ID: {tenant}"), job.to_string());
        let json = "Content-Type: application/json";
        let arguments = ["--no-fail", &url, "--header", json, "--header", &tenant, "--data-binary", &job];
        curl(&arguments).map(drop)
    }
}

/// A namespace that is deleted when this value is dropped.
struct Namespace {
    kubectl: Kubectl,
    name: String,
}

impl Namespace {
    fn make(kubectl: Kubectl) -> Result<Self, Failed> {
        let name = format!("t-dashboard-{}", std::process::id());
        let made = kubectl.call(&["create", "namespace", &name], None);
        made.map_err(|what| wrong("the namespace of the dashboard's jobs", what))?;
        Ok(Self { kubectl, name })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _none = self.kubectl.call(&["delete", "namespace", &self.name, "--wait=false"], None);
    }
}
