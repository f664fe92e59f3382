//! Instants as Kubernetes writes them.

use crate::units::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// The instant, unless it is none: an unset one is written as null or as the beginning of time.
pub(super) fn instant(time: Option<&Time>) -> Option<Timestamp> {
    nanos(time?.0.as_nanosecond())
}

/// The same, of the finer kind.
pub(super) fn fine_instant(time: Option<&MicroTime>) -> Option<Timestamp> {
    nanos(time?.0.as_nanosecond())
}

fn nanos(nanos: i128) -> Option<Timestamp> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Timestamp::from_nanos)
}

/// As it stands in the object.
pub(super) fn written(time: &Time) -> String {
    serde_json::to_value(time).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
