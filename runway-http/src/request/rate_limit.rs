//! The headers `RateLimit-Policy` and `RateLimit` (the IETF draft `draft-ietf-httpapi-ratelimit-headers-11`).
//!
//! `q` is the burst, and `w` is the number of seconds in which the whole burst refills. `r` is the number of
//! submissions that are currently permitted, and `t` is the number of seconds until the burst is full again.

use axum::http::{HeaderName, HeaderValue};
use runway_control::TenantUsage;
use runway_core::units::Timestamp;

/// Returns the whole seconds from `now` to `then`, rounded up, or 0 if `then` has passed.
pub(crate) fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    then.nanos_since(now).div_ceil(1_000_000_000)
}

/// Returns the rate limit headers for a tenant.
pub(crate) fn rate_limit_headers(usage: &TenantUsage, now: Timestamp) -> Vec<(HeaderName, HeaderValue)> {
    let (limit, remaining) = (usage.rate_limit, usage.rate_remaining);
    let burst = limit.burst.get();
    let window = (u64::from(burst) * 60).div_ceil(u64::from(limit.per_minute.get()));
    let reset = seconds_until(remaining.full_at, now);
    let fields = [
        ("ratelimit-policy", format!("\"tenant\";q={burst};w={window}")),
        ("ratelimit", format!("\"tenant\";r={};t={reset}", remaining.requests)),
    ];
    let header = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    };
    fields.into_iter().filter_map(header).collect()
}
