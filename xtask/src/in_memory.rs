//! Starts a server with an in-memory cluster, for test programs.

use runway_steps::{StepError, run_cargo, target_dir};
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A running server. It exits when its standard input is closed.
pub(crate) struct InMemoryServer(Child);

impl InMemoryServer {
    /// Builds and starts the server. Returns the server and its URL.
    pub(crate) fn start(options: impl FnOnce(&mut Command)) -> Result<(Self, String), StepError> {
        let step = "the server with an in-memory cluster";
        run_cargo(step, &["build", "--locked", "-p", "runway-http", "--example", "in_memory"])?;
        let mut command = Command::new(target_dir().join("debug/examples/in_memory"));
        options(&mut command);
        let not_started = |error| StepError::Io { step: step.to_owned(), error };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(not_started)?;
        let mut server = Self(child);
        let address = server.read_address().map_err(not_started)?;
        Ok((server, address))
    }

    fn read_address(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some(stdout) = self.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for InMemoryServer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}
