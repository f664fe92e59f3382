//! `runway completions`: prints a shell completion script.

use crate::arguments::Cli;
use crate::error::CliError;
use crate::{Exit, output};
use clap::CommandFactory;

pub(super) fn run(shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "runway", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
