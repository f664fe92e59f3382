//! Starts a server with an in-memory cluster, for test programs.

use runway_steps::{Failed, cargo, target_folder};
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A running server. It exits when its standard input is closed.
pub(crate) struct Server(Child);

impl Server {
    /// Builds and starts the server. Returns it with its address.
    pub(crate) fn start(options: impl FnOnce(&mut Command)) -> Result<(Self, String), Failed> {
        let step = "the server with an in-memory cluster";
        cargo(step, &["build", "--locked", "-p", "runway-http", "--example", "in_memory"])?;
        let mut command = Command::new(target_folder().join("debug/examples/in_memory"));
        options(&mut command);
        let not_started = |error| Failed::NotStarted { step: step.to_owned(), error };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(not_started)?;
        let mut server = Self(child);
        let address = server.address().map_err(not_started)?;
        Ok((server, address))
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
