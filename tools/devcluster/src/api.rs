//! Requests to the API server, sent with `curl`.

use crate::state::{ClusterDir, ClusterState};
use runway_steps::{ToolError, search_path};
use serde_json::Value;
use std::process::Command;

/// A client of this checkout's API server, with the administrator's token.
pub(crate) struct ApiClient<'a> {
    dir: &'a ClusterDir,
    state: &'a ClusterState,
}

impl<'a> ApiClient<'a> {
    pub(crate) fn new(dir: &'a ClusterDir, state: &'a ClusterState) -> Self {
        Self { dir, state }
    }

    /// Sends a GET request and returns the response body.
    ///
    /// # Errors
    /// The error message of `curl` if it fails, or if the response has an error status.
    pub(crate) fn get(&self, path: &str) -> Result<String, String> {
        let output = Command::new("curl")
            .env("PATH", search_path())
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "5", "--cacert"])
            .arg(self.dir.join("certificates/apiserver.crt"))
            .arg("--header")
            .arg(format!("@{}", self.dir.path_string("header")))
            .arg(format!("{}{path}", self.state.server_url()))
            .output()
            .map_err(|error| format!("curl: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    pub(crate) fn get_json(&self, path: &str) -> Result<Value, String> {
        serde_json::from_str(&self.get(path)?).map_err(|error| error.to_string())
    }

    /// Fails unless the API server reports that it is ready.
    pub(crate) fn check_ready(&self) -> Result<(), String> {
        self.get("/readyz").and_then(|answer| if answer == "ok" { Ok(()) } else { Err(answer) })
    }

    pub(crate) fn version(&self) -> Result<String, String> {
        let version = self.get_json("/version")?;
        Ok(string_at(&version, "/gitVersion"))
    }

    /// Fails unless the node is ready and has no taint.
    pub(crate) fn check_node_ready(&self) -> Result<(), String> {
        let nodes = self.get_json("/api/v1/nodes")?;
        let Some(node) = nodes.pointer("/items/0") else { return Err("no node is registered".to_owned()) };
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|one| string_at(one, "/type") == "Ready");
        match ready {
            Some(ready) if string_at(ready, "/status") == "True" => {}
            Some(ready) => return Err(string_at(ready, "/message")),
            None => return Err("the node has not reported its status".to_owned()),
        }
        let taints = node.pointer("/spec/taints").and_then(Value::as_array);
        match taints.and_then(|taints| taints.first()) {
            Some(taint) => Err(format!("the node has the taint {}", string_at(taint, "/key"))),
            None => Ok(()),
        }
    }
}

/// Returns the kubeconfig of one user. The text is JSON, which is also valid YAML.
pub(crate) fn kubeconfig(
    dir: &ClusterDir,
    state: &ClusterState,
    user: &str,
    token: &str,
) -> Result<String, ToolError> {
    let authority = dir.join("certificates/apiserver.crt");
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "runway",
            "cluster": { "server": state.server_url(), "certificate-authority": authority },
        }],
        "users": [{ "name": user, "user": { "token": token } }],
        "contexts": [{ "name": user, "context": { "cluster": "runway", "user": user } }],
        "current-context": user,
    });
    serde_json::to_string_pretty(&config)
        .map_err(|error| ToolError::InvalidState { path: dir.admin_kubeconfig(), error })
}

fn string_at(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
