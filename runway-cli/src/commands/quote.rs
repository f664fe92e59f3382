//! `runway quote`: prints the maximum cost of jobs.

use crate::arguments::{FileArgs, TextOrJson};
use crate::document::{Evaluated, evaluate, read_sources};
use crate::error::CliError;
use crate::{Exit, output, policy};
use runway_core::{AdmittedJob, Policy};
use std::fmt::Write;

pub(super) fn run(FileArgs { files, common, backend }: &FileArgs) -> Result<Exit, CliError> {
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, read_exit) = read_sources(files)?;
    let evaluated = evaluate(&sources, &policy, common, *backend)?;
    if common.output.format == TextOrJson::Json {
        output::print_json(&evaluated.iter().map(Evaluated::dry_run_result).collect::<Vec<_>>())?;
    } else {
        let mut text = String::new();
        for document in &evaluated {
            match document.decision.admitted() {
                Some(admitted) => {
                    text.push_str(&render_quote(document.file(), admitted, &policy.policy));
                    output::eprint(&document.unchecked_features(&policy))?;
                }
                None => output::eprint(&document.render_text(&policy, common))?,
            }
        }
        output::print(&text)?;
    }
    Ok(evaluated.iter().map(Evaluated::exit).fold(read_exit, Exit::or_worse))
}

/// Formats a quote: the price of each resource, their sum (the ceiling), and the price of one hour.
fn render_quote(file: &str, admitted: &AdmittedJob, policy: &Policy) -> String {
    let (job, quote) = (admitted.job(), admitted.quote());
    let mut text = format!("{file}: {} (tenant {})\n", job.name, job.tenant);
    for line in &quote.lines {
        let amount = format!("{} {}", line.amount(), line.resource.unit());
        let price = line.unit_price.to_string();
        let _ = writeln!(
            text,
            "  {:<8}{amount:>20} × {:>7} s × {price:<14} USD = {:>14} USD",
            line.resource,
            line.seconds.get(),
            line.usd
        );
    }
    let grace = policy.run_settings().termination_grace;
    let time = format!("timeout {} + grace {grace}, retries included", job.timeout);
    let _ = writeln!(text, "  at most {time:<58} {:>14} USD", quote.ceiling);
    let _ = writeln!(text, "  an hour {:<58} {:>14} USD", "", quote.per_hour);
    text
}
