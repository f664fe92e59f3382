//! The server against its own OpenAPI document: schemathesis, a program from PyPI, makes requests of every kind out of the document and
//! holds the answers against it.

use crate::in_memory::Server;
use crate::python;
use runway_steps::{self as steps, Failed};
use std::path::PathBuf;
use std::process::Command;

/// The version of schemathesis.
const VERSION: &str = "4.32.5";

/// For how long it makes requests, in seconds.
const TIME: &str = "45";

/// Holds a server over a cluster in memory against its document.
pub(crate) fn check() -> Result<(), Failed> {
    let program = python::environment(&[("schemathesis", VERSION)])?.join("bin/schemathesis");
    let (_server, address) = Server::start(|command| {
        command.arg("--policy").arg(folder().join("policy.yaml"));
    })?;
    let mut run = Command::new(program);
    run.arg("--config-file").arg(folder().join("schemathesis.toml"));
    // The same requests every time: what fails can be made to fail again.
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
    steps::run("the server against its own description", &mut run)
}

/// Where the server's policy and the settings of schemathesis are.
fn folder() -> PathBuf {
    steps::root().join("runway-http/tests/description")
}
