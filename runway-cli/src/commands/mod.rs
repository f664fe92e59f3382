//! One file a command.

mod check;
mod completions;
mod diagnose;
mod explain;
mod guardrails;
mod policy;
mod quote;
mod render;
#[cfg(target_os = "linux")]
mod run;
mod schema;

use crate::arguments::{Arguments, Command};
use crate::{Exit, input::Failure};

/// Runs the command that was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Check(files) => check::run(&files.files, common),
        Command::Quote(files) => quote::run(&files.files, common),
        Command::Render { files, id } => render::run(files, *id, common),
        #[cfg(target_os = "linux")]
        Command::Run(run) => Ok(run::run(run, common)),
        Command::Diagnose { file } => diagnose::run(file, common.output),
        Command::Explain { code } => explain::run(*code, common.output),
        Command::Policy(command) => policy::run(command, common),
        Command::Schema => schema::run(common),
        Command::Completions { shell } => completions::run(*shell),
    }
}
