//! `runway completions`: prints a shell completion script.

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::{Exit, output};
use clap::CommandFactory;

pub(super) fn run(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "runway", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}
