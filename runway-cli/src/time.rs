//! Formats times and durations for human-readable output.

use runway_core::units::Timestamp;

/// Formats a timestamp in RFC 3339 format, without fractions of a second.
pub(crate) fn format_timestamp(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
}

/// Formats a duration in one unit: seconds below 2 minutes, minutes below 2 hours, hours below 2 days, then
/// days.
pub(crate) fn format_duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats the time between `then` and `now`. Returns `0s` if `then` is later than `now`.
pub(crate) fn format_age(then: Timestamp, now: Timestamp) -> String {
    format_duration(now.nanos_since(then) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_formatted_in_a_fitting_unit() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_799, "47h"),
            (172_800, "2d"),
        ] {
            assert_eq!(format_duration(seconds), expected);
        }
        let [then, now] = [Timestamp::from_seconds(100), Timestamp::from_seconds(160)];
        // The clock of the server can be ahead of the local clock. A timestamp from the server is then in the
        // future, and its age is 0.
        assert_eq!((format_age(then, now), format_age(now, then)), ("60s".to_owned(), "0s".to_owned()));
    }
}
