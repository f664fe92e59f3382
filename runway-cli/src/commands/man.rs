//! `runway man`: the manual pages, for packages.

use crate::Exit;
use crate::arguments::Arguments;
use crate::failure::Failure;
use clap::CommandFactory;
use std::path::Path;

pub(super) fn run(folder: &Path) -> Result<Exit, Failure> {
    std::fs::create_dir_all(folder).map_err(Failure::Output)?;
    // Of `help`, which every command has, nobody looks for the page.
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).map_err(Failure::Output)?;
    Ok(Exit::Fine)
}
