//! A blocking HTTP client for the server, with one method for each request.
//!
//! `config` sets up connections and TLS, `submission` encodes a job, `framed_log` decodes the output of a
//! job, and `error` has the errors. The client neither prints nor retries.

mod config;
mod error;
mod framed_log;
mod submission;

pub(crate) use config::ClientConfigError;
pub(crate) use error::{ClientError, ProblemBody};
pub(crate) use framed_log::{FrameError, FramedLog, LogFrame};
pub(crate) use submission::SubmitBody;

use crate::arguments::{ServerArgs, ServerUrl};
use runway_api::{IDEMPOTENCY_KEY_HEADER, JSON, JobList, JobView, LOG_RECORDS, TENANT_HEADER};
use runway_core::status::Phase;
use runway_core::{ErrorChain, JobId, Tenant};
use serde::de::DeserializeOwned;
use std::io::{BufReader, Read};
use std::time::Duration;
use ureq::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

/// Time limit for a response. The server handles a request for at most 30 s by default.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(40);

/// Maximum time without a byte of a job's output. After this time, the read fails and a command that follows
/// the job reconnects, because a lost connection looks like a job that prints nothing.
const OUTPUT_IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Maximum size of a response body. A page of 1,000 jobs has about 1 MB.
const MAX_RESPONSE_BYTES: u64 = 32 * 1024 * 1024;

/// Number of jobs requested for one page of a list.
const PAGE_SIZE: u16 = 1000;

/// Maximum number of pages. A longer list is treated as endless.
const MAX_PAGES: usize = 1000;

/// A client for one server.
pub(crate) struct Client {
    agent: Agent,
    server: ServerUrl,
    tenant: Option<Tenant>,
}

/// A submission: the encoded job, its idempotency key, and the time limit for the response.
pub(crate) struct SubmitRequest<'a> {
    pub body: &'a str,
    pub idempotency_key: &'a str,
    pub timeout: Option<Duration>,
}

/// A list of jobs.
pub(crate) type Jobs = Vec<JobView>;

impl Client {
    /// Creates a client from the options of a command.
    ///
    /// # Errors
    /// [`ClientConfigError`] if no server is named, or a certificate cannot be used.
    pub(crate) fn new(options: &ServerArgs) -> Result<Self, ClientConfigError> {
        let server = options.server.clone().ok_or(ClientConfigError::NoServer)?;
        Ok(Self { agent: config::create_agent(options, &server)?, server, tenant: options.tenant.clone() })
    }

    /// Submits a job. Returns the job, and `false` if an earlier request with the same key has created it.
    pub(crate) fn submit(&self, submission: &SubmitRequest<'_>) -> Result<(bool, JobView), ClientError> {
        let url = self.server.join("/v1/jobs");
        let request = self
            .build_request(Method::POST, &url)
            .header(CONTENT_TYPE, JSON)
            .header(IDEMPOTENCY_KEY_HEADER, submission.idempotency_key);
        let request = request.body(submission.body).map_err(|error| self.unexpected(error.to_string()))?;
        let timeout = submission
            .timeout
            .map_or(RESPONSE_TIMEOUT, |within| within.clamp(Duration::from_secs(1), RESPONSE_TIMEOUT));
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        let response = self.read_response(self.agent.run(request))?;
        Ok((response.status == 201, self.decode(&response)?))
    }

    /// Returns a job.
    pub(crate) fn job(&self, id: JobId) -> Result<JobView, ClientError> {
        self.get(&format!("/v1/jobs/{id}"))
    }

    /// Cancels a job.
    pub(crate) fn cancel(&self, id: JobId) -> Result<JobView, ClientError> {
        let response = self.send(Method::DELETE, &format!("/v1/jobs/{id}"))?;
        self.decode(&response)
    }

