//! `runway man`: writes the manual pages, for packages.

use crate::Exit;
use crate::arguments::Arguments;
use crate::failure::Failure;
use clap::CommandFactory;
use std::path::Path;

pub(super) fn run(folder: &Path) -> Result<Exit, Failure> {
    let failed = |error| Failure::ManualPages { folder: folder.to_owned(), error };
    std::fs::create_dir_all(folder).map_err(failed)?;
    // Skip the pages of the `help` subcommands.
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    Ok(Exit::Fine)
}
