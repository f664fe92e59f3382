//! The headers `RateLimit-Policy` and `RateLimit` (the IETF draft `draft-ietf-httpapi-ratelimit-headers-11`).
//!
//! `q` is the burst, `w` the seconds in which it comes back, `r` what is left of it, and `t` the seconds until all of it is
//! there again.

use axum::http::{HeaderName, HeaderValue};
use runway_control::TenantUsage;
use runway_core::units::Timestamp;

/// Whole seconds from now until then, rounded up.
pub(crate) fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    then.nanos_since(now).div_ceil(1_000_000_000)
}

/// What is left of a tenant's rate, as headers.
pub(crate) fn headers(usage: &TenantUsage, now: Timestamp) -> Vec<(HeaderName, HeaderValue)> {
    let (limit, left) = (usage.rate_limit, usage.rate_left);
    let burst = limit.burst.get();
    let window = (u64::from(burst) * 60).div_ceil(u64::from(limit.per_minute.get()));
    let reset = seconds_until(left.full_at, now);
    let fields = [
        ("ratelimit-policy", format!("\"tenant\";q={burst};w={window}")),
        ("ratelimit", format!("\"tenant\";r={};t={reset}", left.requests)),
    ];
    let header = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    };
    fields.into_iter().filter_map(header).collect()
}
