//! The commands that need a server, against the server's own router over a cluster in memory, and against servers that misbehave.

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

/// The program, told where the server is.
pub fn online(url: &str, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env("RUNWAY_SERVER", url).stdin(Stdio::null());
    command
}

pub fn runway_at(url: &str, arguments: &[&str]) -> Ran {
    ran(online(url, arguments).output().unwrap())
}

/// The same, with something on its standard input.
pub fn runway_at_with(url: &str, arguments: &[&str], stdin: &str) -> Ran {
    use std::io::Write;
    let mut command = online(url, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    ran(child.wait_with_output().unwrap())
}

pub fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}
