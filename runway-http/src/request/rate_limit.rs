//! The headers `RateLimit-Policy` and `RateLimit` (the IETF draft `draft-ietf-httpapi-ratelimit-headers-11`).
//!
//! `q` is the burst, and `w` is the number of seconds in which the whole burst refills. `r` is the number of
//! submissions that are currently permitted, and `t` is the number of seconds until one more is permitted. A
//! full burst has no `t`.

use axum::http::{HeaderName, HeaderValue};
use runway_control::TenantUsage;
use runway_control::service::SubmissionRefusal;
use runway_core::rate::RateLimit;
use runway_core::units::Timestamp;
use runway_core::{Code, Policy};

/// The policy path of the rate limit of all tenants together.
const SERVER_LIMIT_PATH: &str = "capacity.rate_limit";

/// A used-up rate limit of all tenants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExceededServerLimit {
    limit: RateLimit,
    /// Seconds until the next submission is permitted.
    retry_after: u64,
}

impl ExceededServerLimit {
    /// Returns the limit of all tenants together if it is the reason for a refusal.
    pub(crate) fn from_refusal(refusal: &SubmissionRefusal, policy: &Policy) -> Option<Self> {
        let violation = refusal.violations.first()?;
        let is_server_limit =
            violation.code == Code::RateLimited && violation.policy.as_deref() == Some(SERVER_LIMIT_PATH);
        let retry_after = refusal.retry_after.filter(|_| is_server_limit)?.as_secs();
        Some(Self { limit: policy.capacity().rate_limit, retry_after })
    }
}

/// Returns the whole seconds from `now` to `then`, rounded up, or 0 if `then` has passed.
pub(crate) fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    then.nanos_since(now).div_ceil(1_000_000_000)
}

/// Returns the rate limit headers for a tenant. They include the limit of all tenants together if it refused
/// the submission.
pub(crate) fn rate_limit_headers(
    usage: &TenantUsage,
    exceeded: Option<ExceededServerLimit>,
    now: Timestamp,
) -> Vec<(HeaderName, HeaderValue)> {
    let (limit, remaining) = (usage.rate_limit, usage.rate_remaining);
    let mut policies = policy_item("tenant", limit);
    let mut limits = format!("\"tenant\";r={}", remaining.requests);
    if remaining.requests < limit.burst.get() {
        limits += &format!(";t={}", seconds_until(remaining.next_at, now));
    }
    if let Some(ExceededServerLimit { limit, retry_after }) = exceeded {
        policies = format!("{policies}, {}", policy_item("server", limit));
        limits += &format!(", \"server\";r=0;t={retry_after}");
    }
    let header = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    };
    [("ratelimit-policy", policies), ("ratelimit", limits)].into_iter().filter_map(header).collect()
}

fn policy_item(name: &str, limit: RateLimit) -> String {
    let burst = limit.burst.get();
    let window = (u64::from(burst) * 60).div_ceil(u64::from(limit.per_minute.get()));
    format!("\"{name}\";q={burst};w={window}")
}
