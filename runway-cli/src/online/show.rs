//! Formats jobs as text for people, and as JSON, YAML or names for programs.

use crate::arguments::Form;
use crate::output::{self, OutputError, printable};
use crate::time::{age, time};
use runway_api::JobView;
use runway_control::{Surroundings, System};
use runway_core::units::Timestamp;
use serde::Serialize;
use std::fmt::Write;

/// Age in seconds at which the last snapshot of an unfinished job counts as stale. The server lists all jobs
/// every five minutes.
const STALE: u64 = 6 * 60;

/// Formats the phase and the reason.
pub(crate) fn state(job: &JobView) -> String {
    let reason = job.reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    format!("{}{reason}", job.phase)
}

/// Formats the name, the tenant, the class and the maximum cost of a job.
pub(crate) fn summary(job: &JobView) -> String {
    let price = job.quote.as_ref().map_or_else(
        || "the price is no longer known".to_owned(),
        |quote| format!("at most {} USD, {} USD an hour", quote.ceiling, quote.per_hour),
    );
    format!("{}: {price}", named(job))
}

fn named(job: &JobView) -> String {
    let class = job.class.as_ref().map(|class| format!(", class {}", printable(class))).unwrap_or_default();
    format!("{} (tenant {}{class})", printable(&job.name), printable(&job.tenant))
}

/// Formats all fields of a job for people.
pub(crate) fn story(job: &JobView, now: Timestamp) -> String {
    let mut story = format!("{} {}: {}\n  {}\n", job.id, named(job), state(job), printable(&job.message));
    if let Some(hint) = &job.hint {
        let _ = writeln!(story, "  hint: {}", printable(hint));
    }
    let mut line = |name: &str, text: String| {
        let _ = writeln!(story, "  {name:<9} {text}");
    };
    let exit_code = job.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    line("attempts", format!("{}{exit_code}", job.attempts));
    for (name, then) in
        [("created", Some(job.created_at)), ("started", job.started_at), ("finished", job.finished_at)]
    {
        if let Some(then) = then {
            line(name, format!("{}, {} ago", time(then), age(then, now)));
        }
    }
    if let Some(cost) = job.cost_usd {
        let so_far = if job.finished_at.is_some() { "" } else { " so far" };
        let most = job.quote.as_ref().map(|quote| format!(", of at most {} USD", quote.ceiling));
        line("cost", format!("{cost} USD{so_far}{}", most.unwrap_or_default()));
    }
    if !job.phase.is_final() && now.nanos_since(job.observed_at) / 1_000_000_000 > STALE {
        let seen = format!("{} ago; the server has received no status since then", age(job.observed_at, now));
        line("observed", seen);
    }
    story
}

/// Prints one job in the given format.
pub(crate) fn print_job(form: Form, job: &JobView) -> Result<(), OutputError> {
    if form.is_for_people() {
        output::print(&story(job, System.now()))
    } else {
        print_values(form, job, [job.id.to_string()])
    }
}

/// Prints a value as JSON or YAML, or prints only the names.
pub(crate) fn print_values(
    form: Form,
    value: &impl Serialize,
    names: impl IntoIterator<Item = String>,
) -> Result<(), OutputError> {
    match form {
        Form::Yaml => output::print(&output::to_yaml(value)?),
        Form::Name => {
            let lines = names.into_iter().map(|name| format!("{}\n", printable(&name)));
            output::print(&lines.collect::<String>())
        }
        Form::Json | Form::Table | Form::Wide => output::print_json(value),
    }
}
