//! Requests to the API server, sent with `curl`.

use crate::state::{Folder, State};
use runway_steps::{Failure, search_path};
use serde_json::Value;
use std::process::Command;

/// A client of this checkout's API server, with the administrator's token.
pub(crate) struct Api<'a> {
    folder: &'a Folder,
    state: &'a State,
}

impl<'a> Api<'a> {
    pub(crate) fn new(folder: &'a Folder, state: &'a State) -> Self {
        Self { folder, state }
    }

    /// Returns the response body.
    ///
    /// # Errors
    /// The error message of `curl`.
    pub(crate) fn text(&self, path: &str) -> Result<String, String> {
        let output = Command::new("curl")
            .env("PATH", search_path())
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "5", "--cacert"])
            .arg(self.folder.join("certificates/apiserver.crt"))
            .arg("--header")
            .arg(format!("@{}", self.folder.text("header")))
            .arg(format!("{}{path}", self.state.server()))
            .output()
            .map_err(|error| format!("curl: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    pub(crate) fn json(&self, path: &str) -> Result<Value, String> {
        serde_json::from_str(&self.text(path)?).map_err(|error| error.to_string())
    }

    /// Fails unless the API server reports that it is ready.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.text("/readyz").and_then(|answer| if answer == "ok" { Ok(()) } else { Err(answer) })
    }

    pub(crate) fn version(&self) -> Result<String, String> {
        let version = self.json("/version")?;
        Ok(text(&version, "/gitVersion"))
    }

    /// Fails unless the node is ready and has no taint.
    pub(crate) fn node_ready(&self) -> Result<(), String> {
        let nodes = self.json("/api/v1/nodes")?;
        let Some(node) = nodes.pointer("/items/0") else { return Err("no node is registered".to_owned()) };
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|one| text(one, "/type") == "Ready");
        match ready {
            Some(ready) if text(ready, "/status") == "True" => {}
            Some(ready) => return Err(text(ready, "/message")),
            None => return Err("the node has not reported its status".to_owned()),
        }
        let taints = node.pointer("/spec/taints").and_then(Value::as_array);
        match taints.and_then(|taints| taints.first()) {
            Some(taint) => Err(format!("the node has the taint {}", text(taint, "/key"))),
            None => Ok(()),
        }
    }
}

/// Returns the kubeconfig of one user. It is JSON, which is also valid YAML.
pub(crate) fn kubeconfig(folder: &Folder, state: &State, user: &str, token: &str) -> Result<String, Failure> {
    let authority = folder.join("certificates/apiserver.crt");
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "runway",
            "cluster": { "server": state.server(), "certificate-authority": authority },
        }],
        "users": [{ "name": user, "user": { "token": token } }],
        "contexts": [{ "name": user, "context": { "cluster": "runway", "user": user } }],
        "current-context": user,
    });
    serde_json::to_string_pretty(&config)
        .map_err(|error| Failure::State { path: folder.admin_kubeconfig(), error })
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
