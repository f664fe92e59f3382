//! `POST /v1/jobs`: what becomes of a submission, told to its sender, to the log and to the metrics.

use super::NO_STORE;
use crate::audit::{self, SubmissionOutcome};
use crate::problem::{Fault, Kind};
use crate::request::body::JobBody;
use crate::request::id::RequestIds;
use crate::request::key::Key;
use crate::request::rate;
use crate::request::tenant::Submitter;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::{Extension, Json};
use runway_api::JobView;
use runway_control::{IdempotencyKey, JobRecord, SubmitError, Submitted};
use runway_core::code::Remedy;
use runway_core::spec::{Secret, SecretLiterals};
use runway_core::units::Timestamp;
use runway_core::{Decision, JobId, Submission, Tenant};
use std::sync::Arc;

/// No client needs to wait longer than this before it asks again, in seconds.
const LONGEST_WAIT: u64 = 60;

/// Submit a job
///
/// The job is checked, priced, and held against the tenant's rate and quota; then it is created. With `Idempotency-Key` the
/// same request, sent again, makes no second job: it is answered with the first one as it is now.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    operation_id = "submitJob",
    tag = "jobs",
    params(
        ("X-Tenant-ID" = Option<String>, Header, description = "Who submits, where the job itself does not say so"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters that the client makes up"),
    ),
    request_body(
        content((runway_api::schema::JobSpec = "application/json"), (runway_api::schema::JobSpec = "application/yaml"))
    ),
    responses(
        (status = 201, description = "The job was created", body = JobView, headers(
            ("Location" = String, description = "Where it is told of"),
            ("RateLimit-Policy" = String, description = "How fast the tenant may submit (draft-ietf-httpapi-ratelimit-headers-11)"),
            ("RateLimit" = String, description = "What is left of that"),
        )),
        (status = 200, description = "The job had been created before, under the same key", body = JobView),
        (status = 400, description = "The job cannot be understood, whatever the policy"),
        (status = 408, description = "The body did not arrive in time"),
        (status = 409, description = "A request with the same key is being worked on"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is neither JSON nor YAML"),
        (status = 422, description = "The policy or the backend refuses the job, or the key was used for another one"),
        (status = 429, description = "Too fast, or no room just now; `Retry-After` says when to ask again"),
    )
)]
pub(super) async fn submit(
    State(state): State<AppState>,
    Extension(request): Extension<RequestIds>,
    Submitter(tenant): Submitter,
    Key(key): Key,
    body: Result<JobBody, Fault>,
) -> Response {
    let report = match body {
        Ok(body) => take(&state, submission(&state, &body, tenant), key).await,
        Err(fault) => Report::unreadable(tenant, fault),
    };
    report.note(&request, &state);
    report.into_response(&state)
}

/// What is submitted. A secret must come as its value; where only that is missing it is said, and else what `check` says of the same
/// document.
fn submission(state: &AppState, body: &JobBody, tenant: Option<String>) -> Submission {
    let judged = body.submission(SecretLiterals::Accept, tenant);
    let has_references = judged.spec.secrets.values().any(|secret| matches!(secret, Secret::FromEnv(_)));
    if has_references && state.plane().preview(&judged).admitted().is_some() {
        return body.submission(SecretLiterals::Require, judged.tenant);
    }
    judged
}

async fn take(state: &AppState, submission: Submission, key: Option<IdempotencyKey>) -> Report {
    let named = submission.tenant.as_deref().or(submission.spec.tenant.as_deref());
    let tenant: Option<Tenant> = named.and_then(|name| name.parse().ok());
    let room = match &tenant {
        // Whose it is cannot be read: the gate refuses it at once.
        None => None,
        Some(whose) => match state.capacity().submission(whose) {
            Some(room) => Some(room),
            None => return Report::too_many(tenant, state.limits().tenant_submissions),
        },
    };
    let result = state.plane().submit(submission, key.as_ref()).await;
    drop(room);
    Report::of(tenant, result, state.plane().now())
}

/// What became of a submission.
struct Report {
    outcome: SubmissionOutcome,
    tenant: Option<Tenant>,
    job: Option<JobId>,
    decision: Option<Box<Decision>>,
    answer: Result<(StatusCode, Arc<JobRecord>), Fault>,
}

impl Report {
    fn unreadable(tenant: Option<String>, fault: Fault) -> Self {
        let tenant = tenant.and_then(|text| text.parse().ok());
        Self { outcome: SubmissionOutcome::Unreadable, tenant, job: None, decision: None, answer: Err(fault) }
    }

    fn too_many(tenant: Option<Tenant>, limit: usize) -> Self {
        let detail = format!("{limit} submissions of this tenant are under way; wait for their answers");
        let fault = Fault::new(Kind::TooManySubmissions, detail).retry_after(1);
        let outcome = SubmissionOutcome::TooManySubmissions;
        Self { outcome, tenant, job: None, decision: None, answer: Err(fault) }
    }

