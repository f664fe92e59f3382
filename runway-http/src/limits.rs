//! Limits on requests. The command-line flags set them.

use std::time::Duration;

/// Limits on the size, duration and number of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Maximum size of a request body in bytes.
    pub max_body_bytes: usize,
    /// Time within which a request body must arrive.
    pub body_timeout: Duration,
    /// Time within which a response must start.
    pub request_timeout: Duration,
    /// Maximum number of concurrent requests. Probes, `/metrics` and open log streams do not count.
    pub max_requests: usize,
    /// Maximum number of concurrent submissions per tenant.
    pub max_tenant_submissions: usize,
    /// Maximum number of concurrent log readers, including browsers that show the overview page.
    pub max_log_readers: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 256 * 1024,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_requests: 512,
            max_tenant_submissions: 32,
            max_log_readers: 256,
        }
    }
}
