//! `RateLimiter::try_acquire` with 10,000 tenants, compared with the keyed limiter of `governor`, which uses
//! the same algorithm.
//!
//! Runway's limiter takes the time as an argument, and governor's limiter reads a clock. So there are two
//! pairs of benchmarks. In the first pair, a clock is read for each request, as in a server. In the second
//! pair, no clock is read. For each request, Runway's limiter also takes a token from the bucket of all
//! tenants.

use crate::peers::random::Random;
use crate::timing::{BenchResult, Benchmark};
use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter as Governor};
use runway_core::rate::{RateLimit, RateLimiter};
use runway_core::units::Timestamp;
use runway_core::{HashSeed, Tenant};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{SystemTime, UNIX_EPOCH};

const TENANTS: usize = 10_000;

/// One request per second and a burst that no run uses up. The buckets stay in use, and no request is
/// refused.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
const BURST: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");

/// Runway's limiter with a simulated time, which advances by 1 µs per request.
pub(crate) fn runway(operations: usize) -> BenchResult<Benchmark> {
    let mut now = Timestamp::from_seconds(1_795_248_000);
    acquisitions(operations, move || {
        now = now.saturating_add_nanos(1_000);
        now
    })
}

/// Runway's limiter, with a clock read for each request.
pub(crate) fn runway_with_clock(operations: usize) -> BenchResult<Benchmark> {
    acquisitions(operations, || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(since.as_nanos() as u64)
    })
}

fn acquisitions(operations: usize, mut now: impl FnMut() -> Timestamp + 'static) -> BenchResult<Benchmark> {
    let limit = RateLimit { per_minute: PER_MINUTE, burst: BURST };
    let server = RateLimit { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    let mut limiter = RateLimiter::new(HashSeed(0x5eed, 0xfeed));
    let tenants = tenants().iter().map(|tenant| tenant.parse()).collect::<Result<Vec<Tenant>, _>>()?;
    Ok(benchmark(tenants, operations, move |tenant| {
        limiter.try_acquire(tenant, server, limit, now()).is_ok()
    }))
}

/// Governor in its usual configuration: the default store (`DashMap`) and the default clock (`quanta`).
pub(crate) fn governor_with_clock(operations: usize) -> Benchmark {
    let limiter = Governor::keyed(Quota::per_minute(PER_MINUTE).allow_burst(BURST));
    benchmark(tenants(), operations, move |tenant| limiter.check_key(tenant).is_ok())
}

/// Governor in its fastest configuration: a `HashMap` behind one lock, and a clock that does not advance.
pub(crate) fn governor(operations: usize) -> Benchmark {
    let quota = Quota::per_minute(PER_MINUTE).allow_burst(BURST);
    let limiter = Governor::hashmap_with_clock(quota, FakeRelativeClock::default());
    benchmark(tenants(), operations, move |tenant| limiter.check_key(tenant).is_ok())
}

/// Returns the tenants. Both limiters receive the same names in the same order.
fn tenants() -> Vec<String> {
    let mut tenants: Vec<_> = (0..TENANTS).map(|i| format!("tenant-{i:05}")).collect();
    Random(2).shuffle(&mut tenants);
    tenants
}

fn benchmark<T: 'static>(
    tenants: Vec<T>,
    operations: usize,
    mut allows: impl FnMut(&T) -> bool + 'static,
) -> Benchmark {
    Benchmark::new(move |samples| {
        let allowed = samples.time(operations, || {
            tenants.iter().cycle().take(operations).filter(|tenant| allows(black_box(tenant))).count()
        });
        assert_eq!(allowed, operations, "no request is refused");
        Ok(())
    })
}
