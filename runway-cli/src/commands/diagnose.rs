//! `runway diagnose`: explains the state of Kubernetes Jobs.

use crate::arguments::TextOrJson;
use crate::error::CliError;
use crate::input;
use crate::output::escape_control;
use crate::{Exit, output};
use runway_core::status::{JobObjects, KubectlList, Status, classify};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// The diagnosis of one Job, as printed in JSON.
#[derive(serde::Serialize)]
struct DiagnosisRecord<'a> {
    job: &'a str,
    #[serde(skip)]
    namespace: Option<&'a str>,
    #[serde(flatten)]
    status: Status,
}

pub(super) fn run(file: &Path, format: TextOrJson) -> Result<Exit, CliError> {
    let source = input::read(file)?;
    let json = serde_json::from_slice(source.bytes())
        .map_err(|error| CliError::NotJson { path: file.to_owned(), error })?;
    let list = KubectlList::from_json(json)
        .map_err(|error| CliError::NotKubernetes { path: file.to_owned(), error })?;
    for skipped in list.skipped() {
        output::eprint(&format!("warning: `{}`: skipped: {skipped}\n", source.name))?;
    }
    let records: Vec<_> = list.jobs().map(DiagnosisRecord::new).collect();
    match format {
        TextOrJson::Json => output::print_json(&records)?,
        TextOrJson::Text if records.is_empty() => output::print(&format!("no Jobs in `{}`\n", source.name))?,
        TextOrJson::Text => {
            let namespaces: BTreeSet<_> = records.iter().map(|record| record.namespace).collect();
            let texts: Vec<_> =
                records.iter().map(|record| record.render_text(namespaces.len() > 1)).collect();
            output::print(&texts.join("\n"))?;
        }
    }
    Ok(Exit::Success)
}

impl<'a> DiagnosisRecord<'a> {
    fn new((job, objects): (&'a str, JobObjects<'a>)) -> Self {
        let namespace = objects.job.and_then(|job| job.metadata.namespace.as_deref());
        Self { job, namespace, status: classify(&objects) }
    }

    /// Formats the diagnosis for people: phase, message, hint and evidence. Adds the namespace if
    /// `with_namespace` is set.
    fn render_text(&self, with_namespace: bool) -> String {
        let Status { phase, reason, message, hint, evidence, .. } = &self.status;
        let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
        let namespace = self.namespace.filter(|_| with_namespace);
        let namespace =
            namespace.map(|namespace| format!("{}/", escape_control(namespace))).unwrap_or_default();
        let mut text = format!("{namespace}{}: {phase}{reason}\n  {message}\n", escape_control(self.job));
        if let Some(hint) = hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
        for item in evidence {
            let (object, path, value) =
                (escape_control(&item.object), escape_control(&item.path), escape_control(&item.value));
            let _ = writeln!(text, "  evidence: {object} {path}: {value}");
        }
        text
    }
}
