//! A blocking HTTP client for the server, with one method for each request.
//!
//! `config` sets up connections and TLS, `submission` encodes a job, `framed_log` decodes the output of a
//! job, and `error` has the errors. The client neither prints nor retries.

mod config;
mod marked;
mod submission;
mod trouble;

pub(crate) use config::ClientConfigError;
pub(crate) use marked::{Marked, MarkedError, Piece};
pub(crate) use submission::Prepared;
pub(crate) use trouble::{Told, Trouble};

use crate::arguments::{Server, ServerUrl};
use runway_api::{JSON, JobList, JobView, KEY_HEADER, LOG, TENANT_HEADER};
use runway_core::status::Phase;
use runway_core::{ErrorChain, JobId, Tenant};
use serde::de::DeserializeOwned;
use std::io::{BufReader, Read};
use std::time::Duration;
use ureq::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

/// Time limit for a response. The server limits itself to 30 s.
const ANSWER: Duration = Duration::from_secs(40);

/// Maximum pause in a job's output. After it, the client reconnects, because a lost connection is also
/// silent.
const SILENCE: Duration = Duration::from_secs(600);

/// Maximum size of a response body. A page of 1,000 jobs has about 1 MB.
const LONGEST_ANSWER: u64 = 32 * 1024 * 1024;

/// Number of jobs requested for one page of a list.
const PAGE: u16 = 1000;

/// Maximum number of pages. A longer list is treated as endless.
const PAGES: usize = 1000;

/// A client for one server.
pub(crate) struct Client {
    agent: Agent,
    server: ServerUrl,
    tenant: Option<Tenant>,
}

/// A submission: the encoded job, its idempotency key, and the time limit for the response.
pub(crate) struct Sending<'a> {
    pub body: &'a str,
    pub key: &'a str,
    pub within: Option<Duration>,
}

/// A list of jobs.
pub(crate) type Jobs = Vec<JobView>;

impl Client {
    /// Creates a client from the options of a command.
    ///
    /// # Errors
    /// [`ClientConfigError`] if no server is named, or a certificate cannot be used.
    pub(crate) fn new(options: &Server) -> Result<Self, ClientConfigError> {
        let server = options.server.clone().ok_or(ClientConfigError::NoServer)?;
        Ok(Self { agent: config::agent(options, &server)?, server, tenant: options.tenant.clone() })
    }

    /// Submits a job. Returns whether the server created it, and the job.
    pub(crate) fn submit(&self, sending: &Sending<'_>) -> Result<(bool, JobView), Trouble> {
        let url = self.server.at("/v1/jobs");
        let request =
            self.request(Method::POST, &url).header(CONTENT_TYPE, JSON).header(KEY_HEADER, sending.key);
        let request = request.body(sending.body).map_err(|error| self.foreign(error.to_string()))?;
        let within = sending.within.map_or(ANSWER, |within| within.clamp(Duration::from_secs(1), ANSWER));
        let request = self.agent.configure_request(request).timeout_global(Some(within)).build();
        let answer = self.read(self.agent.run(request))?;
        Ok((answer.status == 201, self.understand(&answer)?))
    }

    /// Returns a job.
    pub(crate) fn job(&self, id: JobId) -> Result<JobView, Trouble> {
        self.get(&format!("/v1/jobs/{id}"))
    }

    /// Cancels a job.
    pub(crate) fn cancel(&self, id: JobId) -> Result<JobView, Trouble> {
        let answer = self.call(Method::DELETE, &format!("/v1/jobs/{id}"))?;
        self.understand(&answer)
    }

