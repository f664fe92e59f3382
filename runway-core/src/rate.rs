//! Rate limits per tenant and for the whole server, as an exact GCRA.
//!
//! The generic cell rate algorithm (ITU-T I.371, appendix; "virtual scheduling") keeps one time for each
//! bucket: the theoretical arrival time. The tokens of all intervals before this time are used; an interval
//! is the time in which one token becomes available. A request is allowed if the theoretical arrival time
//! lies at most `burst - 1` intervals after the current time. Times are counted in ticks of `1/per_minute`
//! nanoseconds. The interval is then a whole number of ticks for every rate, so the retry time is exact.

use crate::hash::{HashSeed, KeyedMap};
use crate::name::Tenant;
use crate::units::Timestamp;
use std::num::NonZeroU32;

/// A rate limit: a sustained rate and a burst.
///
/// With 60 per minute and a burst of 10, ten requests are allowed at the same time, and then one each second.
/// In any window of time `t` at most `burst + t × per_minute / 60 s` requests are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RateLimit {
    /// Sustained requests per minute.
    pub per_minute: NonZeroU32,
    /// Maximum number of requests at the same time.
    pub burst: NonZeroU32,
}

const fn non_zero(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

/// Ticks per token: a minute in nanoseconds. A tick is `1/per_minute` nanoseconds.
const TICKS_PER_TOKEN: u128 = 60_000_000_000;

impl RateLimit {
    /// Default limit of a tenant: 60 per minute with a burst of 10.
    pub const DEFAULT: Self = Self { per_minute: non_zero(60), burst: non_zero(10) };

    /// Default limit of the whole server: 6,000 per minute with a burst of 500.
    pub const SERVER_DEFAULT: Self = Self { per_minute: non_zero(6000), burst: non_zero(500) };

    fn ticks(self, now: Timestamp) -> u128 {
        u128::from(now.nanos()) * u128::from(self.per_minute.get())
    }

    /// Returns the time up to which the bucket's tokens are used, in ticks of this limit, but at least `now`.
    ///
    /// A small step of the clock backwards adds no tokens. If a bucket is used further ahead than one burst
    /// plus one minute, the clock was set back. Such a bucket counts as unused. Otherwise, requests would be
    /// refused until the clock has caught up.
    fn used_up_to(self, bucket: Bucket, now: Timestamp) -> u128 {
        let now = self.ticks(now);
        let ticks = self.to_own_ticks(bucket);
        let max_used_up_to = now
            + TICKS_PER_TOKEN * u128::from(self.burst.get())
            + TICKS_PER_TOKEN * u128::from(self.per_minute.get());
        if ticks > max_used_up_to { now } else { ticks.max(now) }
    }

    /// Takes a token from the bucket. Returns the new bucket, or the earliest time at which a token is
    /// available.
    fn check(self, bucket: Bucket, now: Timestamp) -> Result<Bucket, Timestamp> {
        let used_up_to = self.used_up_to(bucket, now);
        // Used tokens may reach this far ahead of `now`: one burst without its last token.
        let tolerance = TICKS_PER_TOKEN * u128::from(self.burst.get() - 1);
        let allowed_from = used_up_to.saturating_sub(tolerance);
        if allowed_from <= self.ticks(now) {
            return Ok(Bucket { ticks: used_up_to + TICKS_PER_TOKEN, per_minute: self.per_minute.get() });
        }
        let nanos = allowed_from.div_ceil(u128::from(self.per_minute.get()));
        Err(Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Converts a bucket that was used under another limit. At most the burst of this limit stays used.
    fn convert(self, bucket: Bucket, now: Timestamp) -> Bucket {
        let max_ticks = self.ticks(now) + TICKS_PER_TOKEN * u128::from(self.burst.get());
        Bucket { ticks: self.to_own_ticks(bucket).min(max_ticks), per_minute: self.per_minute.get() }
    }

    /// Returns the time up to which the bucket's tokens are used, in ticks of this limit.
    fn to_own_ticks(self, bucket: Bucket) -> u128 {
        let own_per_minute = u128::from(self.per_minute.get());
        match u128::from(bucket.per_minute) {
            0 => 0,
            old_per_minute if old_per_minute == own_per_minute => bucket.ticks,
            // The policy has changed. Convert the same time to the ticks of this limit.
            old_per_minute => {
                (bucket.ticks / old_per_minute) * own_per_minute
                    + ((bucket.ticks % old_per_minute) * own_per_minute).div_ceil(old_per_minute)
            }
        }
    }

    fn remaining(self, bucket: Bucket, now: Timestamp) -> RateRemaining {
        let used_up_to = self.used_up_to(bucket, now);
        let used = (used_up_to - self.ticks(now)).div_ceil(TICKS_PER_TOKEN);
        // After a small step of the clock backwards, more tokens than the burst can be in use.
        let used_after_next = used.min(u128::from(self.burst.get())).saturating_sub(1);
        let to_time = |ticks: u128| {
            let nanos = ticks.div_ceil(u128::from(self.per_minute.get()));
            Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        RateRemaining {
            requests: self.burst.get().saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)),
            next_at: to_time(used_up_to - TICKS_PER_TOKEN * used_after_next),
            full_at: to_time(used_up_to),
        }
    }
}

/// The remaining requests of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRemaining {
    /// Number of requests that are allowed at this time.
    pub requests: u32,
    /// The time at which one more request is allowed than now. The current time if the burst is full.
    pub next_at: Timestamp,
    /// The time at which the whole burst is available again.
    pub full_at: Timestamp,
}

/// The time up to which tokens are used. The default is an unused bucket, which is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "BucketRecord", from = "BucketRecord")]
pub struct Bucket {
    /// The time since the epoch, in ticks of `1/per_minute` nanoseconds.
    ticks: u128,
    per_minute: u32,
}

/// The serialized form of a bucket: the time in whole nanoseconds, and the remaining ticks below a
/// nanosecond.
#[derive(serde::Serialize, serde::Deserialize)]
struct BucketRecord {
    used_up_to: Timestamp,
    remainder: u32,
    per_minute: u32,
}

impl Bucket {
    /// Returns `true` if no token is in use at `now`.
    fn is_full(self, now: Timestamp) -> bool {
        self.ticks <= u128::from(now.nanos()) * u128::from(self.per_minute)
    }
}

impl From<Bucket> for BucketRecord {
    fn from(bucket: Bucket) -> Self {
        let per_minute = u128::from(bucket.per_minute.max(1));
        let nanos = u64::try_from(bucket.ticks / per_minute).unwrap_or(u64::MAX);
        Self {
            used_up_to: Timestamp::from_nanos(nanos),
            remainder: u32::try_from(bucket.ticks % per_minute).unwrap_or(0),
            per_minute: bucket.per_minute,
        }
    }
}

impl From<BucketRecord> for Bucket {
    fn from(record: BucketRecord) -> Self {
        let nanos = u128::from(record.used_up_to.nanos());
        Self {
            ticks: nanos * u128::from(record.per_minute) + u128::from(record.remainder),
            per_minute: record.per_minute,
        }
    }
}

/// The limit that refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateScope {
    /// The limit for all tenants together.
    Server,
    /// The limit of the tenant.
    Tenant,
}

