//! The commands, with one module for each.

mod cancel;
mod check;
mod completions;
mod diagnose;
mod explain;
mod guardrails;
mod logs;
mod ls;
mod man;
mod policy;
mod quote;
mod render;
#[cfg(target_os = "linux")]
mod run;
mod schema;
mod status;
mod submit;
mod usage;

use crate::arguments::{Cli, Command};
use crate::{Exit, error::CliError};

/// Runs the command of the command line.
pub(crate) fn run(arguments: &Cli) -> Result<Exit, CliError> {
    match &arguments.command {
        Command::Check(files) => check::run(files),
        Command::Quote(files) => quote::run(files),
        Command::Render { files, id } => render::run(files, *id),
        #[cfg(target_os = "linux")]
        Command::Run(arguments) => Ok(run::run(arguments)),
        Command::Submit(arguments) => submit::run(arguments),
        Command::Status { server, output, id } => status::run(server, output.format, *id),
        Command::Ls { server, output, phase, watch } => ls::run(server, output.format, *phase, *watch),
        Command::Logs { server, follow, tail, id } => logs::run(server, *id, *follow, *tail),
        Command::Cancel { server, output, id } => cancel::run(server, output.format, *id),
        Command::Usage { server, output, of_tenant: of } => usage::run(server, output.format, of.as_ref()),
        Command::Diagnose { output, now, file } => diagnose::run(file, *now, output.format),
        Command::Explain { output, code } => explain::run(*code, output.format),
        Command::Policy(command) => policy::run(command),
        Command::Schema { policy } => schema::run(policy),
        Command::Completions { shell } => completions::run(*shell),
        Command::Man { dir: folder } => man::run(folder),
    }
}
