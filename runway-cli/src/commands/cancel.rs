//! `runway cancel`: cancels a job.

use crate::arguments::{OutputFormat, ServerArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::remote::print_job;
use crate::{Exit, output};
use runway_core::JobId;

pub(super) fn run(server: &ServerArgs, form: OutputFormat, id: JobId) -> Result<Exit, CliError> {
    let job = Client::new(server)?.cancel(id)?;
    if form.is_human_readable() {
        output::print(&format!("{id}: cancelling; check progress with `runway status {id}`\n"))?;
    } else {
        print_job(form, &job)?;
    }
    Ok(Exit::Success)
}