/// A request exceeded a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("too many requests; retry at {retry_at}")]
pub struct RateLimitExceeded {
    /// The limit that refused the request.
    pub scope: RateScope,
    /// The earliest time at which the request is allowed. The time is exact, unless other requests come
    /// first.
    pub retry_at: Timestamp,
}

/// The two buckets that a request takes a token from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Buckets {
    /// The bucket for all tenants together.
    pub server: Bucket,
    /// The bucket of the tenant.
    pub tenant: Bucket,
}

impl Buckets {
    /// Takes a token from both buckets, or from neither.
    ///
    /// # Errors
    /// [`RateLimitExceeded`] if a bucket is empty. If both are empty, the error names the one with the later
    /// retry time.
    pub fn try_acquire(
        self,
        server: RateLimit,
        tenant: RateLimit,
        now: Timestamp,
    ) -> Result<Self, RateLimitExceeded> {
        let refused = |scope, retry_at| Err(RateLimitExceeded { scope, retry_at });
        match (server.check(self.server, now), tenant.check(self.tenant, now)) {
            (Ok(server), Ok(tenant)) => Ok(Self { server, tenant }),
            (Err(server), Err(tenant)) if tenant > server => refused(RateScope::Tenant, tenant),
            (Err(server), _) => refused(RateScope::Server, server),
            (Ok(_), Err(tenant)) => refused(RateScope::Tenant, tenant),
        }
    }
}

