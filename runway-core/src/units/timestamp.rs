//! Timestamps. Callers pass them in: this crate never reads a clock.

use super::Seconds;
use crate::text::serde_as_text;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, str::FromStr};

/// A time in nanoseconds since 1970-01-01T00:00:00Z, up to the year 2554.
///
/// Arithmetic saturates. If the clock goes backwards, the elapsed time is zero.
///
/// ```
/// use runway_core::units::{Seconds, Timestamp};
///
/// let start: Timestamp = "2026-11-21T08:00:00Z".parse()?;
/// let end = start.saturating_add(Seconds::new(90));
/// assert_eq!(end.to_string(), "2026-11-21T08:01:30.000000000Z");
/// assert_eq!(start.nanos_since(end), 0);
/// # Ok::<(), runway_core::units::TimestampError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// The value is not a UTC time between 1970 and 2554.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a UTC timestamp between 1970 and 2554, such as `2026-11-21T08:00:00Z`")]
pub struct TimestampError;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// Creates a timestamp from nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The last timestamp, in the year 2554. As a deadline, it means "never".
    pub const MAX: Self = Self(u64::MAX);

    /// Creates a timestamp from seconds since the epoch, limited to the last timestamp.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Returns the nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Returns the timestamp plus `seconds`, limited to the last timestamp.
    #[must_use]
    pub const fn saturating_add(self, seconds: Seconds) -> Self {
        Self(self.0.saturating_add(seconds.get().saturating_mul(NANOS_PER_SECOND)))
    }

    /// Returns the timestamp plus `nanos` nanoseconds, limited to the last timestamp.
    #[must_use]
    pub const fn saturating_add_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the nanoseconds from `earlier` to this timestamp, or zero if `earlier` is later.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// Prints RFC 3339 in UTC, with nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(self.0)).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        humantime::parse_rfc3339(text).map_err(|_| TimestampError).and_then(Self::try_from)
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = TimestampError;

    /// Converts a system time. On Linux, the conversion is exact to the nanosecond.
    ///
    /// ```
    /// use runway_core::units::Timestamp;
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let time = UNIX_EPOCH + Duration::from_millis(1_795_248_000_250); // or `SystemTime::now()`
    /// assert_eq!(Timestamp::try_from(time)?.to_string(), "2026-11-21T08:00:00.250000000Z");
    /// # Ok::<(), runway_core::units::TimestampError>(())
    /// ```
    ///
    /// # Errors
    /// [`TimestampError`] if the time is before 1970 or after the last timestamp, in the year 2554.
    fn try_from(time: SystemTime) -> Result<Self, TimestampError> {
        let since = time.duration_since(UNIX_EPOCH).map_err(|_| TimestampError)?;
        u64::try_from(since.as_nanos()).map(Self).map_err(|_| TimestampError)
    }
}

serde_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_round_trips_through_text() {
        for nanos in [0, 1, 1_795_248_000_123_456_789, u64::MAX] {
            let instant = Timestamp::from_nanos(nanos);
            assert_eq!(instant.to_string().parse(), Ok(instant));
        }
        for text in ["", "yesterday", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn system_time_outside_the_range_is_rejected() {
        let nanos = Duration::from_nanos;
        assert_eq!(Timestamp::try_from(UNIX_EPOCH), Ok(Timestamp::EPOCH));
        assert_eq!(Timestamp::try_from(UNIX_EPOCH + nanos(1)), Ok(Timestamp(1)));
        assert_eq!(Timestamp::try_from(UNIX_EPOCH + nanos(u64::MAX)), Ok(Timestamp(u64::MAX)));
        assert_eq!(Timestamp::try_from(UNIX_EPOCH + nanos(u64::MAX) + nanos(1)), Err(TimestampError));
        assert_eq!(Timestamp::try_from(UNIX_EPOCH - nanos(1)), Err(TimestampError));
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Timestamp::from_nanos(u64::MAX);
        assert_eq!(last.saturating_add(Seconds::new(1)), last);
        assert_eq!(Timestamp::EPOCH.saturating_add(Seconds::new(u64::MAX)), last);
        assert_eq!(Timestamp::EPOCH.nanos_since(last), 0);
    }
}
