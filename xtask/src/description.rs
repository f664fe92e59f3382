//! The server against its own OpenAPI document: schemathesis, a program from PyPI, makes requests of every kind out of the document and
//! holds the answers against it.

use crate::steps::{self, Failed, cargo};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, io};

/// The version of schemathesis.
const VERSION: &str = "4.32.5";

/// For how long it makes requests, in seconds.
const TIME: &str = "45";

/// Holds a server over a cluster in memory against its document.
pub(crate) fn check() -> Result<(), Failed> {
    let step = "the server against its own description";
    let not_started = |error| Failed::NotStarted { step: step.to_owned(), error };
    let program = program()?;
    cargo("the server for it", &["build", "--locked", "-p", "runway-http", "--example", "in_memory"])?;
    let mut server = Server::start().map_err(not_started)?;
    let address = server.address().map_err(not_started)?;
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
    steps::run(step, &mut run)
}

/// Where the server's policy and the settings of schemathesis are.
fn folder() -> PathBuf {
    steps::root().join("runway-http/tests/description")
}

/// A server over a cluster in memory. It ends with its standard input.
struct Server(Child);

impl Server {
    fn start() -> io::Result<Self> {
        let mut server = Command::new(steps::target_folder().join("debug/examples/in_memory"));
        server.arg("--policy").arg(folder().join("policy.yaml"));
        Ok(Self(server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    fn address(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some(said) = self.0.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

/// Schemathesis in an environment of its own, which is made where there is none yet.
fn program() -> Result<PathBuf, Failed> {
    let caches = crate::cluster::cache_folder().map_err(|failure| Failed::Cluster { failure })?;
    let folder = caches.join(format!("schemathesis-{VERSION}"));
    let program = folder.join("bin/schemathesis");
    if !folder.join("complete").exists() {
        install(&folder)?;
    }
    Ok(program)
}

fn install(folder: &Path) -> Result<(), Failed> {
    steps::run(
        "an environment for schemathesis",
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder),
    )?;
    let mut pip = Command::new(folder.join("bin/pip"));
    steps::run("schemathesis", pip.args(["install", "--quiet", &format!("schemathesis=={VERSION}")]))?;
    let marked = fs::write(folder.join("complete"), "");
    marked.map_err(|error| Failed::NotStarted { step: "schemathesis".to_owned(), error })
}
