//! Error responses as problem details (RFC 9457).
//!
//! A handler returns an [`ApiError`]. The outermost layer renders its body, because only that layer knows the
//! ids of the request.

use crate::request_id::{RequestIds, TRACEPARENT};
use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use runway_api::{PROBLEM, Problem, REQUEST_HEADER};
use runway_core::units::Timestamp;
use runway_core::{JobId, Violation};
use std::sync::Arc;

/// The problem types of the API. Their names are stable, because clients depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request or its document is invalid under every policy.
    Malformed,
    /// The client certificate does not permit the request.
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
    /// The tenant exceeds its rate limit.
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
    /// The backend is unreachable, or the outcome of a create request is unknown.
    BackendUnavailable,
    /// The response did not start in time.
    TimedOut,
}

impl Kind {
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is invalid"),
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "forbidden", "The client certificate does not permit this request")
            }
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
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The request conflicts with the state of the job"),
            Self::Gone => (StatusCode::GONE, "gone", "The backend no longer has the job"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
            ),
            Self::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "The policy refuses the job"),
            Self::RejectedByBackend => {
                (StatusCode::UNPROCESSABLE_ENTITY, "rejected-by-backend", "The backend rejected the job")
            }
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "The idempotency key was used for another job",
            ),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "The tenant exceeds its rate limit"),
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
        self.facts().0
    }
}

/// An error response: its problem type, details and headers.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub kind: Kind,
    pub detail: String,
    pub violations: Box<[Violation]>,
    pub job_id: Option<JobId>,
    pub free_by: Option<Timestamp>,
    /// Seconds after which a retry of the request may succeed.
    pub retry_after: Option<u64>,
    /// Additional headers of the response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
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

    pub(crate) fn violations(mut self, violations: Vec<Violation>) -> Self {
        self.violations = violations.into();
        self
    }

    pub(crate) fn job(mut self, id: JobId) -> Self {
        self.job_id = Some(id);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds `Connection: close`. The rest of the body is not read, so the next request cannot be found.
    pub(crate) fn close(mut self) -> Self {
        self.headers.push((CONNECTION, HeaderValue::from_static("close")));
        self
    }
}

/// The error of a response whose body is not rendered yet.
#[derive(Debug, Clone)]
struct Pending(Arc<Fault>);

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(Pending(Arc::new(self)));
        response
    }
}

/// Finalizes a response: adds the request ids, and renders the body of an error. Error responses of the
/// framework become an [`ApiError`] first.
pub(crate) fn complete(mut response: Response, ids: &RequestIds) -> Response {
    let status = response.status();
    let fault = match response.extensions_mut().remove::<Pending>() {
        Some(Pending(fault)) => fault,
        None if status.is_client_error() || status.is_server_error() => Arc::new(of_framework(status)),
        None => {
            identify(response.headers_mut(), ids);
            return response;
        }
    };
    let mut told = document(&fault, ids);
    if let Some(allow) = response.headers_mut().remove(ALLOW) {
        told.headers_mut().insert(ALLOW, allow);
    }
    told
}

/// Renders the whole response of an error.
fn document(fault: &Fault, ids: &RequestIds) -> Response {
    let (status, name, title) = fault.kind.facts();
    let problem = Problem {
        kind: format!("urn:runway:problem:{name}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: fault.detail.clone(),
        instance: ids.id.as_str().to_owned(),
        violations: fault.violations.to_vec(),
        job_id: fault.job_id,
        free_by: fault.free_by,
    };
    let mut told = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
    *told.status_mut() = status;
    let headers = told.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(fault.headers.clone());
    if let Some(seconds) = fault.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    identify(headers, ids);
    told
}

/// Adds the headers that every response has.
fn identify(headers: &mut HeaderMap, ids: &RequestIds) {
    headers.insert(HeaderName::from_static(REQUEST_HEADER), ids.id.header());
    headers.insert(TRACEPARENT, ids.trace.header());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn of_framework(status: StatusCode) -> Fault {
    let kind = match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Kind::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Kind::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
        status if status.is_client_error() => Kind::Malformed,
        _ => Kind::Internal,
    };
    let detail = match kind {
        Kind::NotFound => "no route matches this path; `/docs` lists all routes",
        Kind::MethodNotAllowed => {
            "this path does not support this method; the `Allow` header lists the supported methods"
        }
        Kind::Internal => "internal server error; search the log of the server for the id of this request",
        _ => "the request is invalid",
    };
    Fault::new(kind, detail)
}
