//! `POST /v1/jobs`: converts a request to a submission, and the submission report to a response.

use super::NO_STORE;
use crate::problem::{Fault, Kind};
use crate::request::body::JobBody;
use crate::request::key::Key;
use crate::request::rate;
use crate::request::tenant::Submitter;
use crate::request_id::RequestIds;
use crate::state::AppState;
use crate::view::job_view;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::{Extension, Json};
use runway_api::JobView;
use runway_control::Submitted;
use runway_control::service::{RefusalClass, SubmissionRefusal, SubmissionReport, SubmissionRequest};
use runway_core::Tenant;

/// Submit a job
///
/// The server checks and prices the job, applies the rate limit and the quota of the tenant, and creates the
/// job. If a request is repeated with the same `Idempotency-Key`, the server creates no second job and
/// returns the existing job.
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
    let service = state.service();
    match body {
        Ok(JobBody(document)) => {
            let submission = SubmissionRequest { document: &document, tenant, key };
            let report = service.submit(submission, request.identity()).await;
            response(report, &state)
        }
        Err(fault) => {
            let named = tenant.as_deref();
            service.record_unreadable(request.identity(), named, &fault.violations, &fault.detail);
            let rate = rate_headers(&state, named.and_then(|name| name.parse().ok()).as_ref());
            Fault { headers: [fault.headers, rate].concat(), ..fault }.into_response()
        }
    }
}

fn response(report: SubmissionReport, state: &AppState) -> Response {
    let rate = rate_headers(state, report.tenant.as_ref());
    let (status, job) = match report.result {
        Ok(Submitted::Created { job, .. }) => (StatusCode::CREATED, job),
        Ok(Submitted::Replayed { job }) => (StatusCode::OK, job),
        Err(refusal) => {
            let fault = fault(refusal);
            return Fault { headers: [fault.headers, rate].concat(), ..fault }.into_response();
        }
    };
    let location = [(LOCATION, format!("/v1/jobs/{}", job.seen.id))];
    let view = job_view(&job, state.plane().now());
    (status, [NO_STORE], location, AppendHeaders(rate), Json(view)).into_response()
}

fn rate_headers(state: &AppState, tenant: Option<&Tenant>) -> Vec<(HeaderName, HeaderValue)> {
    let headers = |tenant: &Tenant| rate::headers(&state.plane().usage(tenant.as_str()), state.plane().now());
    tenant.map(headers).unwrap_or_default()
}

fn fault(refusal: SubmissionRefusal) -> Fault {
    let kind = match refusal.class {
        RefusalClass::Malformed => Kind::Malformed,
        RefusalClass::Policy => Kind::Refused,
        RefusalClass::RateLimited => Kind::RateLimited,
        RefusalClass::OverQuota => Kind::OverQuota,
        RefusalClass::TooManySubmissions => Kind::TooManySubmissions,
        RefusalClass::KeyReused => Kind::KeyReused,
        RefusalClass::KeyInFlight => Kind::Conflict,
        RefusalClass::NotReady => Kind::NotReady,
        RefusalClass::Rejected => Kind::RejectedByBackend,
        RefusalClass::Unavailable | RefusalClass::Uncertain => Kind::BackendUnavailable,
    };
    let detail = match refusal.class {
        RefusalClass::Uncertain => format!(
            "{}; with the same `Idempotency-Key` it is safe to send it again; without one, look for the job first",
            refusal.message
        ),
        _ => refusal.message,
    };
    Fault {
        violations: refusal.violations.into(),
        job_id: refusal.job_id,
        free_by: refusal.free_by,
        retry_after: refusal.retry_after.map(|wait| wait.as_secs()),
        ..Fault::new(kind, detail)
    }
}
