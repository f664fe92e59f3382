//! `POST /v1/jobs`: submits a job. Converts the request to a submission, and the result to a response.

use super::NO_STORE;
use crate::problem::{ApiError, ProblemKind};
use crate::request::body::JobBody;
use crate::request::idempotency_key::IdempotencyKeyHeader;
use crate::request::rate_limit::{self, ExceededServerLimit};
use crate::request::tenant::TenantHeader;
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
/// The server checks and prices the job, applies the limits of the tenant and of all tenants together, and
/// creates the job. These limits are rate limits, quotas and the capacity. If a request is repeated with the
/// same `Idempotency-Key`, the server creates no second job and returns the existing job.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    operation_id = "submitJob",
    tag = "jobs",
    params(
        ("X-Tenant-ID" = Option<String>, Header, description = "Tenant of the job, if the job does not set it"),
        ("Idempotency-Key" = Option<String>, Header, description = "Key for safe retries: 1 to 255 visible ASCII characters, chosen by the client"),
    ),
    request_body(
        content((runway_api::schema::JobSpec = "application/json"), (runway_api::schema::JobSpec = "application/yaml"))
    ),
    responses(
        (status = 201, description = "The job was created", body = JobView, headers(
            ("Location" = String, description = "Path of the job"),
            ("RateLimit-Policy" = String, description = "Rate limit of the tenant (draft-ietf-httpapi-ratelimit-headers-11)"),
            ("RateLimit" = String, description = "Remaining submissions of the tenant under this rate limit"),
        )),
        (status = 200, description = "The job exists already: it was created with the same key", body = JobView),
        (status = 400, description = "The job is invalid under every policy"),
        (status = 408, description = "The body did not arrive in time"),
        (status = 409, description = "Another request with the same key is in progress"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is neither JSON nor YAML"),
        (status = 422, description = "The policy refuses the job, the backend rejects it, or the key was used for another job"),
        (status = 429, description = "A limit of the tenant or of all tenants together is exceeded: a rate limit, a quota, the capacity, or the limit on concurrent submissions; retry after `Retry-After` seconds"),
    )
)]
pub(super) async fn submit(
    State(state): State<AppState>,
    Extension(request): Extension<RequestIds>,
    TenantHeader(tenant): TenantHeader,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    body: Result<JobBody, ApiError>,
) -> Response {
    let service = state.service();
    match body {
        Ok(JobBody(document)) => {
            let submission = SubmissionRequest { document: &document, tenant, key };
            let report = service.submit(submission, request.identity()).await;
            to_response(report, &state)
        }
        Err(error) => {
            let tenant_name = tenant.as_deref();
            service.record_unreadable(request.identity(), tenant_name, &error.violations, &error.detail);
            let rate = rate_headers(&state, tenant_name.and_then(|name| name.parse().ok()).as_ref(), None);
            ApiError { headers: [error.headers, rate].concat(), ..error }.into_response()
        }
    }
}

fn to_response(report: SubmissionReport, state: &AppState) -> Response {
    let exceeded = report
        .result
        .as_ref()
        .err()
        .and_then(|refusal| ExceededServerLimit::from_refusal(refusal, &state.plane().policy()));
    let rate = rate_headers(state, report.tenant.as_ref(), exceeded);
    let (status, job) = match report.result {
        Ok(Submitted::Created { job, .. }) => (StatusCode::CREATED, job),
        Ok(Submitted::Replayed { job }) => (StatusCode::OK, job),
        Err(refusal) => {
            let error = to_api_error(refusal);
            return ApiError { headers: [error.headers, rate].concat(), ..error }.into_response();
        }
    };
    let location = [(LOCATION, format!("/v1/jobs/{}", job.snapshot.id))];
    let view = job_view(&job, state.plane().now());
    (status, [NO_STORE], location, AppendHeaders(rate), Json(view)).into_response()
}

fn rate_headers(
    state: &AppState,
    tenant: Option<&Tenant>,
    exceeded: Option<ExceededServerLimit>,
) -> Vec<(HeaderName, HeaderValue)> {
    let headers = |tenant: &Tenant| {
        rate_limit::rate_limit_headers(&state.plane().usage(tenant.as_str()), exceeded, state.plane().now())
    };
    tenant.map(headers).unwrap_or_default()
}

fn to_api_error(refusal: SubmissionRefusal) -> ApiError {
    let kind = match refusal.class {
        RefusalClass::Malformed => ProblemKind::Malformed,
        RefusalClass::Policy => ProblemKind::Refused,
        RefusalClass::RateLimited => ProblemKind::RateLimited,
        RefusalClass::OverQuota => ProblemKind::OverQuota,
        RefusalClass::TooManySubmissions => ProblemKind::TooManySubmissions,
        RefusalClass::KeyReused => ProblemKind::KeyReused,
        RefusalClass::KeyInFlight => ProblemKind::Conflict,
        RefusalClass::NotReady => ProblemKind::NotReady,
        RefusalClass::Rejected => ProblemKind::RejectedByBackend,
        RefusalClass::Unavailable | RefusalClass::Uncertain => ProblemKind::BackendUnavailable,
    };
    let detail = match refusal.class {
        RefusalClass::Uncertain => format!(
            "{}; with the same `Idempotency-Key`, it is safe to retry; without one, first check whether the job exists",
            refusal.message
        ),
        _ => refusal.message,
    };
    ApiError {
        violations: refusal.violations.into(),
        job_id: refusal.job_id,
        free_by: refusal.free_by,
        retry_after: refusal.retry_after.map(|wait| wait.as_secs()),
        ..ApiError::new(kind, detail)
    }
}
