//! The command line of Runway: what would become of a job, what it would cost, and what would be created, all without a
//! server or a cluster.
//!
//! `main.rs` parses the arguments and hands them to [`run`]; each command has a file of its own below `commands`.

mod arguments;
mod clock;
mod commands;
mod diagnostics;
mod document;
mod exit;
mod input;
mod output;
mod policy;
pub mod reference;

pub use arguments::Arguments;
pub use exit::Exit;

/// Runs one command to its end and tells how it ended.
#[must_use]
pub fn run(arguments: &Arguments) -> Exit {
    commands::run(arguments).unwrap_or_else(|error| {
        output::error(&error);
        Exit::NotJudged
    })
}