    fn of(tenant: Option<Tenant>, result: Result<Submitted, SubmitError>, now: Timestamp) -> Self {
        let error = match result {
            Ok(Submitted::Created { job, decision }) => {
                let (outcome, id) = (SubmissionOutcome::Created, job.seen.id);
                return Self {
                    outcome,
                    tenant,
                    job: Some(id),
                    decision,
                    answer: Ok((StatusCode::CREATED, job)),
                };
            }
            Ok(Submitted::Replayed { job }) => {
                let (outcome, id) = (SubmissionOutcome::Replayed, job.seen.id);
                return Self {
                    outcome,
                    tenant,
                    job: Some(id),
                    decision: None,
                    answer: Ok((StatusCode::OK, job)),
                };
            }
            Err(error) => error,
        };
        let detail = error.to_string();
        let (outcome, job, fault) = match &error {
            SubmitError::NotReady => {
                (SubmissionOutcome::Unavailable, None, Fault::new(Kind::NotReady, detail).retry_after(1))
            }
            SubmitError::Refused(decision) => (SubmissionOutcome::Refused, None, refusal(decision, now)),
            SubmitError::KeyReused { id } => {
                (SubmissionOutcome::KeyConflict, Some(*id), Fault::new(Kind::KeyReused, detail))
            }
            SubmitError::InFlight { id } => {
                (SubmissionOutcome::KeyConflict, Some(*id), Fault::new(Kind::Conflict, detail).retry_after(1))
            }
            SubmitError::Rejected { id, .. } => {
                (SubmissionOutcome::Rejected, Some(*id), Fault::new(Kind::RejectedByBackend, detail))
            }
            SubmitError::Unreachable { id, .. } => {
                let fault = Fault::new(Kind::BackendUnavailable, detail).retry_after(5);
                (SubmissionOutcome::Unavailable, Some(*id), fault)
            }
            SubmitError::Uncertain { id, .. } => {
                let advice = "with the same `Idempotency-Key` it is safe to send it again; without one, look for the job first";
                let fault =
                    Fault::new(Kind::BackendUnavailable, format!("{detail}; {advice}")).retry_after(5);
                (SubmissionOutcome::Uncertain, Some(*id), fault)
            }
        };
        let fault = Fault { job_id: job, ..fault };
        let decision = if let SubmitError::Refused(decision) = error { Some(decision) } else { None };
        Self { outcome, tenant, job, decision, answer: Err(fault) }
    }

    fn note(&self, request: &RequestIds, state: &AppState) {
        let violations = self.answer.as_ref().err().map_or(&[][..], |fault| &fault.violations);
        let code = violations.first().map(|violation| violation.code);
        state.metrics().submitted(self.outcome, code, state.plane().now());
        let line = audit::Line {
            outcome: self.outcome,
            tenant: self.tenant.as_ref().map_or("", Tenant::as_str),
            job: self.job,
            decision: self.decision.as_deref(),
            detail: self.answer.as_ref().err().map_or("", |fault| &fault.detail),
        };
        audit::log(request, line);
    }

    fn into_response(self, state: &AppState) -> Response {
        let now = state.plane().now();
        let rate = |tenant: Tenant| rate::headers(&state.plane().usage(tenant.as_str()), now);
        let rate = self.tenant.map(rate).unwrap_or_default();
        match self.answer {
            Ok((status, job)) => {
                let location = [(LOCATION, format!("/v1/jobs/{}", job.seen.id))];
                (status, [NO_STORE], location, AppendHeaders(rate), Json(JobView::of(&job, now)))
                    .into_response()
            }
            Err(mut fault) => {
                fault.headers.extend(rate);
                fault.into_response()
            }
        }
    }
}

/// The answer to a submission that the gate refused.
fn refusal(decision: &Decision, now: Timestamp) -> Fault {
    let violations = decision.violations();
    let has = |remedy| violations.iter().any(|violation| violation.code.remedy() == remedy);
    let refusal = decision.refusal();
    let wait = |then: Timestamp| rate::seconds_until(then, now).clamp(1, LONGEST_WAIT);
    let (kind, retry_after, free_by) = if has(Remedy::Document) {
        (Kind::Malformed, None, None)
    } else if has(Remedy::Policy) {
        (Kind::Refused, None, None)
    } else if has(Remedy::Rate) {
        (Kind::RateLimited, refusal.and_then(|refusal| refusal.retry_at).map(wait), None)
    } else {
        let free_by = refusal.and_then(|refusal| refusal.free_by);
        (Kind::OverQuota, Some(free_by.map_or(LONGEST_WAIT, wait)), free_by)
    };
    let detail = match violations {
        [one] => one.message.clone(),
        [first, rest @ ..] => format!("{}, and {} more", first.message, rest.len()),
        [] => String::new(),
    };
    Fault { retry_after, free_by, ..Fault::new(kind, detail).violations(violations.to_vec()) }
}