    /// Sends a GET request and decodes the JSON response.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        let answer = self.call(Method::GET, path)?;
        self.understand(&answer)
    }

    /// Returns all jobs, newest first, optionally of one phase.
    pub(crate) fn jobs(&self, phase: Option<Phase>) -> Result<Jobs, Trouble> {
        let phase = phase.map(|phase| format!("&phase={phase}")).unwrap_or_default();
        let (mut jobs, mut after) = (Vec::new(), String::new());
        for _ in 0..PAGES {
            let page: JobList = self.get(&format!("/v1/jobs?limit={PAGE}{phase}{after}"))?;
            jobs.extend(page.items);
            let Some(next) = page.next else { return Ok(jobs) };
            if !next.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(self.foreign("the list has an invalid `continue` token".to_owned()));
            }
            after = format!("&continue={next}");
        }
        Err(self.foreign("the list of jobs does not end".to_owned()))
    }

    /// Returns a reader of a job's output: raw if `follow` is false, in the framed log format if it is true.
    pub(crate) fn output(
        &self,
        id: JobId,
        tail: Option<u32>,
        is_followed: bool,
    ) -> Result<BufReader<impl Read + use<>>, Trouble> {
        let tail = tail.map(|lines| format!("&tail={lines}")).unwrap_or_default();
        let url =
            self.server.at(&format!("/v1/jobs/{id}/logs?follow={is_followed}&marked={is_followed}{tail}"));
        let request = self.request(Method::GET, &url).body(());
        let request = request.map_err(|error| self.foreign(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(SILENCE)).build();
        let answer = self.agent.run(request).map_err(|error| self.no_answer(&error))?;
        if answer.status() != 200 {
            return match self.read(Ok(answer)) {
                Ok(_) => Err(self.foreign("the status is not 200".to_owned())),
                Err(trouble) => Err(trouble),
            };
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if is_followed && kind != Some(LOG) {
            return Err(self.foreign("the output is not in the framed format".to_owned()));
        }
        Ok(BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    /// Returns the error for a response that ended early.
    pub(crate) fn broken_off(&self, error: &std::io::Error) -> Trouble {
        let cause = format!("the connection closed early: {error}");
        Trouble::NoAnswer { url: self.server.to_string(), cause }
    }

    pub(crate) fn foreign(&self, what: String) -> Trouble {
        Trouble::Foreign { url: self.server.to_string(), what }
    }

    fn request(&self, method: Method, url: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(url).header(ACCEPT, "*/*");
        match &self.tenant {
            Some(tenant) => request.header(TENANT_HEADER, tenant.as_str()),
            None => request,
        }
    }

    fn call(&self, method: Method, path: &str) -> Result<Answer, Trouble> {
        let request = self.request(method, &self.server.at(path)).body(());
        let request = request.map_err(|error| self.foreign(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(ANSWER)).build();
        self.read(self.agent.run(request))
    }

    /// Reads a response completely. Returns an error if its status is not a success.
    fn read(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Answer, Trouble> {
        let mut answer = answer.map_err(|error| self.no_answer(&error))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let body = body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => self.foreign("the response is too large".to_owned()),
            error => self.no_answer(&error),
        })?;
        match status {
            200..=299 => Ok(Answer { status, body }),
            _ => Err(match Told::read(status, &body, retry_after) {
                Some(told) => Trouble::Problem(Box::new(told)),
                // Usually a proxy sent this, and the server behind it may come back.
                None if matches!(status, 502..=504) => {
                    let cause = format!("received {status} without an explanation, probably from a proxy");
                    Trouble::NoAnswer { url: self.server.to_string(), cause }
                }
                None => self.foreign(format!("received {status} without an explanation")),
            }),
        }
    }

    fn understand<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Trouble> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.foreign(format!("cannot decode the response ({error})")))
    }

    fn no_answer(&self, error: &ureq::Error) -> Trouble {
        let url = self.server.to_string();
        let cause = match error {
            // Omit the prefix `io: ` of `ureq`.
            ureq::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        if is_final(error) { Trouble::NoConnection { url, cause } } else { Trouble::NoAnswer { url, cause } }
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// Returns whether a retry would fail in the same way: TLS cannot be negotiated, or the request is invalid.
fn is_final(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error
            .get_ref()
            .is_some_and(|error| ErrorChain::new(error).any(|cause| cause.is::<rustls::Error>())),
        ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => false,
        // A server that shuts down can send a malformed response.
        ureq::Error::Protocol(_) => false,
        _ => true,
    }
}
