//! The overview page for operators: jobs, tenants, costs and refusals.

use super::inline_code;
use crate::refusals::RefusalCount;
use maud::{Markup, PreEscaped, html};
use runway_api::JobView;
use runway_control::TenantUsage;
use runway_core::Tenant;
use runway_core::digest::Digest;
use runway_core::status::Phase;
use runway_core::units::{Timestamp, Usd};
use std::collections::BTreeMap;

/// Maximum number of jobs on the page.
pub(crate) const MAX_JOBS: usize = 200;

/// Maximum number of tenants on the page.
pub(crate) const MAX_TENANTS: usize = 200;

/// The data of the page.
#[derive(Debug)]
pub(crate) struct Overview {
    pub now: Timestamp,
    /// Whether the backend is connected.
    pub connected: bool,
    /// The time of the last event from the backend.
    pub last_event_at: Option<Timestamp>,
    pub ready: bool,
    pub policy: Digest,
    /// The number of jobs in each phase. Jobs that the backend has deleted do not count.
    pub phases: BTreeMap<Phase, usize>,
    /// The cost per hour of the running jobs.
    pub usd_per_hour: Usd,
    /// The sum of the ceilings of all jobs that occupy resources.
    pub total_ceiling: Usd,
    /// The held GPUs and the GPU capacity. `None` if the client sees only one tenant.
    pub gpus: Option<(u64, u64)>,
    /// At most [`MAX_TENANTS`] tenants: those that hold the most GPUs, then the most jobs.
    pub tenants: BTreeMap<Tenant, TenantUsage>,
    /// The number of tenants that the page omits.
    pub omitted_tenants: usize,
    /// At most [`MAX_JOBS`] jobs: first the jobs that occupy resources, then the others, newest first.
    pub jobs: Vec<JobView>,
    /// The number of jobs that the page omits.
    pub omitted_jobs: usize,
    /// The refusals of the last hour. `None` if the client sees only one tenant.
    pub refusals: Option<Vec<RefusalCount>>,
}

/// The rendered parts of the page. All readers with the same scope share them.
#[derive(Debug)]
pub(crate) struct RenderedOverview {
    /// The parts of the page that change, by element id.
    parts: BTreeMap<&'static str, String>,
    /// The same as JSON, for the events of the page.
    pub json: String,
}

impl RenderedOverview {
    pub(crate) fn new(overview: &Overview) -> Self {
        let parts = parts(overview);
        let json = serde_json::to_string(&parts).unwrap_or_default();
        Self { parts, json }
    }
}

/// Renders the whole page.
pub(crate) fn page(overview: &RenderedOverview) -> Markup {
    let parts = &overview.parts;
    let part = |id: &str| PreEscaped(parts.get(id).map(String::as_str).unwrap_or_default());
    let content = html! {
        header {
            h1 { "Runway" }
            p #state role="status" { (part("state")) }
            // The script shows this element in place of the state while the server does not respond.
            p #outage role="alert" hidden {
                span aria-hidden="true" { "⚠ " }
                "The server does not respond. Last update: " time {} ". Reconnecting."
            }
        }
        main {
            section aria-labelledby="h-now" {
                h2 #h-now { "Now" }
                dl .numbers #now { (part("now")) }
            }
            section .cards aria-labelledby="h-jobs" {
                h2 #h-jobs { "Jobs" }
                (table("Jobs, active jobs first", &[("Job", ""), ("Tenant", ""), ("Phase", ""), ("Message", ""), ("Age", "number"), ("Cost, ceiling", "number")], "jobs", &part("jobs")))
                p .dim #more { (part("more")) }
            }
            section .cards aria-labelledby="h-tenants" {
                h2 #h-tenants { "Tenants" }
                (table("Tenants with held resources", &[("Tenant", ""), ("GPUs held of quota", ""), ("Jobs held of quota", "")], "tenants", &part("tenants")))
                p .dim #more-tenants { (part("more-tenants")) }
            }
            @if parts.contains_key("refusals") {
                section .cards aria-labelledby="h-refusals" {
                    h2 #h-refusals { "Refused in the last hour" }
                    (table("Refusals by code", &[("Code", ""), ("Count", "number"), ("Meaning", "")], "refusals", &part("refusals")))
                }
            }
        }
        footer .dim {
            p { "This page is read-only. " a href="docs" { "API" } " · " a href="v1/policy" { "active policy" } " · " a href="metrics" { "metrics" } }
        }
    };
    super::page("Runway", Some("overview.js"), &content)
}

