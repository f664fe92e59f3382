//! Waits for jobs to end.

use super::patience::Patience;
use super::show;
use crate::client::{Client, Jobs, Trouble};
use crate::failure::Failure;
use crate::output::{self, OutputError, printable};
use runway_api::JobView;
use runway_core::JobId;
use runway_core::status::{Phase, Reason};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The delay between two polls of a job after a change.
pub(super) const POLL: Duration = Duration::from_millis(250);

/// Maximum delay between two polls of a job without changes.
pub(super) const LONGEST_POLL: Duration = Duration::from_secs(2);

/// Returns whether waiting must stop: the phase is final, or the server does not know the outcome.
pub(crate) fn has_ended(job: &JobView) -> bool {
    job.phase.is_final() || job.phase == Phase::Unknown
}

/// Reports status changes of jobs on standard error.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    told: BTreeMap<JobId, (Phase, Option<Reason>, String)>,
}

impl Progress {
    /// Prints the status of an unfinished job if it has changed. Returns whether it has changed.
    pub(crate) fn tell(&mut self, job: &JobView) -> Result<bool, OutputError> {
        let state = (job.phase, job.reason, job.message.clone());
        let is_news = self.told.get(&job.id) != Some(&state);
        // The caller prints the final status.
        if is_news && !has_ended(job) {
            let (name, message) = (printable(&job.name), printable(&job.message));
            let mut line = format!("{} {name}: {}: {message}\n", job.id, show::state(job));
            if let Some(hint) = &job.hint {
                let _ = writeln!(line, "  hint: {}", printable(hint));
            }
            output::print_aside(&line)?;
        }
        self.told.insert(job.id, state);
        Ok(is_news)
    }
}

/// Waits until all of these jobs have ended. Returns their final status.
pub(crate) fn wait_for(
    client: &Client,
    patience: &mut Patience,
    mut jobs: Jobs,
    progress: &mut Progress,
) -> Result<Jobs, Failure> {
    for job in &jobs {
        progress.tell(job)?;
    }
    let mut pause = POLL;
    while jobs.iter().any(|job| !has_ended(job)) {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_POLL);
        for job in jobs.iter_mut().filter(|job| !has_ended(job)) {
            look_again(client, patience, job)?;
            if progress.tell(job)? {
                pause = POLL;
            }
        }
    }
    Ok(jobs)
}

/// Polls a job. Retries if the server does not answer. Sets the phase to `unknown` if the server no longer
/// has the job.
fn look_again(client: &Client, patience: &mut Patience, job: &mut JobView) -> Result<(), Failure> {
    loop {
        match client.job(job.id) {
            Ok(seen) => {
                patience.renew();
                *job = seen;
                return Ok(());
            }
            Err(trouble) if trouble.is_not_found() => {
                job.phase = Phase::Unknown;
                job.reason = None;
                "the server no longer knows the job".clone_into(&mut job.message);
                job.hint = None;
                return Ok(());
            }
            Err(trouble @ Trouble::Foreign { .. }) => return Err(trouble.into()),
            Err(trouble) => patience.bear(trouble)?,
        }
    }
}
