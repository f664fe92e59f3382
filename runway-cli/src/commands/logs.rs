//! `runway logs`: prints the output of a job.

use crate::Exit;
use crate::arguments::ServerArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::remote::{Progress, RetryPolicy, follow, print_output};
use runway_core::JobId;
use std::time::Duration;

pub(super) fn run(
    server: &ServerArgs,
    id: JobId,
    is_following: bool,
    tail: Option<u32>,
) -> Result<Exit, CliError> {
    let client = Client::new(server)?;
    if is_following {
        let job = client.job(id)?;
        let mut retry_policy = RetryPolicy::new(Duration::from_secs(server.retry_for.get()));
        follow(&client, &mut retry_policy, &job, tail, &mut Progress::default())?;
    } else {
        print_output(&client, id, tail)?;
    }
    Ok(Exit::Success)
}
