//! `runway ls`: lists jobs.

use crate::arguments::{OutputFormat, ServerArgs};
use crate::client::{Client, Jobs};
use crate::error::CliError;
use crate::output::{OutputError, escape_control};
use crate::remote::{RetryPolicy, TextTable, print_serialized};
use crate::time::{format_age, format_timestamp};
use crate::{Exit, output};
use runway_api::JobView;
use runway_control::{Env, SystemEnv};
use runway_core::JobId;
use runway_core::status::Phase;
use runway_core::units::{Timestamp, Usd};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

/// The delay between two requests of `--watch` for the list of jobs.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The escape sequence that moves the cursor to the top left and clears the screen.
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[J";

pub(super) fn run(
    server: &ServerArgs,
    form: OutputFormat,
    phase: Option<Phase>,
    is_watching: bool,
) -> Result<Exit, CliError> {
    let client = Client::new(server)?;
    if is_watching {
        let retry_policy = RetryPolicy::new(Duration::from_secs(server.retry_for.get()));
        return watch(&client, form, phase, retry_policy);
    }
    let jobs = client.jobs(phase)?;
    if form.is_human_readable() {
        output::print(&render_table(&jobs, form, SystemEnv.now()))?;
    } else {
        print_serialized(form, &jobs, job_ids(&jobs))?;
    }
    Ok(Exit::Success)
}

fn job_ids(jobs: &[JobView]) -> impl Iterator<Item = String> {
    jobs.iter().map(|job| job.id.to_string())
}

fn render_table(jobs: &[JobView], form: OutputFormat, now: Timestamp) -> String {
    let mut header = vec!["ID", "NAME", "TENANT", "CLASS", "PHASE", "REASON", "AGE", "COST"];
    if form == OutputFormat::Wide {
        header.extend(["CEILING", "ATTEMPTS", "STARTED", "MESSAGE"]);
    }
    let mut table = TextTable::new(&header);
    for job in jobs {
        table.add_row(row_of(job, form, now));
    }
    table.render()
}

/// Returns the cells of a job's row.
fn row_of(job: &JobView, form: OutputFormat, now: Timestamp) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let money = |usd: Option<Usd>| or_dash(usd.map(|usd| usd.to_string()));
    let mut row = vec![
        job.id.to_string(),
        job.name.clone(),
        job.tenant.clone(),
        or_dash(job.class.clone()),
        job.phase.to_string(),
        or_dash(job.reason.map(|reason| reason.to_string())),
        format_age(job.created_at, now),
        money(job.cost_usd),
    ];
    if form == OutputFormat::Wide {
        row.extend([
            money(job.quote.as_ref().map(|quote| quote.ceiling)),
            job.attempts.to_string(),
            or_dash(job.started_at.map(format_timestamp)),
            job.message.clone(),
        ]);
    }
    row
}

/// Lists the jobs repeatedly, until the reader of standard output closes the pipe or the retries fail.
/// Redraws the table if the format is a table and standard output is a terminal. Otherwise, prints only
/// changed jobs.
fn watch(
    client: &Client,
    form: OutputFormat,
    phase: Option<Phase>,
    mut retry_policy: RetryPolicy,
) -> Result<Exit, CliError> {
    let redraws = form.is_human_readable() && std::io::stdout().is_terminal();
    let mut last_printed = BTreeMap::new();
    loop {
        let jobs = match client.jobs(phase) {
            Ok(jobs) => jobs,
            Err(error) => {
                retry_policy.wait_or_fail(error)?;
                continue;
            }
        };
        retry_policy.reset();
        let is_open = if redraws {
            output::print_stream(&format!("{CLEAR_SCREEN}{}", render_table(&jobs, form, SystemEnv.now())))?
        } else {
            output::print_stream(&render_changes(&jobs, &mut last_printed, form)?)?
        };
        if !is_open {
            return Ok(Exit::Success);
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// Formats the jobs whose phase, reason, message or attempts have changed since the last call, oldest first.
/// Jobs that the server no longer lists are not printed.
fn render_changes(
    jobs: &Jobs,
    last_printed: &mut BTreeMap<JobId, JobView>,
    form: OutputFormat,
) -> Result<String, CliError> {
    let is_unchanged = |a: &JobView, b: &JobView| {
        (a.phase, a.reason, &a.message, a.attempts) == (b.phase, b.reason, &b.message, b.attempts)
    };
    let mut text = String::new();
    for job in jobs.iter().rev() {
        if last_printed.get(&job.id).is_some_and(|before| is_unchanged(before, job)) {
            continue;
        }
        text.push_str(&match form {
            OutputFormat::Table | OutputFormat::Wide => {
                // Jobs are printed one by one, so columns cannot be aligned. One space separates the cells.
                let cells = row_of(job, form, SystemEnv.now());
                let cells: Vec<_> = cells.iter().map(|cell| escape_control(cell)).collect();
                format!("{}\n", cells.join(" ").trim_end())
            }
            OutputFormat::Json => {
                let line = serde_json::to_string(job).map_err(OutputError::Json)?;
                format!("{line}\n")
            }
            OutputFormat::Yaml => format!("---\n{}", output::to_yaml(job)?),
            OutputFormat::Name => format!("{}\n", job.id),
        });
        last_printed.insert(job.id, job.clone());
    }
    let current_ids: BTreeSet<_> = jobs.iter().map(|job| job.id).collect();
    last_printed.retain(|id, _| current_ids.contains(id));
    Ok(text)
}