/// Renders the parts of the page that change, by element id.
fn parts(overview: &Overview) -> BTreeMap<&'static str, String> {
    let mut parts = BTreeMap::from([
        ("state", state(overview)),
        ("now", figures(overview)),
        ("jobs", jobs(overview)),
        (
            "more",
            html! { @if overview.omitted_jobs > 0 { "and " (overview.omitted_jobs) " more: " code { "runway ls" } } },
        ),
        ("tenants", tenants(overview)),
        (
            "more-tenants",
            html! { @if overview.omitted_tenants > 0 { "and " (overview.omitted_tenants) " more: " code { "runway usage" } } },
        ),
    ]);
    if let Some(counts) = &overview.refusals {
        parts.insert("refusals", refusals(counts));
    }
    parts.into_iter().map(|(id, markup)| (id, markup.into_string())).collect()
}

/// Renders a table. It has explicit roles, because the style sheet turns rows into cards on small screens and
/// browsers then drop the implicit roles.
fn table(caption: &str, columns: &[(&str, &str)], id: &str, rows: &PreEscaped<&str>) -> Markup {
    html! {
        table role="table" aria-label=(caption) {
            thead role="rowgroup" {
                tr role="row" { @for (name, class) in columns { th scope="col" role="columnheader" class=(class) { (name) } } }
            }
            tbody role="rowgroup" id=(id) { (rows) }
        }
    }
}

fn empty_row(columns: u8, message: &str) -> Markup {
    html! { tr role="row" { td role="cell" colspan=(columns) .dim { (message) } } }
}

fn state(overview: &Overview) -> Markup {
    let silence = overview.last_event_at.map(|heard| age(heard, overview.now));
    html! {
        @match (overview.ready, overview.connected, silence) {
            (false, _, _) => { "Not ready: waiting for the first list from the backend." }
            (true, true, _) => { "Ready; the backend is connected." }
            (true, false, Some(age)) => { "No response from the backend for " (age) ": the data may be outdated." }
            (true, false, None) => { "The backend has not responded yet." }
        }
        " " span .dim { "Policy " code title=(overview.policy) { (short_digest(&overview.policy)) } }
    }
}

/// Returns the first 12 characters of a digest.
fn short_digest(digest: &Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").chars().take(12).collect()
}

fn figures(overview: &Overview) -> Markup {
    let figure = |name: &str, value: &dyn std::fmt::Display| html! { div { dt { (name) } dd { (value.to_string()) } } };
    html! {
        @for (phase, count) in &overview.phases {
            @if *count > 0 || matches!(phase, Phase::Pending | Phase::Running | Phase::Failed) { (figure(phase.as_str(), count)) }
        }
        @if let Some((held, limit)) = overview.gpus { (figure("GPUs held", &format!("{held} of {limit}"))) }
        (figure("USD per hour, running", &overview.usd_per_hour))
        (figure("USD ceiling, active", &overview.total_ceiling))
    }
}

/// Returns the symbol of a phase. The symbol and the word convey the phase without its color.
const fn phase_symbol(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "○",
        Phase::Running => "▶",
        Phase::Succeeded => "✓",
        Phase::Failed => "✗",
        Phase::Cancelled => "■",
        Phase::Unknown => "?",
    }
}

/// Returns the part of a job's message that adds to the phase. For example, it is empty for `succeeded`, and
/// `attempt 2 of 2` for `succeeded, attempt 2 of 2`.
fn message_details(job: &JobView) -> &str {
    let message = job.message.as_str();
    let verb = if job.phase == Phase::Running { "runs" } else { job.phase.as_str() };
    match message.strip_prefix(job.phase.as_str()).or_else(|| message.strip_prefix(verb)) {
        Some("") => "",
        Some(rest) => rest.strip_prefix([',', ';', ':']).map_or(message, str::trim_start),
        None => message,
    }
}

fn jobs(overview: &Overview) -> Markup {
    html! {
        @for job in &overview.jobs {
            tr role="row" id={ "job-" (job.id) } {
                td role="cell" data-what="job" { (job.name) " " a href={ "v1/jobs/" (job.id) } { code { (job.id) } } }
                td role="cell" data-what="tenant" { (job.tenant) }
                td role="cell" data-what="phase" {
                    span class={ "phase " (job.phase) } { span aria-hidden="true" { (phase_symbol(job.phase)) " " } (job.phase) }
                    @if let Some(reason) = job.reason { " " (reason) }
                }
                td role="cell" data-what="message" {
                    (message_details(job))
                    @if let Some(hint) = &job.hint { span .hint .dim { "→ " (hint) } }
                }
                td role="cell" .number data-what="age" { (age(job.created_at, overview.now)) }
                td role="cell" .number data-what="cost, ceiling" {
                    @if let Some(cost) = job.cost_usd { (cost) } @else { "?" }
                    " of "
                    @if let Some(quote) = &job.quote { (quote.ceiling) } @else { "?" }
                    " USD"
                }
            }
        }
        @if overview.jobs.is_empty() { (empty_row(6, "No jobs.")) }
    }
}

