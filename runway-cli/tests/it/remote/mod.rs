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

use crate::program::{ProgramOutput, runway_command, to_program_output};
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
    use std::io::Write;
    let mut command = remote_command(url, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may exit without reading its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    to_program_output(child.wait_with_output().unwrap())
}

pub fn json(ran: &ProgramOutput) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}
