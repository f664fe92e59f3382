//! Submissions, regardless of transport.
//!
//! A transport parses its request into a document, a tenant and a key, calls the [`SubmissionService`], and translates the
//! [`SubmissionReport`] into its own responses. Everything else that a submission needs is here: the tenant, the limit on
//! concurrent submissions, the rule for secret references, the outcome, the audit record, and the class of a refusal.

mod limit;
mod refusal;

pub use refusal::{RefusalClass, SubmissionRefusal};

use crate::audit::{AuditRecord, RequestIdentity};
use crate::outcome::SubmissionOutcome;
use crate::plane::{ControlPlane, IdempotencyKey, Submitted};
use limit::SubmissionLimit;
use runway_core::document::Document;
use runway_core::spec::{Secret, SecretLiterals};
use runway_core::{Code, Decision, JobId, JobSpec, Submission, Tenant, Violation};

/// Accepts the submissions of all transports.
///
/// Clones share the control plane and the limit.
#[derive(Debug, Clone)]
pub struct SubmissionService {
    plane: ControlPlane,
    limit: SubmissionLimit,
}

/// A submission, as a transport received it.
#[derive(Debug, Clone)]
pub struct SubmissionRequest<'a> {
    /// The job's document.
    pub document: &'a Document,
    /// The tenant that the transport names, unchecked.
    pub tenant: Option<String>,
    /// The idempotency key.
    pub key: Option<IdempotencyKey>,
}

/// The result of a submission. The service has logged and counted it already.
#[derive(Debug, Clone)]
pub struct SubmissionReport {
    /// The tenant that pays; `None` if its name is missing or invalid.
    pub tenant: Option<Tenant>,
    /// The job, or why there is none.
    pub result: Result<Submitted, SubmissionRefusal>,
}

impl SubmissionService {
    /// A service on a control plane. Each tenant may have `max_per_tenant` submissions in flight; further ones are refused.
    #[must_use]
    pub fn new(plane: ControlPlane, max_per_tenant: usize) -> Self {
        Self { plane, limit: SubmissionLimit::new(max_per_tenant) }
    }

    /// The control plane.
    #[must_use]
    pub const fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Submits a job: admits it, creates it, logs the audit record, and reports the outcome to the plane's observer.
    pub async fn submit(
        &self,
        request: SubmissionRequest<'_>,
        identity: RequestIdentity<'_>,
    ) -> SubmissionReport {
        let SubmissionRequest { document, tenant, key } = request;
        let submission = self.submission(document, tenant);
        let tenant = submission.tenant();
        let permit = match &tenant {
            // The gate refuses a submission without a tenant at once.
            None => None,
            Some(tenant_name) => match self.limit.try_acquire(tenant_name) {
                Some(permit) => Some(permit),
                None => {
                    let refusal = SubmissionRefusal::too_many(self.limit.max_per_tenant());
                    return self.report(identity, tenant, Err((refusal, None)));
                }
            },
        };
        let result = self.plane.submit(submission, key.as_ref()).await;
        drop(permit);
        let result = result.map_err(|error| SubmissionRefusal::from_error(error, self.plane.now()));
        self.report(identity, tenant, result)
    }

    /// Logs and counts a submission whose document the transport could not read. `tenant` is the tenant that the transport
    /// names, unchecked.
    pub fn record_unreadable(
        &self,
        identity: RequestIdentity<'_>,
        tenant: Option<&str>,
        violations: &[Violation],
        detail: &str,
    ) {
        let tenant = tenant.and_then(|text| text.parse().ok());
        let outcome = SubmissionOutcome::Unreadable;
        let record = AuditRecord { outcome, tenant: tenant.as_ref(), job: None, decision: None, detail };
        self.record(identity, record, violations.first().map(|violation| violation.code));
    }

    /// Returns the decision on a job, if it were submitted now. Nothing is changed. Secrets may be references or values.
    #[must_use]
    pub fn preview(&self, document: &Document, tenant: Option<String>) -> Decision {
        self.plane.preview(&read(document, SecretLiterals::Accept, tenant))
    }

    /// The submission of a document. Secrets must be values. A document that only lacks them is refused for that; any other
    /// one gets the violations that a preview of it has.
    fn submission(&self, document: &Document, tenant: Option<String>) -> Submission {
        let accepted = read(document, SecretLiterals::Accept, tenant);
        let has_references =
            accepted.spec.secrets.values().any(|secret| matches!(secret, Secret::FromEnv(_)));
        if has_references && self.plane.preview(&accepted).admitted().is_some() {
            return read(document, SecretLiterals::Require, accepted.tenant);
        }
        accepted
    }

    fn report(
        &self,
        identity: RequestIdentity<'_>,
        tenant: Option<Tenant>,
        result: Result<Submitted, (SubmissionRefusal, Option<Box<Decision>>)>,
    ) -> SubmissionReport {
        let (result, refused) = match result {
            Ok(submitted) => (Ok(submitted), None),
            Err((refusal, decision)) => (Err(refusal), decision),
        };
        let (outcome, job, decision): (_, Option<JobId>, _) = match &result {
            Ok(submitted) => (submitted.outcome(), Some(submitted.job().seen.id), submitted.decision()),
            Err(refusal) => (refusal.class.outcome(), refusal.job_id, refused.as_deref()),
        };
        let detail = result.as_ref().err().map_or("", |refusal| &refusal.message);
        let code = result.as_ref().err().and_then(SubmissionRefusal::code);
        self.record(identity, AuditRecord { outcome, tenant: tenant.as_ref(), job, decision, detail }, code);
        SubmissionReport { tenant, result }
    }

    fn record(&self, identity: RequestIdentity<'_>, record: AuditRecord<'_>, code: Option<Code>) {
        self.plane.observer().submitted(record.outcome, code, self.plane.now());
        record.log(identity);
    }
}

fn read(document: &Document, secrets: SecretLiterals, tenant: Option<String>) -> Submission {
    Submission::from(JobSpec::read(document, secrets)).with_tenant(tenant)
}
