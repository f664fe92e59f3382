//! Commands that need a server. The server is the real one with a fake cluster, or one that misbehaves.

mod hostile;
mod jobs;
mod lost_responses;
mod output;
mod proxy;
mod refusals;
mod scripted_server;
mod server;
mod tls;
mod waiting;

use crate::program::{ProgramOutput, run_with_input, runway_command, to_program_output};
use std::process::{Command, Stdio};

pub const HELLO: &str = "fixtures/jobs/hello.yaml";

/// Returns a `runway` command for the server at `url`.
pub fn remote_command(url: &str, arguments: &[&str]) -> Command {
    let mut command = runway_command(arguments);
    command.env("RUNWAY_SERVER", url).stdin(Stdio::null());
    command
}

pub fn runway_at(url: &str, arguments: &[&str]) -> ProgramOutput {
    to_program_output(remote_command(url, arguments).output().unwrap())
}

/// Runs a command like [`runway_at`], with `stdin` as its standard input.
pub fn runway_at_with(url: &str, arguments: &[&str], stdin: &str) -> ProgramOutput {
    run_with_input(remote_command(url, arguments), stdin.as_bytes())
}

pub fn json(ran: &ProgramOutput) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}
