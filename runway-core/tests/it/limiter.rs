//! The rate limiter never exceeds its limit in any time window, and its `retry_at` is exact.

use proptest::prelude::*;
use runway_core::rate::{RateLimit, RateLimiter};
use runway_core::units::Timestamp;
use runway_core::{HashSeed, Tenant};

fn limit(per_minute: u32, burst: u32) -> RateLimit {
    RateLimit { per_minute: per_minute.try_into().unwrap(), burst: burst.try_into().unwrap() }
}

/// The maximum number of requests in a time window: the burst plus the refilled tokens.
fn max_allowed(limit: RateLimit, nanos: u64) -> u128 {
    let refilled = u128::from(nanos) * u128::from(limit.per_minute.get()) / 60_000_000_000;
    u128::from(limit.burst.get()) + refilled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_window_exceeds_burst_and_rate(
        per_minute in 1u32..10_000,
        burst in 1u32..20,
        server_burst in 1u32..40,
        gaps in prop::collection::vec((0u64..3_000_000_000, 0usize..3, any::<bool>()), 1..200),
    ) {
        let (own, server) = (limit(per_minute, burst), limit(per_minute.saturating_mul(2), server_burst));
        let tenants: Vec<Tenant> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let mut limiter = RateLimiter::new(HashSeed(3, 4));
        let mut now = 1_700_000_000_000_000_000u64;
        let mut passed: Vec<(u64, usize)> = Vec::new();
        for (gap, tenant, wait) in gaps {
            now += if wait { gap } else { gap % 1000 };
            let at = Timestamp::from_nanos(now);
            match limiter.try_acquire(&tenants[tenant], server, own, at) {
                Ok(()) => passed.push((now, tenant)),
                Err(refused) => {
                    // `retry_at` is exact: the request is refused one nanosecond earlier, and passes at this
                    // time.
                    let mut other = limiter.clone();
                    prop_assert!(refused.retry_at > at);
                    let before = Timestamp::from_nanos(refused.retry_at.nanos() - 1);
                    prop_assert!(other.try_acquire(&tenants[tenant], server, own, before).is_err());
                    prop_assert!(other.try_acquire(&tenants[tenant], server, own, refused.retry_at).is_ok());
                }
            }
        }
        for (i, (start, _)) in passed.iter().enumerate() {
            let mut counts = [0u128; 3];
            for (n, (end, tenant)) in passed[i..].iter().enumerate() {
                counts[*tenant] += 1;
                prop_assert!(counts[*tenant] <= max_allowed(own, end - start));
                prop_assert!((n as u128) < max_allowed(server, end - start));
            }
        }
    }

    #[test]
    fn waiting_until_retry_at_uses_the_full_rate(per_minute in 1u32..100_000, burst in 1u32..50, rounds in 1u32..50) {
        // A client that waits until `retry_at` is never refused, and it can use the full rate.
        let own = limit(per_minute, burst);
        let server = limit(1_000_000, 1_000_000);
        let tenant: Tenant = "t".parse().unwrap();
        let mut limiter = RateLimiter::new(HashSeed::default());
        let start = Timestamp::from_seconds(1_700_000_000);
        let mut now = start;
        let mut passed = 0u128;
        for _ in 0..(burst + rounds) {
            if let Err(refused) = limiter.try_acquire(&tenant, server, own, now) {
                now = refused.retry_at;
                prop_assert!(limiter.try_acquire(&tenant, server, own, now).is_ok());
            }
            passed += 1;
        }
        prop_assert_eq!(passed, max_allowed(own, now.nanos_since(start)));
    }

    #[test]
    fn changed_limit_keeps_used_tokens(old in 1u32..1000, new in 1u32..1000) {
        let tenant: Tenant = "t".parse().unwrap();
        let server = limit(1_000_000, 1_000_000);
        let mut limiter = RateLimiter::new(HashSeed::default());
        let now = Timestamp::from_seconds(1_700_000_000);
        limiter.try_acquire(&tenant, server, limit(old, 1), now).unwrap();
        // The first request used the only token. The token is available again after one interval of the old
        // rate, whatever the new rate is. The conversion of this time to the new rate is exact to 1 ns.
        let refused = limiter.try_acquire(&tenant, server, limit(new, 1), now).unwrap_err();
        let interval = 60_000_000_000u64.div_ceil(u64::from(old));
        let waited = refused.retry_at.nanos_since(now);
        prop_assert!(waited.abs_diff(interval) <= 1, "{waited} {interval}");
    }
}
