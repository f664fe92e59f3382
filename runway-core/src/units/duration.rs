//! Durations in whole seconds, in the notation of job specs: `90s`, `15m`, `1h30m`, or `90`.

use super::Quantity;
use std::time::Duration;
use std::{fmt, str::FromStr};

/// A duration in whole seconds. A parsed duration is at most `i64::MAX` seconds.
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

/// An error from parsing a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not have the form `1h30m`, `15m`, `90s` or `90`.
    #[error("is not a duration; write `90s`, `15m`, `1h30m`, or whole seconds")]
    Malformed,
    /// The duration is negative.
    #[error("is negative")]
    Negative,
    /// The duration is not a whole number of seconds.
    #[error("is finer than a second")]
    TooFine,
    /// The duration exceeds `i64::MAX` seconds.
    #[error("is too large")]
    TooLarge,
}

impl Seconds {
    /// Zero seconds.
    pub const ZERO: Self = Self(0);

    /// Creates a duration from a number of seconds.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the number of seconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the duration that a text in another notation means, rounded to the nearest second. Examples
    /// are `1.5h`, `2500ms`, `5 minutes`, and `1h30`, in which the last number is in the next smaller unit.
    /// Returns `None` if the text is not a duration or is out of range.
    pub(crate) fn nearest(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total_micros: i128 = 0;
        let mut default_unit = "seconds";
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at_checked(end)?;
            let tail = tail.trim_start();
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at_checked(end)?;
            let (millis_of_unit, next_unit) = match if unit.is_empty() { default_unit } else { unit } {
                "d" | "day" | "days" => (86_400_000, "hours"),
                "h" | "hr" | "hrs" | "hour" | "hours" => (3_600_000, "minutes"),
                "m" | "min" | "mins" | "minute" | "minutes" => (60_000, "seconds"),
                "s" | "sec" | "secs" | "second" | "seconds" => (1000, ""),
                "ms" | "millisecond" | "milliseconds" => (1, ""),
                _ => return None,
            };
            let micros = number.parse::<Quantity>().ok()?.in_units_of(6).ok()?;
            total_micros = total_micros.checked_add(micros.checked_mul(millis_of_unit)?)?;
            default_unit = next_unit;
            rest = tail.trim_start();
        }
        let seconds = total_micros.checked_add(500_000_000)? / 1_000_000_000;
        u64::try_from(seconds).ok().map(Self)
    }

    /// Returns the sum, or `u64::MAX` seconds if it does not fit.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl From<Duration> for Seconds {
    /// Rounds up to whole seconds, so that a time limit is never shorter than the given duration.
    ///
    /// ```
    /// use runway_core::units::Seconds;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Seconds::from(Duration::from_millis(1500)), Seconds::new(2));
    /// assert_eq!(Seconds::from(Duration::ZERO), Seconds::ZERO);
    /// ```
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)))
    }
}

impl FromStr for Seconds {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if let Some(positive) = text.strip_prefix('-') {
            return Err(match positive.parse::<Self>() {
                Ok(Self(0)) => DurationError::Malformed,
                Ok(_) | Err(DurationError::TooLarge) => DurationError::Negative,
                Err(error) => error,
            });
        }
        let mut rest = text;
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

/// Returns `TooFine` for `1.5s` and `500ms`, which are valid durations in other programs, and `Malformed` for
/// other texts.
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
    fn durations_are_parsed_in_every_form() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1h0m5s", 3605), ("90", 90), ("0", 0)]
        {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn duration_is_rounded_up_and_saturates() {
        for (seconds, nanos, rounded) in [
            (0, 0, 0),
            (0, 1, 1),
            (1, 0, 1),
            (1, 999_999_999, 2),
            (u64::MAX, 0, u64::MAX),
            (u64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(Seconds::from(Duration::new(seconds, nanos)), Seconds(rounded), "{seconds} {nanos}");
        }
    }

    #[test]
    fn invalid_duration_reports_its_error() {
        use DurationError::*;
        for (text, error) in [
            ("", Malformed),
            ("m", Malformed),
            ("5 m", Malformed),
            ("30m1h", Malformed),
            ("1h30", Malformed),
            ("1d", Malformed),
            ("+5", Malformed),
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
        for (text, nearest) in [
            ("1.5h", Some(5400)),
            ("2500ms", Some(3)),
            ("0.4s", Some(0)),
            ("1h1.5m", Some(3690)),
            ("5 minutes", Some(300)),
            ("1h30", Some(5400)),
            ("1 hour 30 min", Some(5400)),
            ("2m5", Some(125)),
            ("1d", Some(86_400)),
            ("5s5", None),
            ("5M", None),
            ("soon", None),
            ("h", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(Seconds::nearest(text), nearest.map(Seconds), "{text}");
        }
        assert_eq!("9223372036854775807s".parse(), Ok(Seconds(i64::MAX.unsigned_abs())));
    }
}
