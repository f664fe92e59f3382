//! `runway quote`: prints the maximum cost of jobs.

use crate::arguments::{Files, Format};
use crate::document::{Judged, judge, read_all};
use crate::failure::Failure;
use crate::{Exit, output, policy};
use runway_core::{AdmittedJob, Policy};
use std::fmt::Write;

pub(super) fn run(Files { files, common, backend }: &Files) -> Result<Exit, Failure> {
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, read) = read_all(files)?;
    let judged = judge(&sources, &policy, common, *backend)?;
    if common.output.format == Format::Json {
        output::print_json(&judged.iter().map(Judged::verdict).collect::<Vec<_>>())?;
    } else {
        let mut text = String::new();
        for document in &judged {
            match document.decision.admitted() {
                Some(admitted) => {
                    text.push_str(&bill(document.file(), admitted, &policy.policy));
                    output::print_aside(&document.unchecked_features(&policy))?;
                }
                None => output::print_aside(&document.story(&policy, common))?,
            }
        }
        output::print(&text)?;
    }
    Ok(judged.iter().map(Judged::exit).fold(read, Exit::and))
}

/// Formats the lines of a quote and their sum, the ceiling.
fn bill(file: &str, admitted: &AdmittedJob, policy: &Policy) -> String {
    let (job, quote) = (admitted.job(), admitted.quote());
    let mut text = format!("{file}: {} (tenant {})\n", job.name, job.tenant);
    for line in &quote.lines {
        let amount = format!("{} {}", line.amount(), line.resource.unit());
        let rate = line.rate.to_string();
        let _ = writeln!(
            text,
            "  {:<8}{amount:>20} × {:>7} s × {rate:<14} USD = {:>14} USD",
            line.resource,
            line.seconds.get(),
            line.usd
        );
    }
    let grace = policy.run().termination_grace;
    let time = format!("timeout {} + grace {grace}, retries included", job.timeout);
    let _ = writeln!(text, "  at most {time:<58} {:>14} USD", quote.ceiling);
    let _ = writeln!(text, "  an hour {:<58} {:>14} USD", "", quote.per_hour);
    text
}
