//! `runway schema`: how is a job file written?

use crate::arguments::Common;
use crate::input::Failure;
use crate::{Exit, output, policy};

pub(super) fn run(common: &Common) -> Result<Exit, Failure> {
    let policy = policy::load(common.policy.as_deref())?;
    output::print_json(&runway_core::schema::job(&policy.policy))?;
    Ok(Exit::Admitted)
}
