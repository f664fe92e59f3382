//! Conversions of Kubernetes times.

use crate::units::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// Returns the timestamp, or `None` if the time is not set. Kubernetes writes an unset time as null or as the
/// Unix epoch.
pub(super) fn instant(time: Option<&Time>) -> Option<Timestamp> {
    nanos(time?.0.as_nanosecond())
}

/// Returns the timestamp of a time with microseconds, or `None` if it is not set.
pub(super) fn micro_instant(time: Option<&MicroTime>) -> Option<Timestamp> {
    nanos(time?.0.as_nanosecond())
}

fn nanos(nanos: i128) -> Option<Timestamp> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Timestamp::from_nanos)
}

/// Formats a time as it appears in the object.
pub(super) fn to_rfc3339(time: &Time) -> String {
    serde_json::to_value(time).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Formats a time in RFC 3339, without fractions of a second.
pub(super) fn whole_seconds(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}
