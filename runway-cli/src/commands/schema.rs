//! `runway schema`: prints the JSON Schema of job files.

use crate::arguments::PolicyFlag;
use crate::error::CliError;
use crate::{Exit, output, policy};

pub(super) fn run(policy: &PolicyFlag) -> Result<Exit, CliError> {
    let policy = policy::load(policy.file.as_deref())?;
    output::print_json(&runway_core::schema::job(&policy.policy))?;
    Ok(Exit::Success)
}
