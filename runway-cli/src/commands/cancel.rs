//! `runway cancel`: cancels a job.

use crate::arguments::{Form, Server};
use crate::client::Client;
use crate::failure::Failure;
use crate::online::print_job;
use crate::{Exit, output};
use runway_core::JobId;

pub(super) fn run(server: &Server, form: Form, id: JobId) -> Result<Exit, Failure> {
    let job = Client::new(server)?.cancel(id)?;
    if form.is_for_people() {
        output::print(&format!("{id}: cancelling; check progress with `runway status {id}`\n"))?;
    } else {
        print_job(form, &job)?;
    }
    Ok(Exit::Fine)
}
