//! `runway check`: evaluates jobs and prints their violations.

use crate::arguments::{Files, Format};
use crate::document::{Judged, judge, read_all};
use crate::failure::Failure;
use crate::{Exit, output, policy};
use std::fmt::Write;

pub(super) fn run(Files { files, common, backend }: &Files) -> Result<Exit, Failure> {
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, read) = read_all(files)?;
    let judged = judge(&sources, &policy, common, *backend)?;
    match common.output.format {
        Format::Json => output::print_json(&judged.iter().map(Judged::verdict).collect::<Vec<_>>())?,
        Format::Text => {
            let mut text = String::new();
            for document in &judged {
                text.push_str(&verdict(document).unwrap_or_else(|| document.story(&policy, common)));
                if document.decision.admitted().is_some() {
                    text.push_str(&document.unchecked_features(&policy));
                }
            }
            let refused = judged.iter().filter(|document| document.decision.admitted().is_none()).count();
            let _ = writeln!(text, "{} admitted, {refused} refused", judged.len() - refused);
            output::print(&text)?;
        }
    }
    Ok(judged.iter().map(Judged::exit).fold(read, Exit::and))
}

/// Formats the line for an admitted job. Returns `None` for a refused job.
fn verdict(document: &Judged<'_>) -> Option<String> {
    let admitted = document.decision.admitted()?;
    let (job, quote) = (admitted.job(), admitted.quote());
    let class = job.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
    Some(format!(
        "ok: {}: {} (tenant {}{class}): at most {} USD, {} USD an hour\n",
        document.file(),
        job.name,
        job.tenant,
        quote.ceiling,
        quote.per_hour
    ))
}
