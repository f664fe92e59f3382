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

use crate::arguments::{Arguments, Command, Common};
use crate::{Exit, input::Failure};

/// Refuses options that would be passed over in silence.
fn refuse_unused(command: &str, common: &Common, unused: &[&str]) -> Result<(), Failure> {
    let given = [("--policy", common.policy.is_some()), ("--tenant", common.tenant.is_some())];
    match given.iter().find(|(name, is_given)| *is_given && unused.contains(name)) {
        Some((name, _)) => Err(Failure::Usage(format!("`runway {command}` has no use for `{name}`"))),
        None => Ok(()),
    }
}

/// Runs the command that was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Check(files) => check::run(&files.files, common),
        Command::Quote(files) => quote::run(&files.files, common),
        Command::Render { files, id } => render::run(files, *id, common),
        Command::Diagnose { file } => diagnose::run(file, common),
        #[cfg(target_os = "linux")]
        Command::Run(run) => Ok(run::run(run, common)),
        Command::Explain { code } => explain::run(*code, common.output),
        Command::Policy(command) => policy::run(command, common),
        Command::Schema => schema::run(common),
        Command::Completions { shell } => completions::run(*shell),
    }
}