/// The rate limiter: one bucket for the whole server, and one for each active tenant.
///
/// From time to time, the limiter removes the tenants whose buckets are full again. The server's limit bounds
/// how many new tenants can appear before that. So memory is bounded even if clients invent tenant names.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    server: Bucket,
    tenants: KeyedMap<Tenant, Bucket>,
    sweep_at: usize,
}

/// The limiter does not remove idle tenants while it stores fewer tenants than this. The scan would cost more
/// than it saves.
const MIN_SWEEP_TENANTS: usize = 1024;

impl RateLimiter {
    /// Returns a limiter with full buckets.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self { server: Bucket::default(), tenants: KeyedMap::with_hasher(seed), sweep_at: MIN_SWEEP_TENANTS }
    }

    /// Returns the bucket of a tenant, and the bucket for all tenants together.
    #[must_use]
    pub fn buckets(&self, tenant: &str) -> Buckets {
        Buckets { server: self.server, tenant: self.tenants.get(tenant).copied().unwrap_or_default() }
    }

    /// Returns the bucket for all tenants together.
    #[must_use]
    pub const fn server_bucket(&self) -> Bucket {
        self.server
    }

    /// Takes a token for a request. A refused request takes none.
    ///
    /// # Errors
    /// [`RateLimitExceeded`] if the bucket of the server or of the tenant is empty.
    ///
    /// ```
    /// use runway_core::{HashSeed, rate::{RateLimit, RateLimiter}, units::Timestamp};
    ///
    /// let mut limiter = RateLimiter::new(HashSeed(1, 2));
    /// let tenant = "search".parse()?;
    /// let limit = RateLimit::DEFAULT; // 60 per minute, burst of 10
    /// let now = Timestamp::from_seconds(1_000);
    /// for _ in 0..10 {
    ///     limiter.try_acquire(&tenant, RateLimit::SERVER_DEFAULT, limit, now)?;
    /// }
    /// let exceeded = limiter.try_acquire(&tenant, RateLimit::SERVER_DEFAULT, limit, now).unwrap_err();
    /// assert_eq!(exceeded.retry_at, Timestamp::from_seconds(1_001));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_acquire(
        &mut self,
        tenant: &Tenant,
        server_limit: RateLimit,
        limit: RateLimit,
        now: Timestamp,
    ) -> Result<(), RateLimitExceeded> {
        let existing = self.tenants.get_mut(tenant.as_str());
        let before =
            Buckets { server: self.server, tenant: existing.as_deref().copied().unwrap_or_default() };
        // Check the server's bucket before inserting the tenant. When the server's bucket is empty, new
        // tenant names then use no memory.
        let after = before.try_acquire(server_limit, limit, now)?;
        match existing {
            Some(bucket) => *bucket = after.tenant,
            None => self.insert(tenant.clone(), after.tenant, now),
        }
        self.server = after.server;
        Ok(())
    }

    /// Stores the buckets after a request. Without a tenant, only the server's bucket changes.
    pub(crate) fn commit(&mut self, tenant: Option<&Tenant>, after: Buckets, now: Timestamp) {
        self.server = after.server;
        let Some(tenant) = tenant else { return };
        match self.tenants.get_mut(tenant.as_str()) {
            Some(bucket) => *bucket = after.tenant,
            None => self.insert(tenant.clone(), after.tenant, now),
        }
    }

    /// Applies new limits. Used tokens stay used, up to the new burst.
    pub(crate) fn set_limits(
        &mut self,
        server: RateLimit,
        limit_of: impl Fn(&Tenant) -> RateLimit,
        now: Timestamp,
    ) {
        self.server = server.convert(self.server, now);
        for (tenant, bucket) in &mut self.tenants {
            *bucket = limit_of(tenant).convert(*bucket, now);
        }
    }

    /// Returns the remaining requests of a tenant under its own limit.
    #[must_use]
    pub fn remaining(&self, tenant: &str, limit: RateLimit, now: Timestamp) -> RateRemaining {
        limit.remaining(self.buckets(tenant).tenant, now)
    }

    /// Returns the number of tenants with a stored bucket.
    #[must_use]
    pub fn tracked_tenants(&self) -> usize {
        self.tenants.len()
    }

    fn insert(&mut self, tenant: Tenant, bucket: Bucket, now: Timestamp) {
        if self.tenants.len() >= self.sweep_at {
            // A full bucket equals an unused one, so it can be removed.
            self.tenants.retain(|_, bucket| !bucket.is_full(now));
            // The next sweep waits until the number of tenants has doubled. The cost per insertion is then
            // constant on average.
            self.sweep_at = (self.tenants.len() * 2).max(MIN_SWEEP_TENANTS);
            if self.tenants.capacity() > self.sweep_at * 4 {
                self.tenants.shrink_to(self.sweep_at);
            }
        }
        self.tenants.insert(tenant, bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_minute: u32, burst: u32) -> RateLimit {
        RateLimit { per_minute: per_minute.try_into().unwrap(), burst: burst.try_into().unwrap() }
    }

    const UNLIMITED: RateLimit = RateLimit { per_minute: non_zero(1_000_000), burst: non_zero(1_000_000) };

    fn limiter() -> RateLimiter {
        RateLimiter::new(HashSeed(7, 11))
    }

    #[test]
    fn retry_at_is_exact_to_the_nanosecond() {
        // 7 per minute: one token every 8,571,428,571.43 ns.
        let mut limiter = limiter();
        let tenant: Tenant = "t".parse().unwrap();
        let start = Timestamp::from_seconds(1000);
        limiter.try_acquire(&tenant, UNLIMITED, limit(7, 1), start).unwrap();
        let refused = limiter.try_acquire(&tenant, UNLIMITED, limit(7, 1), start).unwrap_err();
        assert_eq!(refused.retry_at.nanos_since(start), 8_571_428_572);
        let just_before = Timestamp::from_nanos(refused.retry_at.nanos() - 1);
        assert_eq!(limiter.try_acquire(&tenant, UNLIMITED, limit(7, 1), just_before).unwrap_err(), refused);
        limiter.try_acquire(&tenant, UNLIMITED, limit(7, 1), refused.retry_at).unwrap();
    }

    #[test]
    fn refused_request_takes_no_token_from_either_bucket() {
        let mut limiter = limiter();
        let (a, b): (Tenant, Tenant) = ("a".parse().unwrap(), "b".parse().unwrap());
        let now = Timestamp::from_seconds(1);
        limiter.try_acquire(&a, limit(60, 2), limit(60, 1), now).unwrap();
        let refused = limiter.try_acquire(&a, limit(60, 2), limit(60, 1), now).unwrap_err();
        assert_eq!(refused.scope, RateScope::Tenant);
        limiter.try_acquire(&b, limit(60, 2), limit(60, 1), now).unwrap();
        let refused =
            limiter.try_acquire(&"c".parse().unwrap(), limit(60, 2), limit(60, 1), now).unwrap_err();
        assert_eq!(refused.scope, RateScope::Server);
        assert_eq!(limiter.tracked_tenants(), 2, "a tenant refused by the server limit gets no bucket");
    }

    #[test]
    fn small_clock_step_back_adds_no_tokens() {
        let mut limiter = limiter();
        let tenant: Tenant = "t".parse().unwrap();
        let now = Timestamp::from_seconds(1000);
        limiter.try_acquire(&tenant, UNLIMITED, limit(60, 1), now).unwrap();
        for back in [1, 1_000_000_000, 59_000_000_000] {
            let earlier = Timestamp::from_nanos(now.nanos() - back);
            let refused = limiter.try_acquire(&tenant, UNLIMITED, limit(60, 1), earlier).unwrap_err();
            assert_eq!(refused.retry_at, Timestamp::from_seconds(1001));
        }
    }

    #[test]
    fn large_clock_step_back_does_not_block_requests() {
        let mut limiter = limiter();
        let tenant: Tenant = "t".parse().unwrap();
        limiter.try_acquire(&tenant, UNLIMITED, limit(60, 1), Timestamp::from_seconds(1000)).unwrap();
        let set_back = Timestamp::from_seconds(800);
        limiter.try_acquire(&tenant, UNLIMITED, limit(60, 1), set_back).unwrap();
    }

    #[test]
    fn idle_tenants_are_removed() {
        let mut limiter = limiter();
        for i in 0..100_000u64 {
            let tenant = format!("t{i}").parse().unwrap();
            // 100 requests per second from new tenants. Each bucket is full again after one second.
            let now = Timestamp::from_nanos(1_000_000_000_000 + i * 10_000_000);
            limiter.try_acquire(&tenant, RateLimit::SERVER_DEFAULT, RateLimit::DEFAULT, now).unwrap();
        }
        assert!(limiter.tracked_tenants() <= MIN_SWEEP_TENANTS, "{}", limiter.tracked_tenants());
        assert!(limiter.tenants.capacity() <= 8 * MIN_SWEEP_TENANTS);
    }

    #[test]
    fn remaining_requests_decrease_and_refill() {
        let mut limiter = limiter();
        let tenant: Tenant = "t".parse().unwrap();
        let now = Timestamp::from_seconds(1000);
        let full = RateRemaining { requests: 10, next_at: now, full_at: now };
        assert_eq!(limiter.remaining("t", limit(60, 10), now), full);
        for requests in (0..10).rev() {
            limiter.try_acquire(&tenant, UNLIMITED, limit(60, 10), now).unwrap();
            let remaining = limiter.remaining("t", limit(60, 10), now);
            let next_at = Timestamp::from_seconds(1001);
            let full_at = Timestamp::from_seconds(1000 + u64::from(10 - requests));
            assert_eq!(remaining, RateRemaining { requests, next_at, full_at });
        }
        let refused = limiter.try_acquire(&tenant, UNLIMITED, limit(60, 10), now).unwrap_err();
        assert_eq!(limiter.remaining("t", limit(60, 10), now).next_at, refused.retry_at);
        // The clock steps back by 30 s, so 40 tokens are in use. The next request is allowed at the same time.
        let earlier = Timestamp::from_seconds(970);
        assert_eq!(limiter.remaining("t", limit(60, 10), earlier).next_at, refused.retry_at);
        assert_eq!(limiter.remaining("t", limit(60, 10), Timestamp::from_seconds(1001)).requests, 1);
        assert_eq!(
            limiter.remaining("t", limit(60, 10), Timestamp::from_nanos(1_000_999_999_999)).requests,
            0
        );
        assert_eq!(limiter.remaining("t", limit(60, 10), Timestamp::from_seconds(1010)).requests, 10);
    }
}
