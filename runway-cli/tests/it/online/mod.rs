//! Commands against the real server with a cluster in memory, and against servers that misbehave.

mod hostile;
mod jobs;
mod lost;
mod output;
mod proxy;
mod refusals;
mod script;
mod server;
mod tls;
mod waiting;

use crate::run::{Ran, command, ran};
use std::process::{Command, Stdio};

pub const HELLO: &str = "fixtures/jobs/hello.yaml";

/// Returns a `runway` command for the server at `url`.
pub fn online(url: &str, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env("RUNWAY_SERVER", url).stdin(Stdio::null());
    command
}

pub fn runway_at(url: &str, arguments: &[&str]) -> Ran {
    ran(online(url, arguments).output().unwrap())
}

/// Like [`runway_at`], with standard input.
pub fn runway_at_with(url: &str, arguments: &[&str], stdin: &str) -> Ran {
    use std::io::Write;
    let mut command = online(url, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may exit without reading its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    ran(child.wait_with_output().unwrap())
}

pub fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}
