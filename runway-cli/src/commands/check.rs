//! `runway check`: evaluates jobs and prints their violations.

use crate::arguments::{FileArgs, TextOrJson};
use crate::document::{Evaluated, evaluate, read_sources};
use crate::error::CliError;
use crate::{Exit, output, policy};
use std::fmt::Write;

pub(super) fn run(FileArgs { files, common, backend }: &FileArgs) -> Result<Exit, CliError> {
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, read_exit) = read_sources(files)?;
    let evaluated = evaluate(&sources, &policy, common, *backend)?;
    match common.output.format {
        TextOrJson::Json => {
            output::print_json(&evaluated.iter().map(Evaluated::dry_run_result).collect::<Vec<_>>())?;
        }
        TextOrJson::Text => {
            let mut text = String::new();
            for document in &evaluated {
                text.push_str(
                    &render_admitted(document).unwrap_or_else(|| document.render_text(&policy, common)),
                );
                if document.decision.admitted().is_some() {
                    text.push_str(&document.unchecked_features(&policy));
                }
            }
            let refused = evaluated.iter().filter(|document| document.decision.admitted().is_none()).count();
            let _ = writeln!(text, "{} admitted, {refused} refused", evaluated.len() - refused);
            output::print(&text)?;
        }
    }
    Ok(evaluated.iter().map(Evaluated::exit).fold(read_exit, Exit::or_worse))
}

/// Formats the line for an admitted job, with its maximum cost. Returns `None` for a refused job.
fn render_admitted(document: &Evaluated<'_>) -> Option<String> {
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
