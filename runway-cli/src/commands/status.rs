//! `runway status`: shows the status of a job.

use crate::Exit;
use crate::arguments::{Form, Server};
use crate::client::Client;
use crate::failure::Failure;
use crate::online::print_job;
use runway_core::JobId;

pub(super) fn run(server: &Server, form: Form, id: JobId) -> Result<Exit, Failure> {
    let job = Client::new(server)?.job(id)?;
    print_job(form, &job)?;
    Ok(Exit::Fine)
}
