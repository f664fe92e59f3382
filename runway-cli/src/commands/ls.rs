//! `runway ls`: lists jobs.

use crate::arguments::{Form, Server};
use crate::client::{Client, Jobs};
use crate::failure::Failure;
use crate::online::{Patience, Table, print_values};
use crate::output::{OutputError, printable};
use crate::time::{age, time};
use crate::{Exit, output};
use runway_api::JobView;
use runway_control::{Surroundings, System};
use runway_core::JobId;
use runway_core::status::Phase;
use runway_core::units::{Timestamp, Usd};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

/// The interval between two lists of `--watch`.
const PERIOD: Duration = Duration::from_secs(2);

/// Moves the cursor to the top left and clears the screen below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

pub(super) fn run(
    server: &Server,
    form: Form,
    phase: Option<Phase>,
    is_watched: bool,
) -> Result<Exit, Failure> {
    let client = Client::new(server)?;
    if is_watched {
        let patience = Patience::new(Duration::from_secs(server.retry_for.get()));
        return watch(&client, form, phase, patience);
    }
    let jobs = client.jobs(phase)?;
    if form.is_for_people() {
        output::print(&table(&jobs, form, System.now()))?;
    } else {
        print_values(form, &jobs, names(&jobs))?;
    }
    Ok(Exit::Fine)
}

fn names(jobs: &[JobView]) -> impl Iterator<Item = String> {
    jobs.iter().map(|job| job.id.to_string())
}

fn table(jobs: &[JobView], form: Form, now: Timestamp) -> String {
    let mut head = vec!["ID", "NAME", "TENANT", "CLASS", "PHASE", "REASON", "AGE", "COST"];
    if form == Form::Wide {
        head.extend(["CEILING", "ATTEMPTS", "STARTED", "MESSAGE"]);
    }
    let mut table = Table::new(&head);
    for job in jobs {
        table.row(cells(job, form, now));
    }
    table.text()
}

/// Returns the cells of a job's row.
fn cells(job: &JobView, form: Form, now: Timestamp) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let money = |usd: Option<Usd>| or_dash(usd.map(|usd| usd.to_string()));
    let mut row = vec![
        job.id.to_string(),
        job.name.clone(),
        job.tenant.clone(),
        or_dash(job.class.clone()),
        job.phase.to_string(),
        or_dash(job.reason.map(|reason| reason.to_string())),
        age(job.created_at, now),
        money(job.cost_usd),
    ];
    if form == Form::Wide {
        row.extend([
            money(job.quote.as_ref().map(|quote| quote.ceiling)),
            job.attempts.to_string(),
            or_dash(job.started_at.map(time)),
            job.message.clone(),
        ]);
    }
    row
}

/// Lists the jobs repeatedly, until the reader closes the pipe or the retry time of the server has passed.
/// Redraws the table on a terminal. Prints only changed jobs otherwise.
fn watch(client: &Client, form: Form, phase: Option<Phase>, mut patience: Patience) -> Result<Exit, Failure> {
    let is_drawn = form.is_for_people() && std::io::stdout().is_terminal();
    let mut known = BTreeMap::new();
    loop {
        let jobs = match client.jobs(phase) {
            Ok(jobs) => jobs,
            Err(trouble) => {
                patience.bear(trouble)?;
                continue;
            }
        };
        patience.renew();
        let is_read = if is_drawn {
            output::print_on(&format!("{CLEAR}{}", table(&jobs, form, System.now())))?
        } else {
            output::print_on(&changes(&jobs, &mut known, form)?)?
        };
        if !is_read {
            return Ok(Exit::Fine);
        }
        std::thread::sleep(PERIOD);
    }
}

/// Formats the jobs that changed since the last call, oldest first. Omits jobs that the server no longer
/// lists.
fn changes(jobs: &Jobs, known: &mut BTreeMap<JobId, JobView>, form: Form) -> Result<String, Failure> {
    let is_same = |a: &JobView, b: &JobView| {
        (a.phase, a.reason, &a.message, a.attempts) == (b.phase, b.reason, &b.message, b.attempts)
    };
    let mut text = String::new();
    for job in jobs.iter().rev() {
        if known.get(&job.id).is_some_and(|before| is_same(before, job)) {
            continue;
        }
        text.push_str(&match form {
            Form::Table | Form::Wide => {
                // One space separates the cells, because single lines have no columns to align.
                let cells = cells(job, form, System.now());
                let cells: Vec<_> = cells.iter().map(|cell| printable(cell)).collect();
                format!("{}\n", cells.join(" ").trim_end())
            }
            Form::Json => {
                let line = serde_json::to_string(job).map_err(OutputError::Json)?;
                format!("{line}\n")
            }
            Form::Yaml => format!("---\n{}", output::to_yaml(job)?),
            Form::Name => format!("{}\n", job.id),
        });
        known.insert(job.id, job.clone());
    }
    let there: BTreeSet<_> = jobs.iter().map(|job| job.id).collect();
    known.retain(|id, _| there.contains(id));
    Ok(text)
}
