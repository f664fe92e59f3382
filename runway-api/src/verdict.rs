//! What would become of a job.

use runway_core::render::render_redacted;
use runway_core::violation::Violation;
use runway_core::{AdmittedJob, Decision, Job, JobId, Policy, Quote};
use serde::Serialize;
use serde_json::Value as Json;

/// What would become of a document. `runway check -o json` prints a list of these.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict<'a> {
    /// The file it comes from; `-` where it is none.
    pub file: &'a str,
    /// Which document of the file it is, from 0.
    pub document: usize,
    /// Whether it would be admitted.
    pub admitted: bool,
    /// The backend whose features were checked; `None` if none were.
    pub backend: Option<&'a str>,
    /// The normalised job, where every part of it could be read.
    pub job: Option<&'a Job>,
    /// What it would cost at most, where that can be said.
    pub quote: Option<&'a Quote>,
    /// Why it would be refused.
    pub violations: &'a [Violation],
    /// What would be created, secrets redacted, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

impl<'a> Verdict<'a> {
    /// What a decision says of a document.
    #[must_use]
    pub fn new(file: &'a str, document: usize, decision: &'a Decision) -> Self {
        Self {
            file,
            document,
            admitted: decision.admitted().is_some(),
            backend: decision.basis.capabilities.as_ref().map(|capabilities| capabilities.backend()),
            job: decision.job(),
            quote: decision.quote(),
            violations: decision.violations(),
            manifest: None,
        }
    }
}

/// Kubernetes objects as one `List`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: &'static str,
    kind: &'static str,
    /// The objects.
    pub items: Vec<Json>,
}

impl Manifest {
    /// What would be created for a job, with a stand-in for the value of every secret.
    #[must_use]
    pub fn redacted(admitted: &AdmittedJob, id: JobId, policy: &Policy) -> Self {
        let manifest = render_redacted(admitted, id, policy);
        let job = serde_json::to_value(&manifest.job).ok();
        let secret = manifest.secret.and_then(|secret| serde_json::to_value(secret).ok());
        Self::new(job.into_iter().chain(secret).collect())
    }

    /// A list of these objects.
    #[must_use]
    pub const fn new(items: Vec<Json>) -> Self {
        Self { api_version: "v1", kind: "List", items }
    }
}
