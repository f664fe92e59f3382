//! Tests the server against its OpenAPI document. Schemathesis, a program from PyPI, generates requests from
//! the document and compares the responses with it.

use crate::in_memory::Server;
use crate::python;
use runway_steps::{self as steps, Failed};
use std::path::PathBuf;
use std::process::Command;

/// The version of Schemathesis.
const VERSION: &str = "4.32.5";

/// Maximum test time in seconds.
const TIME: &str = "45";

/// Tests a server with an in-memory cluster.
pub(crate) fn check() -> Result<(), Failed> {
    let program = python::environment(&[("schemathesis", VERSION)])?.join("bin/schemathesis");
    let (_server, address) = Server::start(|command| {
        command.arg("--policy").arg(folder().join("policy.yaml"));
    })?;
    let mut run = Command::new(program);
    run.arg("--config-file").arg(folder().join("schemathesis.toml"));
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
        TIME,
    ]);
    run.arg(format!("{address}/openapi.json")).current_dir(steps::target_folder());
    steps::run("the server and its OpenAPI document", &mut run)
}

/// Returns the directory with the server's policy and the configuration of Schemathesis.
fn folder() -> PathBuf {
    steps::root().join("runway-http/tests/description")
}
