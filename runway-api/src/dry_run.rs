//! The result of a dry run.

use runway_core::render::render_redacted;
use runway_core::violation::Violation;
use runway_core::{AdmittedJob, Decision, Job, JobId, Policy, Quote};
use serde::Serialize;
use serde_json::Value as Json;

/// The result of a dry run for one document. `runway check -o json` prints a list of these.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DryRunResult<'a> {
    /// The file of the document; `-` if it does not come from a file.
    pub file: &'a str,
    /// The index of the document in its file, from 0.
    pub document: usize,
    /// `true` if the job would be admitted.
    pub admitted: bool,
    /// The backend whose features were checked; `None` if none were checked.
    pub backend: Option<&'a str>,
    /// The normalised job. `None` if the rate limit would refuse the job, or if a part of the job is missing
    /// or cannot be parsed.
    pub job: Option<&'a Job>,
    /// The quote; `None` if there is no normalised job, or if its price cannot be computed.
    pub quote: Option<&'a Quote>,
    /// The reasons to refuse the job.
    pub violations: &'a [Violation],
    /// The Kubernetes objects with redacted secrets. Present only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

impl<'a> DryRunResult<'a> {
    /// Creates the result from the decision on a document.
    #[must_use]
    pub fn new(file: &'a str, document: usize, decision: &'a Decision) -> Self {
        Self {
            file,
            document,
            admitted: decision.admitted().is_some(),
            backend: decision.inputs.capabilities.as_ref().map(|capabilities| capabilities.backend()),
            job: decision.job(),
            quote: decision.quote(),
            violations: decision.violations(),
            manifest: None,
        }
    }
}

/// A Kubernetes `List` of objects.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: &'static str,
    kind: &'static str,
    /// The objects.
    pub items: Vec<Json>,
}

impl Manifest {
    /// Renders the Kubernetes objects of a job, with a placeholder for the value of each secret.
    #[must_use]
    pub fn redacted(admitted: &AdmittedJob, id: JobId, policy: &Policy) -> Self {
        let manifest = render_redacted(admitted, id, policy);
        let job = serde_json::to_value(&manifest.job).ok();
        let secret = manifest.secret.and_then(|secret| serde_json::to_value(secret).ok());
        Self::new(job.into_iter().chain(secret).collect())
    }

    /// Creates a list of these objects.
    #[must_use]
    pub const fn new(items: Vec<Json>) -> Self {
        Self { api_version: "v1", kind: "List", items }
    }
}
