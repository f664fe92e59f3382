//! The error type of the HTTP client.

use crate::Exit;
use crate::output::escape_control;
use crate::time::format_timestamp;
use runway_api::Problem;
use runway_core::units::Timestamp;
use runway_core::{JobId, Violation};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// An error from a request to the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The server returned a problem document.
    #[error("{0}")]
    Problem(Box<ProblemBody>),
    /// No complete response of the server arrived, or a proxy responded with 502, 503 or 504. The request may
    /// have taken effect.
    #[error(
        "no response from {url}: {}; check the URL and that the server is running",
        escape_control(cause)
    )]
    NoResponse { url: String, cause: String },
    /// The connection failed in a way that a retry cannot fix, such as a TLS error.
    #[error("cannot connect to {url}: {}; check `--ca`, `--cert` and `--key-file`", escape_control(cause))]
    ConnectionFailed { url: String, cause: String },
    /// The response is not that of a Runway server of a known version.
    #[error(
        "unexpected response from {url}: {}; check that the URL is that of a Runway server",
        escape_control(what)
    )]
    UnexpectedResponse { url: String, what: String },
}

/// The body of an error response (`application/problem+json`), with the HTTP status and the `Retry-After`
/// header.
#[derive(Debug, Clone)]
pub(crate) struct ProblemBody {
    pub status: u16,
    pub title: String,
    pub detail: String,
    /// The request id. The log of the server contains the same id.
    pub request_id: String,
    pub violations: Vec<Violation>,
    pub job_id: Option<JobId>,
    pub free_by: Option<Timestamp>,
    /// The value of the `Retry-After` header.
    pub retry_after: Option<Duration>,
}

/// The fields that problem documents of all server versions have. They are used if the body is not a
/// valid [`Problem`], for example because it contains an unknown violation code.
#[derive(serde::Deserialize)]
struct MinimalProblem {
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    instance: String,
}

impl ProblemBody {
    /// Parses the body of an error response. Returns `None` if it is not a problem document.
    pub(crate) fn parse(status: u16, body: &[u8], retry_after: Option<Duration>) -> Option<Self> {
        if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            let Problem { title, detail, instance: request, violations, job_id, free_by, .. } = problem;
            return Some(Self {
                status,
                title,
                detail,
                request_id: request,
                violations,
                job_id,
                free_by,
                retry_after,
            });
        }
        let MinimalProblem { title, detail, instance: request } = serde_json::from_slice(body).ok()?;
        let (violations, job_id, free_by) = (Vec::new(), None, None);
        Some(Self { status, title, detail, request_id: request, violations, job_id, free_by, retry_after })
    }
}

impl ClientError {
    /// Returns whether a retry may succeed. A retry is safe only for requests without effect or with an
    /// idempotency key.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            // A 409 with `Retry-After` is temporary. An example is an earlier submission with the same
            // idempotency key that is still in progress.
            Self::Problem(problem) => match problem.status {
                409 => problem.retry_after.is_some(),
                status => matches!(status, 408 | 502..=504),
            },
            Self::NoResponse { .. } => true,
            Self::ConnectionFailed { .. } | Self::UnexpectedResponse { .. } => false,
        }
    }

    /// Returns the delay that the server requests before a retry.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if let Self::Problem(problem) = self { problem.retry_after } else { None }
    }

    /// Returns whether the request may have taken effect despite the error.
    pub(crate) fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.status >= 500 || matches!(problem.status, 408 | 409),
            Self::NoResponse { .. } | Self::UnexpectedResponse { .. } => true,
            Self::ConnectionFailed { .. } => false,
        }
    }

    /// Returns whether the server responded with 404.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 404)
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Problem(problem) if problem.status < 500 => Exit::Refused,
            _ => Exit::Unreachable,
        }
    }
}

impl fmt::Display for ProblemBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.trim_end_matches('.');
        write!(f, "{} ({})", escape_control(title), self.status)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", escape_control(&self.detail))?;
        }
        f.write_str(&self.render_hints())
    }
}

impl ProblemBody {
    /// Returns further lines for the message: when to retry, the job id and the request id.
    pub(crate) fn render_hints(&self) -> String {
        let mut hints = String::new();
        // A refusal because of a quota has `free_by`. A refusal because of the rate limit has `Retry-After`.
        if let Some(free_by) = self.free_by {
            let free_by = format_timestamp(free_by);
            let _ =
                write!(hints, "\n  quota is available by {free_by} at the latest, unless other jobs use it");
        } else if let Some(after) = self.retry_after {
            let _ = write!(hints, "\n  retry in {} s", after.as_secs());
        }
        if let Some(id) = self.job_id {
            let _ = write!(hints, "\n  job {id}");
        }
        if !self.request_id.is_empty() {
            let _ = write!(hints, "\n  request {}", escape_control(&self.request_id));
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, retry_after: Option<u64>) -> ClientError {
        let retry_after = retry_after.map(Duration::from_secs);
        ClientError::Problem(Box::new(ProblemBody::parse(status, br#"{"title":"t"}"#, retry_after).unwrap()))
    }

    #[test]
    fn transient_problems_are_retryable_and_refusals_are_not() {
        for (error, is_retryable) in [
            (problem(503, Some(1)), true),
            (problem(503, None), true),
            (problem(502, None), true),
            (problem(408, None), true),
            (problem(409, Some(1)), true),
            (problem(409, None), false),
            (problem(429, Some(1)), false),
            (problem(422, None), false),
            (problem(500, None), false),
        ] {
            assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        }
    }

    #[test]
    fn problem_with_unknown_codes_is_still_parsed() {
        let body =
            br#"{"title":"Refused","detail":"no","instance":"7","violations":[{"code":"not-known-yet"}]}"#;
        let problem = ProblemBody::parse(422, body, None).unwrap();
        assert_eq!(problem.to_string(), "Refused (422): no\n  request 7");
        for bad in [&b""[..], b"{}", b"[]", b"<html>", b"{\"title\":1}", &b"[".repeat(100_000)] {
            assert!(ProblemBody::parse(500, bad, None).is_none());
        }
    }
}
