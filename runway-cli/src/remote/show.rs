//! Formats jobs as text for people, and as JSON, YAML or names for programs.

use crate::arguments::OutputFormat;
use crate::output::{self, OutputError, escape_control};
use crate::time::{format_age, format_timestamp};
use runway_api::JobView;
use runway_control::{Env, SystemEnv};
use runway_core::status::CHECK_LOGS;
use runway_core::units::Timestamp;
use serde::Serialize;
use std::fmt::Write;

/// The status of an unfinished job is stale if it is older than this number of seconds. A server lists all
/// jobs of a cluster every five minutes, so a newer status is expected.
const STALE_AFTER_SECONDS: u64 = 6 * 60;

/// Formats the phase of a job, followed by the reason if there is one.
pub(crate) fn format_phase(job: &JobView) -> String {
    let reason = job.reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    format!("{}{reason}", job.phase)
}

/// Formats the name, the tenant, the class, the maximum cost and the cost per hour of a job.
pub(crate) fn render_summary(job: &JobView) -> String {
    let price = job.quote.as_ref().map_or_else(
        || "the price is no longer known".to_owned(),
        |quote| format!("at most {} USD, {} USD an hour", quote.ceiling, quote.per_hour),
    );
    format!("{}: {price}", format_name(job))
}

fn format_name(job: &JobView) -> String {
    let class =
        job.class.as_ref().map(|class| format!(", class {}", escape_control(class))).unwrap_or_default();
    format!("{} (tenant {}{class})", escape_control(&job.name), escape_control(&job.tenant))
}

/// Formats the status, the times and the cost of a job for people. Adds the age of the status if it is stale.
pub(crate) fn render_job(job: &JobView, now: Timestamp) -> String {
    let mut details = format!(
        "{} {}: {}\n  {}\n",
        job.id,
        format_name(job),
        format_phase(job),
        escape_control(&job.message)
    );
    let hint = match job.hint.as_deref() {
        Some(CHECK_LOGS) => Some(format!("check its output: `runway logs {}`", job.id)),
        hint => hint.map(escape_control),
    };
    if let Some(hint) = hint {
        let _ = writeln!(details, "  hint: {hint}");
    }
    let mut write_line = |name: &str, text: String| {
        let _ = writeln!(details, "  {name:<9} {text}");
    };
    let exit_code = job.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    write_line("attempts", format!("{}{exit_code}", job.attempts));
    for (name, then) in
        [("created", Some(job.created_at)), ("started", job.started_at), ("finished", job.finished_at)]
    {
        if let Some(then) = then {
            write_line(name, format!("{}, {} ago", format_timestamp(then), format_age(then, now)));
        }
    }
    if let Some(cost) = job.cost_usd {
        let so_far = if job.finished_at.is_some() { "" } else { " so far" };
        let ceiling = job.quote.as_ref().map(|quote| format!(", of at most {} USD", quote.ceiling));
        write_line("cost", format!("{cost} USD{so_far}{}", ceiling.unwrap_or_default()));
    }
    if !job.phase.is_final() && now.nanos_since(job.observed_at) / 1_000_000_000 > STALE_AFTER_SECONDS {
        let last_observed =
            format!("{} ago; the server has received no status since then", format_age(job.observed_at, now));
        write_line("observed", last_observed);
    }
    details
}

/// Prints one job in the given format.
pub(crate) fn print_job(format: OutputFormat, job: &JobView) -> Result<(), OutputError> {
    if format.is_human_readable() {
        output::print(&render_job(job, SystemEnv.now()))
    } else {
        print_serialized(format, job, [job.id.to_string()])
    }
}

/// Prints `value` as YAML with the format `Yaml`, or only `names` with the format `Name`. Prints `value` as
/// JSON with all other formats.
pub(crate) fn print_serialized(
    format: OutputFormat,
    value: &impl Serialize,
    names: impl IntoIterator<Item = String>,
) -> Result<(), OutputError> {
    match format {
        OutputFormat::Yaml => output::print(&output::to_yaml(value)?),
        OutputFormat::Name => {
            let lines = names.into_iter().map(|name| format!("{}\n", escape_control(&name)));
            output::print(&lines.collect::<String>())
        }
        OutputFormat::Json | OutputFormat::Table | OutputFormat::Wide => output::print_json(value),
    }
}
