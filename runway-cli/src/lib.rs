//! The command line of Runway. Without a server or a cluster: what would become of a job, what it would cost, and what would be
//! created. With a server: submit, follow, list and cancel jobs.
//!
//! `main.rs` parses the arguments and hands them to [`run`]; each command has a file of its own below `commands`. What
//! those that need a server share is below `online`: a blocking client, so that no command brings a runtime along.

mod arguments;
mod client;
mod commands;
mod diagnostics;
mod document;
mod exit;
mod failure;
mod input;
mod online;
mod output;
mod policy;
pub mod reference;
mod time;

pub use arguments::Arguments;
pub use exit::Exit;

/// Runs one command to its end and tells how it ended.
#[must_use]
pub fn run(arguments: &Arguments) -> Exit {
    commands::run(arguments).unwrap_or_else(|error| {
        error.print();
        error.exit()
    })
}
