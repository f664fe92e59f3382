//! `runway status`: shows the status of a job.

use crate::Exit;
use crate::arguments::{OutputFormat, ServerArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::remote::print_job;
use runway_core::JobId;

pub(super) fn run(server: &ServerArgs, form: OutputFormat, id: JobId) -> Result<Exit, CliError> {
    let job = Client::new(server)?.job(id)?;
    print_job(form, &job)?;
    Ok(Exit::Success)
}
