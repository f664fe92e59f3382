//! `runway diagnose`: explains the state of Kubernetes Jobs.

use crate::arguments::Format;
use crate::failure::Failure;
use crate::input;
use crate::output::printable;
use crate::{Exit, output};
use runway_core::status::{Listing, Seen, Status, classify};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// The diagnosis of one Job, as printed in JSON.
#[derive(serde::Serialize)]
struct Record<'a> {
    job: &'a str,
    #[serde(skip)]
    namespace: Option<&'a str>,
    #[serde(flatten)]
    status: Status,
}

pub(super) fn run(file: &Path, format: Format) -> Result<Exit, Failure> {
    let source = input::read(file)?;
    let json = serde_json::from_slice(source.bytes())
        .map_err(|error| Failure::NotJson { path: file.to_owned(), error })?;
    let listing =
        Listing::read(json).map_err(|error| Failure::NotKubernetes { path: file.to_owned(), error })?;
    for skipped in listing.skipped() {
        output::print_aside(&format!("warning: `{}`: skipped: {skipped}\n", source.name))?;
    }
    let records: Vec<_> = listing.jobs().map(Record::of).collect();
    match format {
        Format::Json => output::print_json(&records)?,
        Format::Text if records.is_empty() => output::print(&format!("no Jobs in `{}`\n", source.name))?,
        Format::Text => {
            let namespaces: BTreeSet<_> = records.iter().map(|record| record.namespace).collect();
            let stories: Vec<_> = records.iter().map(|record| record.story(namespaces.len() > 1)).collect();
            output::print(&stories.join("\n"))?;
        }
    }
    Ok(Exit::Fine)
}

impl<'a> Record<'a> {
    fn of((job, seen): (&'a str, Seen<'a>)) -> Self {
        let namespace = seen.job.and_then(|job| job.metadata.namespace.as_deref());
        Self { job, namespace, status: classify(&seen) }
    }

    /// Formats the diagnosis for people: phase, message, hint and evidence. Adds the namespace if
    /// `with_namespace` is set.
    fn story(&self, with_namespace: bool) -> String {
        let Status { phase, reason, message, hint, evidence, .. } = &self.status;
        let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
        let namespace = self.namespace.filter(|_| with_namespace);
        let namespace = namespace.map(|namespace| format!("{}/", printable(namespace))).unwrap_or_default();
        let mut story = format!("{namespace}{}: {phase}{reason}\n  {message}\n", printable(self.job));
        if let Some(hint) = hint {
            let _ = writeln!(story, "  hint: {hint}");
        }
        for seen in evidence {
            let (object, path, value) =
                (printable(&seen.object), printable(&seen.path), printable(&seen.value));
            let _ = writeln!(story, "  evidence: {object} {path}: {value}");
        }
        story
    }
}
