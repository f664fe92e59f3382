//! The `runway` command line.
//!
//! Local commands check, price, render, explain and diagnose jobs without a server. Other commands submit
//! jobs to a server, list them, follow them and cancel them. `runway run` runs a job on this machine.
//!
//! `main.rs` parses the arguments and passes them to [`run`]. Each command has a file below `commands`.
//! `client` is a blocking HTTP client, so no command needs an async runtime. `remote` has the code that
//! several commands for a server share.

mod arguments;
mod client;
mod commands;
mod diagnostics;
mod document;
mod error;
mod exit;
mod input;
mod output;
mod policy;
pub mod reference;
mod remote;
mod time;

pub use arguments::Cli;
pub use exit::Exit;

/// Runs one command and returns its exit status. Prints the error if the command fails.
#[must_use]
pub fn run(arguments: &Cli) -> Exit {
    commands::run(arguments).unwrap_or_else(|error| {
        error.print();
        error.exit()
    })
}
