//! The limits of requests, which the flags set.

use std::time::Duration;

/// Limits on the size, duration and number of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The most bytes of a body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long an answer may take to begin.
    pub request_timeout: Duration,
    /// The most requests at a time, probes and followers of logs aside.
    pub requests: usize,
    /// The most submissions of one tenant at a time.
    pub tenant_submissions: usize,
    /// The most readers of logs at a time.
    pub log_readers: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            requests: 512,
            tenant_submissions: 32,
            log_readers: 256,
        }
    }
}
