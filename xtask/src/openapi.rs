//! Tests the server against its OpenAPI document. Schemathesis, a program from PyPI, generates requests from
//! the document and compares the responses with it.

use crate::in_memory::InMemoryServer;
use crate::python;
use runway_steps::{self as steps, StepError};
use std::path::PathBuf;
use std::process::Command;

/// The version of Schemathesis.
const VERSION: &str = "4.32.5";

/// Maximum test time in seconds.
const MAX_SECONDS: &str = "45";

/// Tests a server with an in-memory cluster.
pub(crate) fn check() -> Result<(), StepError> {
    let program = python::ensure_venv(&[("schemathesis", VERSION)])?.join("bin/schemathesis");
    let (_server, address) = InMemoryServer::start(|command| {
        command.arg("--policy").arg(config_dir().join("policy.yaml"));
    })?;
    let mut run = Command::new(program);
    run.arg("--config-file").arg(config_dir().join("schemathesis.toml"));
    // The seed is fixed, so that a failure can be reproduced.
    run.args([
        "--no-color",
        "run",
        "--checks",
        "all",
        "--seed",
        "1",
        "--continue-on-failure",
        "--max-time",
        MAX_SECONDS,
    ]);
    run.arg(format!("{address}/openapi.json")).current_dir(steps::target_dir());
    steps::run_step("the server and its OpenAPI document", &mut run)
}

/// Returns the directory with the server's policy and the configuration of Schemathesis.
fn config_dir() -> PathBuf {
    steps::workspace_root().join("runway-http/tests/description")
}
