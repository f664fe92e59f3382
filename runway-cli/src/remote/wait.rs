//! Waits for jobs to end.

use super::retry::RetryPolicy;
use super::show;
use crate::client::{Client, ClientError, Jobs};
use crate::error::CliError;
use crate::output::{self, OutputError, escape_control};
use runway_api::JobView;
use runway_core::JobId;
use runway_core::status::{Phase, Reason};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The first delay between two polls of a job. The delay doubles with each poll, and is reset after a change.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum delay between two polls of a job.
pub(super) const MAX_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Returns whether a command must stop waiting for the job: the phase is final, or the phase is `unknown`
/// because the outcome cannot be known.
pub(crate) fn has_ended(job: &JobView) -> bool {
    job.phase.is_final() || job.phase == Phase::Unknown
}

/// Reports status changes of jobs on standard error.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last_reported: BTreeMap<JobId, (Phase, Option<Reason>, String)>,
}

impl Progress {
    /// Prints the status of an unfinished job if it has changed since the last call. Returns whether the
    /// status of the job has changed.
    pub(crate) fn report_change(&mut self, job: &JobView) -> Result<bool, OutputError> {
        let state = (job.phase, job.reason, job.message.clone());
        let has_changed = self.last_reported.get(&job.id) != Some(&state);
        // The caller prints the final status.
        if has_changed && !has_ended(job) {
            let (name, message) = (escape_control(&job.name), escape_control(&job.message));
            let mut line = format!("{} {name}: {}: {message}\n", job.id, show::format_phase(job));
            if let Some(hint) = &job.hint {
                let _ = writeln!(line, "  hint: {}", escape_control(hint));
            }
            output::eprint(&line)?;
        }
        self.last_reported.insert(job.id, state);
        Ok(has_changed)
    }
}

/// Waits until all given jobs have ended. Returns the jobs with their final status.
pub(crate) fn wait_for_jobs(
    client: &Client,
    retry_policy: &mut RetryPolicy,
    mut jobs: Jobs,
    progress: &mut Progress,
) -> Result<Jobs, CliError> {
    for job in &jobs {
        progress.report_change(job)?;
    }
    let mut interval = POLL_INTERVAL;
    while jobs.iter().any(|job| !has_ended(job)) {
        std::thread::sleep(interval);
        interval = (interval * 2).min(MAX_POLL_INTERVAL);
        for job in jobs.iter_mut().filter(|job| !has_ended(job)) {
            poll_job(client, retry_policy, job)?;
            if progress.report_change(job)? {
                interval = POLL_INTERVAL;
            }
        }
    }
    Ok(jobs)
}

/// Polls a job. Retries if the server does not answer. Sets the phase to `unknown` if the server no longer
/// has the job.
fn poll_job(client: &Client, retry_policy: &mut RetryPolicy, job: &mut JobView) -> Result<(), CliError> {
    loop {
        match client.job(job.id) {
            Ok(current) => {
                retry_policy.reset();
                *job = current;
                return Ok(());
            }
            Err(error) if error.is_not_found() => {
                job.phase = Phase::Unknown;
                job.reason = None;
                "the server no longer knows the job".clone_into(&mut job.message);
                job.hint = None;
                return Ok(());
            }
            Err(error @ ClientError::UnexpectedResponse { .. }) => return Err(error.into()),
            Err(error) => retry_policy.wait_or_fail(error)?,
        }
    }
}
