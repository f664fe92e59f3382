//! Error responses as problem details (RFC 9457).
//!
//! A handler returns an [`ApiError`]. The outermost layer renders its body and adds the ids of the request,
//! so handlers do not need the ids to return an error.

use crate::request_id::{RequestIds, TRACEPARENT};
use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use runway_api::{PROBLEM, Problem, REQUEST_ID_HEADER};
use runway_core::units::Timestamp;
use runway_core::{JobId, Violation};
use std::sync::Arc;

/// The problem types of the API. Their names are stable, because clients depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The request or its document is invalid under every policy.
    Malformed,
    /// The client certificate does not permit the request, or a page of another site sent it.
    Forbidden,
    NotFound,
    MethodNotAllowed,
    /// The request names a host that is not this server.
    Misdirected,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The state of the job does not permit the request, or a request with the same key is in flight.
    Conflict,
    /// The backend no longer has the job or its output.
    Gone,
    BodyTooLarge,
    UnsupportedMediaType,
    /// The policy refuses the job.
    Refused,
    /// The backend rejects the job.
    RejectedByBackend,
    /// The idempotency key belongs to a different job.
    KeyReused,
    /// The tenant, or all tenants together, exceed their rate limit.
    RateLimited,
    /// The job exceeds a quota or the capacity.
    OverQuota,
    /// The tenant has too many concurrent submissions.
    TooManySubmissions,
    /// The server failed.
    Internal,
    /// The server has not received its first list from the backend, or is shutting down.
    NotReady,
    /// The server has too many concurrent requests or log readers.
    Overloaded,
    /// The backend is unreachable or too busy, or the outcome of a create request is unknown.
    BackendUnavailable,
    /// The response did not start in time.
    TimedOut,
}

impl ProblemKind {
    const fn definition(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is invalid"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The request is not permitted"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "misdirected", "The request is for a different host")
            }
            Self::BodyTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time")
            }
            Self::Conflict => {
                (StatusCode::CONFLICT, "conflict", "The request conflicts with the state of the job")
            }
            Self::Gone => (StatusCode::GONE, "gone", "The backend no longer has the job"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "The policy refuses the job"),
            Self::RejectedByBackend => {
                (StatusCode::UNPROCESSABLE_ENTITY, "rejected-by-backend", "The backend rejected the job")
            }
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "The idempotency key was used for another job",
            ),
            Self::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "The submission exceeds a rate limit")
            }
            Self::OverQuota => {
                (StatusCode::TOO_MANY_REQUESTS, "over-quota", "The job exceeds a quota or the capacity")
            }
            Self::TooManySubmissions => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-submissions", "Too many concurrent submissions")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server is not ready"),
            Self::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many concurrent requests")
            }
            Self::BackendUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "backend-unavailable", "The backend is unavailable")
            }
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "The response took too long"),
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.definition().0
    }
}

/// An error response: its problem type, details and headers.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub kind: ProblemKind,
    pub detail: String,
    pub violations: Box<[Violation]>,
    pub job_id: Option<JobId>,
    pub free_by: Option<Timestamp>,
    /// Seconds after which a retry of the request may succeed.
    pub retry_after: Option<u64>,
    /// Additional headers of the response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            violations: Box::default(),
            job_id: None,
            free_by: None,
            retry_after: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.violations = violations.into();
        self
    }

    pub(crate) fn with_job_id(mut self, id: JobId) -> Self {
        self.job_id = Some(id);
        self
    }

    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Connection: close`. The server does not read the rest of the body, so it cannot find the start
    /// of a next request on the connection.
    pub(crate) fn closing_connection(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }
}

/// The error of a response whose body is not rendered yet.
#[derive(Debug, Clone)]
struct PendingError(Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(PendingError(Arc::new(self)));
        response
    }
}

/// Finalizes a response: adds the request ids, and renders the body of an error. An error response without an
/// [`ApiError`], such as a 404 of the router, gets one from its status.
pub(crate) fn finalize(mut response: Response, ids: &RequestIds) -> Response {
    let status = response.status();
    let error = match response.extensions_mut().remove::<PendingError>() {
        Some(PendingError(error)) => error,
        None if status.is_client_error() || status.is_server_error() => Arc::new(from_status(status)),
        None => {
            add_request_ids(response.headers_mut(), ids);
            return response;
        }
    };
    let mut rendered = render(&error, ids);
    if let Some(allow) = response.headers_mut().remove(ALLOW) {
        rendered.headers_mut().insert(ALLOW, allow);
    }
    rendered
}

/// Renders the whole response of an error.
fn render(error: &ApiError, ids: &RequestIds) -> Response {
    let (status, name, title) = error.kind.definition();
    let problem = Problem {
        kind: format!("urn:runway:problem:{name}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: error.detail.clone(),
        instance: ids.id.as_str().to_owned(),
        violations: error.violations.to_vec(),
        job_id: error.job_id,
        free_by: error.free_by,
    };
    let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(error.headers.clone());
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    add_request_ids(headers, ids);
    response
}

/// Adds the headers that every response has: the request id, the trace and `nosniff`.
fn add_request_ids(headers: &mut HeaderMap, ids: &RequestIds) {
    headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), ids.id.to_header_value());
    headers.insert(TRACEPARENT, ids.trace.to_header_value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn from_status(status: StatusCode) -> ApiError {
    let kind = match status {
        StatusCode::NOT_FOUND => ProblemKind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ProblemKind::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemKind::UnsupportedMediaType,
        status if status.is_client_error() => ProblemKind::Malformed,
        _ => ProblemKind::Internal,
    };
    let detail = match kind {
        ProblemKind::NotFound => "no route matches this path; `/docs` lists all routes",
        ProblemKind::MethodNotAllowed => {
            "this path does not support this method; the `Allow` header lists the supported methods"
        }
        ProblemKind::Internal => {
            "internal server error; search the log of the server for the id of this request"
        }
        _ => "the request is invalid",
    };
    ApiError::new(kind, detail)
}
