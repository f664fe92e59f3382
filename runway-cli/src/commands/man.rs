//! `runway man`: writes the manual pages to a directory, for example for a package.

use crate::Exit;
use crate::arguments::Cli;
use crate::error::CliError;
use clap::CommandFactory;
use std::path::Path;

pub(super) fn run(dir: &Path) -> Result<Exit, CliError> {
    let write_error = |error| CliError::ManualPages { folder: dir.to_owned(), error };
    std::fs::create_dir_all(dir).map_err(write_error)?;
    // Skip the pages of the `help` subcommands.
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, dir).map_err(write_error)?;
    Ok(Exit::Success)
}
