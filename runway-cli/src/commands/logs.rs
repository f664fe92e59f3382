//! `runway logs`: prints the output of a job.

use crate::Exit;
use crate::arguments::Server;
use crate::client::Client;
use crate::failure::Failure;
use crate::online::{Patience, Progress, follow, print_output};
use runway_core::JobId;
use std::time::Duration;

pub(super) fn run(server: &Server, id: JobId, is_followed: bool, tail: Option<u32>) -> Result<Exit, Failure> {
    let client = Client::new(server)?;
    if is_followed {
        let job = client.job(id)?;
        let mut patience = Patience::new(Duration::from_secs(server.retry_for.get()));
        follow(&client, &mut patience, &job, tail, &mut Progress::default())?;
    } else {
        print_output(&client, id, tail)?;
    }
    Ok(Exit::Fine)
}
