//! The error type of the HTTP client.

use crate::Exit;
use crate::output::printable;
use crate::time::time;
use runway_api::Problem;
use runway_core::units::Timestamp;
use runway_core::{JobId, Violation};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// An error from a request to the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The server returned a problem document.
    #[error("{0}")]
    Problem(Box<Told>),
    /// No complete response arrived. The request may have taken effect.
    #[error("no response from {url}: {}; check the URL and that the server is running", printable(cause))]
    NoAnswer { url: String, cause: String },
    /// The connection failed in a way that a retry cannot fix, such as a TLS error.
    #[error("cannot connect to {url}: {}; check `--ca`, `--cert` and `--key-file`", printable(cause))]
    NoConnection { url: String, cause: String },
    /// The response is not that of a Runway server of a known version.
    #[error("unexpected response from {url}: {}; check that the URL is that of a Runway server", printable(what))]
    Foreign { url: String, what: String },
}

/// The body of an error response (`application/problem+json`), with the status and `Retry-After`.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub status: u16,
    pub title: String,
    pub detail: String,
    /// The request id, which the server's log contains as well.
    pub request: String,
    pub violations: Vec<Violation>,
    pub job_id: Option<JobId>,
    pub free_by: Option<Timestamp>,
    /// The value of the `Retry-After` header.
    pub retry_after: Option<Duration>,
}

/// The fields that problem documents of all server versions have.
#[derive(serde::Deserialize)]
struct Essence {
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    instance: String,
}

impl Told {
    /// Parses the body of an error response. Returns `None` if it is not a problem document.
    pub(crate) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Option<Self> {
        if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            let Problem { title, detail, instance: request, violations, job_id, free_by, .. } = problem;
            return Some(Self { status, title, detail, request, violations, job_id, free_by, retry_after });
        }
        let Essence { title, detail, instance: request } = serde_json::from_slice(body).ok()?;
        let (violations, job_id, free_by) = (Vec::new(), None, None);
        Some(Self { status, title, detail, request, violations, job_id, free_by, retry_after })
    }
}

impl Trouble {
    /// Returns whether a retry may succeed. A retry is safe only for requests without effect or with an
    /// idempotency key.
    pub(crate) fn is_worth_repeating(&self) -> bool {
        match self {
            // 409 with `Retry-After`: an earlier request with the same key is still in progress.
            Self::Problem(told) => match told.status {
                409 => told.retry_after.is_some(),
                status => matches!(status, 408 | 502..=504),
            },
            Self::NoAnswer { .. } => true,
            Self::NoConnection { .. } | Self::Foreign { .. } => false,
        }
    }

    /// Returns the delay that the server requests before a retry.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if let Self::Problem(told) = self { told.retry_after } else { None }
    }

    /// Returns whether the request may have taken effect despite the error.
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Problem(told) => told.status >= 500 || matches!(told.status, 408 | 409),
            Self::NoAnswer { .. } | Self::Foreign { .. } => true,
            Self::NoConnection { .. } => false,
        }
    }

    /// Returns whether the server responded with 404.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(told) if told.status == 404)
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Problem(told) if told.status < 500 => Exit::Refused,
            _ => Exit::Unreachable,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.trim_end_matches('.');
        write!(f, "{} ({})", printable(title), self.status)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", printable(&self.detail))?;
        }
        f.write_str(&self.advice())
    }
}

impl Told {
    /// Returns further lines for the message: when to retry, the job id and the request id.
    pub(crate) fn advice(&self) -> String {
        let mut advice = String::new();
        // A quota refusal has `free_by`, and a rate limit has `Retry-After`.
        if let Some(free_by) = self.free_by {
            let free_by = time(free_by);
            let _ = write!(advice, "\n  quota is available by {free_by} at the latest, unless other jobs use it");
        } else if let Some(after) = self.retry_after {
            let _ = write!(advice, "\n  retry in {} s", after.as_secs());
        }
        if let Some(id) = self.job_id {
            let _ = write!(advice, "\n  job {id}");
        }
        if !self.request.is_empty() {
            let _ = write!(advice, "\n  request {}", printable(&self.request));
        }
        advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, retry_after: Option<u64>) -> Trouble {
        let retry_after = retry_after.map(Duration::from_secs);
        Trouble::Problem(Box::new(Told::read(status, br#"{"title":"t"}"#, retry_after).unwrap()))
    }

    #[test]
    fn what_time_may_heal_is_repeated_and_a_refusal_is_not() {
        for (trouble, again) in [
            (told(503, Some(1)), true),
            (told(503, None), true),
            (told(502, None), true),
            (told(408, None), true),
            (told(409, Some(1)), true),
            (told(409, None), false),
            (told(429, Some(1)), false),
            (told(422, None), false),
            (told(500, None), false),
        ] {
            assert_eq!(trouble.is_worth_repeating(), again, "{trouble:?}");
        }
    }

    #[test]
    fn a_problem_of_a_newer_server_is_told_all_the_same() {
        let body =
            br#"{"title":"Refused","detail":"no","instance":"7","violations":[{"code":"not-known-yet"}]}"#;
        let told = Told::read(422, body, None).unwrap();
        assert_eq!(told.to_string(), "Refused (422): no\n  request 7");
        for bad in [&b""[..], b"{}", b"[]", b"<html>", b"{\"title\":1}", &b"[".repeat(100_000)] {
            assert!(Told::read(500, bad, None).is_none());
        }
    }
}