    /// Sends a GET request and decodes the JSON response.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path)?;
        self.decode(&response)
    }

    /// Returns all jobs, newest first, optionally of one phase.
    pub(crate) fn jobs(&self, phase: Option<Phase>) -> Result<Jobs, ClientError> {
        let phase = phase.map(|phase| format!("&phase={phase}")).unwrap_or_default();
        let (mut jobs, mut after) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let page: JobList = self.get(&format!("/v1/jobs?limit={PAGE_SIZE}{phase}{after}"))?;
            jobs.extend(page.items);
            let Some(next) = page.next else { return Ok(jobs) };
            if !next.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(self.unexpected("the list has an invalid `continue` token".to_owned()));
            }
            after = format!("&continue={next}");
        }
        Err(self.unexpected("the list of jobs does not end".to_owned()))
    }

    /// Returns a reader of a job's output: raw if `follow` is false, in the framed log format if it is true.
    pub(crate) fn job_output(
        &self,
        id: JobId,
        tail: Option<u32>,
        follow: bool,
    ) -> Result<BufReader<impl Read + use<>>, ClientError> {
        let tail = tail.map(|lines| format!("&tail={lines}")).unwrap_or_default();
        let url = self.server.join(&format!("/v1/jobs/{id}/logs?follow={follow}&framed={follow}{tail}"));
        let request = self.build_request(Method::GET, &url).body(());
        let request = request.map_err(|error| self.unexpected(error.to_string()))?;
        let request =
            self.agent.configure_request(request).timeout_per_read(Some(OUTPUT_IDLE_TIMEOUT)).build();
        let response = self.agent.run(request).map_err(|error| self.no_response(&error))?;
        if response.status() != 200 {
            return match self.read_response(Ok(response)) {
                Ok(_) => Err(self.unexpected("the status is not 200".to_owned())),
                Err(error) => Err(error),
            };
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if follow && content_type != Some(LOG_RECORDS) {
            return Err(self.unexpected("the output is not in the framed format".to_owned()));
        }
        Ok(BufReader::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    /// Returns the error for a response body that could not be read completely.
    pub(crate) fn disconnected(&self, error: &std::io::Error) -> ClientError {
        let cause = format!("the connection closed early: {error}");
        ClientError::NoResponse { url: self.server.to_string(), cause }
    }

    pub(crate) fn unexpected(&self, detail: String) -> ClientError {
        ClientError::UnexpectedResponse { url: self.server.to_string(), what: detail }
    }

    fn build_request(&self, method: Method, url: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(url).header(ACCEPT, "*/*");
        match &self.tenant {
            Some(tenant) => request.header(TENANT_HEADER, tenant.as_str()),
            None => request,
        }
    }

    fn send(&self, method: Method, path: &str) -> Result<RawResponse, ClientError> {
        let request = self.build_request(method, &self.server.join(path)).body(());
        let request = request.map_err(|error| self.unexpected(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(RESPONSE_TIMEOUT)).build();
        self.read_response(self.agent.run(request))
    }

    /// Reads a response completely. Returns an error if its status is not a success.
    fn read_response(
        &self,
        response: Result<Response<Body>, ureq::Error>,
    ) -> Result<RawResponse, ClientError> {
        let mut response = response.map_err(|error| self.no_response(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec();
        let body = body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => self.unexpected("the response is too large".to_owned()),
            error => self.no_response(&error),
        })?;
        match status {
            200..=299 => Ok(RawResponse { status, body }),
            _ => Err(match ProblemBody::parse(status, &body, retry_after) {
                Some(problem) => ClientError::Problem(Box::new(problem)),
                // A proxy sends such a response if the server behind it is unavailable. A retry may succeed.
                None if matches!(status, 502..=504) => {
                    let cause = format!("received {status} without an explanation, probably from a proxy");
                    ClientError::NoResponse { url: self.server.to_string(), cause }
                }
                None => self.unexpected(format!("received {status} without an explanation")),
            }),
        }
    }

    fn decode<T: DeserializeOwned>(&self, response: &RawResponse) -> Result<T, ClientError> {
        serde_json::from_slice(&response.body)
            .map_err(|error| self.unexpected(format!("cannot decode the response ({error})")))
    }

    fn no_response(&self, error: &ureq::Error) -> ClientError {
        let url = self.server.to_string();
        let cause = match error {
            // Print the inner error, because `ureq` adds the prefix `io: `.
            ureq::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        if is_permanent(error) {
            ClientError::ConnectionFailed { url, cause }
        } else {
            ClientError::NoResponse { url, cause }
        }
    }
}

struct RawResponse {
    status: u16,
    body: Vec<u8>,
}

/// Returns whether a retry would fail in the same way: TLS cannot be negotiated, or the request is invalid.
fn is_permanent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error
            .get_ref()
            .is_some_and(|error| ErrorChain::new(error).any(|cause| cause.is::<rustls::Error>())),
        ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => false,
        // A server that shuts down can send a malformed response. A retry may succeed after its restart.
        ureq::Error::Protocol(_) => false,
        _ => true,
    }
}