fn tenants(overview: &Overview) -> Markup {
    let usage_cell = |label: &str, held: u64, limit: u64| {
        html! {
            td role="cell" data-what=(label) {
                (held) " of " (limit) " "
                @if limit > 0 { meter aria-hidden="true" min="0" max=(limit) value=(held.min(limit)) {} }
            }
        }
    };
    html! {
        @for (tenant, usage) in &overview.tenants {
            tr role="row" id={ "tenant-" (tenant) } {
                td role="cell" data-what="tenant" { (tenant) }
                (usage_cell("GPUs", usage.held.gpus, usage.max_gpus))
                (usage_cell("jobs", usage.held.jobs, usage.max_jobs.into()))
            }
        }
        @if overview.tenants.is_empty() { (empty_row(3, "No tenant holds resources.")) }
    }
}

fn refusals(counts: &[RefusalCount]) -> Markup {
    html! {
        @for RefusalCount { code, count } in counts {
            tr role="row" id={ "code-" (code) } {
                td role="cell" data-what="code" { code { (code) } }
                td role="cell" .number data-what="count" { (count) }
                td role="cell" data-what="meaning" { details { summary { "explain" } (inline_code(code.explanation())) } }
            }
        }
        @if counts.is_empty() { (empty_row(3, "No refusals.")) }
    }
}

/// Formats an age in one unit, or in two from one hour on. Rounds down.
fn age(from: Timestamp, now: Timestamp) -> String {
    let seconds = now.nanos_since(from) / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_has_at_most_two_units() {
        let age_of = |seconds| age(Timestamp::EPOCH, Timestamp::from_seconds(seconds));
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age_of(seconds), text);
        }
    }

    /// Returns a job with this text in every field that contains text.
    fn job(phase: Phase, text: &str) -> JobView {
        JobView {
            id: runway_core::JobId::from_random(1),
            name: text.to_owned(),
            tenant: text.to_owned(),
            class: Some(text.to_owned()),
            phase,
            reason: None,
            message: text.to_owned(),
            hint: Some(text.to_owned()),
            exit_code: None,
            attempts: 1,
            created_at: Timestamp::EPOCH,
            started_at: None,
            finished_at: None,
            quote: None,
            cost_usd: None,
            observed_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn message_does_not_repeat_the_phase() {
        for (phase, message, shown) in [
            (Phase::Running, "runs", ""),
            (Phase::Running, "running", ""),
            (
                Phase::Running,
                "runs, attempt 2 of 3; attempt 1: exit code 1",
                "attempt 2 of 3; attempt 1: exit code 1",
            ),
            (Phase::Running, "runs out of memory", "runs out of memory"),
            (Phase::Succeeded, "succeeded", ""),
            (Phase::Succeeded, "succeeded, attempt 2 of 2", "attempt 2 of 2"),
            (Phase::Cancelled, "cancelled; its pods are being terminated", "its pods are being terminated"),
            (Phase::Failed, "failed for an unknown reason", "failed for an unknown reason"),
            (Phase::Failed, "runs", "runs"),
            (Phase::Pending, "is starting", "is starting"),
            (Phase::Pending, "", ""),
        ] {
            assert_eq!(message_details(&job(phase, message)), shown, "{message}");
        }
    }

    #[test]
    fn user_text_is_escaped() {
        let hostile = "<script>alert(1)</script>\"' onload=x &amp;";
        let overview = Overview {
            now: Timestamp::EPOCH,
            connected: true,
            last_event_at: None,
            ready: true,
            policy: Digest::of_json(&serde_json::Value::Null),
            phases: BTreeMap::new(),
            usd_per_hour: Usd::ZERO,
            total_ceiling: Usd::ZERO,
            gpus: None,
            tenants: BTreeMap::new(),
            omitted_tenants: 0,
            jobs: vec![job(Phase::Failed, hostile)],
            omitted_jobs: 0,
            refusals: None,
        };
        let html = parts(&overview).remove("jobs").unwrap();
        assert!(!html.contains("<script") && !html.contains("\"' onload"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;alert(1)&lt;/script&gt;&quot;").count(), 4, "{html}");
    }
}
