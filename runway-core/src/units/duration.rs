//! Durations in whole seconds, as people write them in a job: `90s`, `15m`, `1h30m`, or `90`.

use std::{fmt, str::FromStr};

/// A duration in whole seconds; at most `i64::MAX` of them.
///
/// ```
/// use runway_core::units::Seconds;
///
/// let timeout: Seconds = "1h30m".parse()?;
/// assert_eq!(timeout, Seconds::new(5400));
/// assert_eq!(timeout.to_string(), "1h30m");
/// assert_eq!("90".parse(), Ok(Seconds::new(90)));
/// # Ok::<(), runway_core::units::DurationError>(())
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(u64);

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not of the form `1h30m`, `15m`, `90s` or `90`.
    #[error("is not a duration; write `90s`, `15m`, `1h30m`, or whole seconds")]
    Malformed,
    /// The duration is below zero.
    #[error("is negative")]
    Negative,
    /// The duration has a part smaller than a second.
    #[error("is finer than a second")]
    TooFine,
    /// The duration does not fit.
    #[error("is too large")]
    TooLarge,
}

impl Seconds {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Takes a number of seconds.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or the largest duration there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl FromStr for Seconds {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if let Some(positive) = unsigned.strip_prefix('-') {
            return Err(match positive.parse::<Self>() {
                Ok(Self(0)) => DurationError::Malformed,
                Ok(_) | Err(DurationError::TooLarge) => DurationError::Negative,
                Err(error) => error,
            });
        }
        let mut rest = unsigned;
        let mut total = 0u64;
        let mut largest_unit_left = u64::MAX;
        loop {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or(DurationError::Malformed)?;
            if number.is_empty() {
                return Err(DurationError::Malformed);
            }
            let (unit, tail) = match tail.as_bytes().first() {
                None if largest_unit_left == u64::MAX => (1, ""),
                Some(b's') => (1, tail.get(1..).unwrap_or("")),
                Some(b'm') if !tail.starts_with("ms") => (60, tail.get(1..).unwrap_or("")),
                Some(b'h') => (3600, tail.get(1..).unwrap_or("")),
                Some(b'.' | b'm' | b'u' | b'n') => return Err(fraction_or_malformed(tail)),
                _ => return Err(DurationError::Malformed),
            };
            if unit >= largest_unit_left {
                return Err(DurationError::Malformed);
            }
            largest_unit_left = unit;
            total = number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(unit))
                .and_then(|n| n.checked_add(total))
                .filter(|n| i64::try_from(*n).is_ok())
                .ok_or(DurationError::TooLarge)?;
            rest = tail;
            if rest.is_empty() {
                return Ok(Self(total));
            }
        }
    }
}

/// `1.5s` and `500ms` are durations elsewhere: say that they are too fine rather than that they are nonsense.
fn fraction_or_malformed(tail: &str) -> DurationError {
    let unit = tail.trim_start_matches('.').trim_start_matches(|c: char| c.is_ascii_digit());
    if matches!(unit, "" | "s" | "m" | "h" | "ms" | "us" | "ns") {
        DurationError::TooFine
    } else {
        DurationError::Malformed
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || self.0 == 0 {
            write!(f, "{seconds}s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("2h", 7200),
            ("1h30m", 5400),
            ("1h0m5s", 3605),
            ("90", 90),
            ("+5", 5),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        use DurationError::*;
        for (text, error) in [
            ("", Malformed),
            ("m", Malformed),
            ("5 m", Malformed),
            ("30m1h", Malformed),
            ("1h30", Malformed),
            ("1d", Malformed),
            ("1s1s", Malformed),
            ("-5", Negative),
            ("-5m", Negative),
            ("1.5h", TooFine),
            ("500ms", TooFine),
            ("99999999999999999999", TooLarge),
            ("9223372036854775808", TooLarge),
            ("2562047788015216h", TooLarge),
        ] {
            assert_eq!(text.parse::<Seconds>(), Err(error), "{text}");
        }
        assert_eq!("9223372036854775807s".parse(), Ok(Seconds(i64::MAX.unsigned_abs())));
    }
}
