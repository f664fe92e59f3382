//! Submissions, independent of the transport.
//!
//! A transport parses its request into a document, a tenant and a key. It calls the [`SubmissionService`] and
//! converts the [`SubmissionReport`] to its own response format. The service does the rest:
//!
//! - determine the tenant
//! - enforce the limit on concurrent submissions
//! - refuse a job that contains references to secrets in place of their values
//! - write the audit records
//! - determine the outcome and the class of a refusal

mod limit;
mod refusal;

pub use refusal::{RefusalClass, SubmissionRefusal};

use crate::audit::{AuditRecord, OwnedIdentity, RequestIdentity, log_decision};
use crate::outcome::SubmissionOutcome;
use crate::plane::{ControlPlane, CreationRecorder, IdempotencyKey, SubmitError, SubmitPlan, Submitted};
use limit::{SubmissionLimit, SubmissionPermit};
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

/// A submission as a transport received it.
#[derive(Debug, Clone)]
pub struct SubmissionRequest<'a> {
    /// The job's document.
    pub document: &'a Document,
    /// The tenant that the transport names, not yet validated.
    pub tenant: Option<String>,
    /// The idempotency key.
    pub key: Option<IdempotencyKey>,
}

/// The result of a submission. The service has already logged and counted it.
#[derive(Debug, Clone)]
pub struct SubmissionReport {
    /// The tenant that pays. `None` if its name is missing or invalid.
    pub tenant: Option<Tenant>,
    /// The job, or the refusal.
    pub result: Result<Submitted, SubmissionRefusal>,
}

impl SubmissionService {
    /// Creates a service. Each tenant may have `max_per_tenant` submissions in flight; further ones are
    /// refused.
    #[must_use]
    pub fn new(plane: ControlPlane, max_per_tenant: usize) -> Self {
        Self { plane, limit: SubmissionLimit::new(max_per_tenant) }
    }

    /// Returns the control plane.
    #[must_use]
    pub const fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Submits a job: calls the gate, creates the job, logs the audit records, and reports the outcome to the
    /// observer.
    ///
    /// If the caller stops waiting, an admitted job is still created, logged and reported.
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
                    let refusal = SubmissionRefusal::too_many_submissions(self.limit.max_per_tenant());
                    return self.report(identity, tenant, Err((refusal, None)));
                }
            },
        };
        match self.plane.plan_submission(&submission, key.as_ref()) {
            Ok(SubmitPlan::Create(creation)) => {
                let (service, identity) = (self.clone(), identity.into());
                let recorder =
                    SubmissionRecorder { service, identity, tenant: tenant.clone(), _permit: permit };
                let result = creation.run(recorder).await;
                let result = result.map_err(|error| SubmissionRefusal::from_error(error, self.plane.now()).0);
                SubmissionReport { tenant, result }
            }
            Ok(SubmitPlan::Replay(job)) => self.report(identity, tenant, Ok(Submitted::Replayed { job })),
            Err(error) => {
                let refusal = SubmissionRefusal::from_error(error, self.plane.now());
                self.report(identity, tenant, Err(refusal))
            }
        }
    }

    /// Logs and counts a submission whose document the transport could not read. `tenant` is the tenant that
    /// the transport names, not yet validated.
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

    /// Returns the decision that the gate would make on a job now. Changes no state. Secrets can be
    /// references or values.
    #[must_use]
    pub fn preview(&self, document: &Document, tenant: Option<String>) -> Decision {
        self.plane.preview(&parse_submission(document, SecretLiterals::Accept, tenant))
    }

    /// Parses a document into a submission. In a submission, secrets must have values.
    ///
    /// If the gate would admit the document, each reference to a secret becomes a violation, and the gate
    /// then refuses the submission. Any other document has the same violations as in a preview.
    fn submission(&self, document: &Document, tenant: Option<String>) -> Submission {
        let accepted = parse_submission(document, SecretLiterals::Accept, tenant);
        let has_references =
            accepted.spec.secrets.values().any(|secret| matches!(secret, Secret::FromEnv(_)));
        if has_references && self.plane.preview(&accepted).admitted().is_some() {
            return parse_submission(document, SecretLiterals::Require, accepted.tenant);
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
        self.record_result(identity, tenant.as_ref(), result.as_ref(), refused.as_deref());
        SubmissionReport { tenant, result }
    }

    /// Logs and counts the outcome of a submission.
    fn record_result(
        &self,
        identity: RequestIdentity<'_>,
        tenant: Option<&Tenant>,
        result: Result<&Submitted, &SubmissionRefusal>,
        decision: Option<&Decision>,
    ) {
        let (outcome, job): (_, Option<JobId>) = match result {
            Ok(submitted) => (submitted.outcome(), Some(submitted.job().snapshot.id)),
            Err(refusal) => (refusal.class.outcome(), refusal.job_id),
        };
        let detail = result.err().map_or("", |refusal| refusal.message.as_str());
        let code = result.err().and_then(SubmissionRefusal::code);
        self.record(identity, AuditRecord { outcome, tenant, job, decision, detail }, code);
    }

    fn record(&self, identity: RequestIdentity<'_>, record: AuditRecord<'_>, code: Option<Code>) {
        self.plane.observer().on_submission(record.outcome, code, self.plane.now());
        record.log(identity);
    }
}

/// Records the creation of a job, from the task that creates it. Counts the submission as in flight until the
/// creation has ended, even if the client has disconnected.
struct SubmissionRecorder {
    service: SubmissionService,
    identity: OwnedIdentity,
    tenant: Option<Tenant>,
    _permit: Option<SubmissionPermit>,
}

impl CreationRecorder for SubmissionRecorder {
    fn on_start(&mut self, id: JobId, decision: Option<&Decision>) {
        if let Some(decision) = decision {
            log_decision(self.identity.borrow(), self.tenant.as_ref(), id, decision);
        }
    }

    fn on_end(self, _: JobId, result: &Result<Submitted, SubmitError>) {
        let now = self.service.plane.now();
        let refusal;
        let result = match result {
            Ok(submitted) => Ok(submitted),
            Err(error) => {
                refusal = SubmissionRefusal::from_error(error.clone(), now).0;
                Err(&refusal)
            }
        };
        self.service.record_result(self.identity.borrow(), self.tenant.as_ref(), result, None);
    }
}

fn parse_submission(document: &Document, secrets: SecretLiterals, tenant: Option<String>) -> Submission {
    Submission::from(JobSpec::from_document(document, secrets)).with_tenant(tenant)
}
