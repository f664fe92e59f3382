//! `runway diagnose`: explains the state of Kubernetes Jobs, and of pods without a Job.

use crate::arguments::TextOrJson;
use crate::error::CliError;
use crate::input;
use crate::output::escape_control;
use crate::time::{format_age, format_timestamp};
use crate::{Exit, output};
use runway_core::status::{JobObjects, KubectlList, Status, classify};
use runway_core::units::Timestamp;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// The diagnosis of one Job or pod, as printed in JSON.
#[derive(serde::Serialize)]
struct DiagnosisRecord<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    #[serde(skip)]
    namespace: Option<&'a str>,
    #[serde(flatten)]
    status: Status,
    /// The time since which the state has lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

/// The subject of a diagnosis.
#[derive(serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Subject<'a> {
    Job(&'a str),
    /// A pod that belongs to no Job of the input.
    Pod(&'a str),
}

pub(super) fn run(file: &Path, now: Option<Timestamp>, format: TextOrJson) -> Result<Exit, CliError> {
    let source = input::read(file)?;
    let json = serde_json::from_slice(source.bytes())
        .map_err(|error| CliError::NotJson { path: file.to_owned(), error })?;
    let list = KubectlList::from_json(json)
        .map_err(|error| CliError::NotKubernetes { path: file.to_owned(), error })?;
    for skipped in list.skipped() {
        output::eprint(&format!("warning: `{}`: skipped: {skipped}\n", source.name))?;
    }
    let jobs = list.jobs().map(|(name, objects)| DiagnosisRecord::new(Subject::Job(name), &objects));
    let pods =
        list.pods_without_job().map(|(name, objects)| DiagnosisRecord::new(Subject::Pod(name), &objects));
    let records: Vec<_> = jobs.chain(pods).collect();
    match format {
        TextOrJson::Json => output::print_json(&records)?,
        TextOrJson::Text if records.is_empty() => {
            output::print(&format!("no Jobs and no pods in `{}`\n", source.name))?;
        }
        TextOrJson::Text => {
            let namespaces: BTreeSet<_> = records.iter().map(|record| record.namespace).collect();
            let texts: Vec<_> =
                records.iter().map(|record| record.render_text(namespaces.len() > 1, now)).collect();
            output::print(&texts.join("\n"))?;
        }
    }
    Ok(Exit::Success)
}

impl<'a> DiagnosisRecord<'a> {
    fn new(subject: Subject<'a>, objects: &JobObjects<'a>) -> Self {
        let pod = objects.pods.first().map(|pod| &pod.metadata);
        let metadata = objects.job.map(|job| &job.metadata).or(pod);
        let namespace = metadata.and_then(|metadata| metadata.namespace.as_deref());
        let status = classify(objects);
        Self { subject, namespace, since: status.since.map(format_timestamp), status }
    }

    /// Formats the diagnosis for people: phase, message, hint and evidence. Adds the namespace if
    /// `with_namespace` is set. Adds the duration of the state until `now`.
    fn render_text(&self, with_namespace: bool, now: Option<Timestamp>) -> String {
        let Status { phase, reason, message, hint, evidence, .. } = &self.status;
        let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
        let namespace = self.namespace.filter(|_| with_namespace);
        let namespace =
            namespace.map(|namespace| format!("{}/", escape_control(namespace))).unwrap_or_default();
        let (kind, name) = match self.subject {
            Subject::Job(name) => ("", name),
            Subject::Pod(name) => ("pod ", name),
        };
        let mut text = format!("{kind}{namespace}{}: {phase}{reason}\n  {message}\n", escape_control(name));
        if let Some((since, now)) = self.status.since.zip(now) {
            let age = format_age(since, now);
            let _ = writeln!(text, "  for {age}, since {}", format_timestamp(since));
        }
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
