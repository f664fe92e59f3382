//! Timestamps in RFC 3339 and UTC, without trailing zeros in the fraction.

use runway_core::units::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn to_rfc3339(time: Timestamp) -> String {
    let text = time.to_string();
    let trimmed = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    // A timestamp without a fraction keeps the zeros of its seconds.
    if time.nanos().is_multiple_of(1_000_000_000) {
        text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
    } else {
        format!("{trimmed}Z")
    }
}

pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_rfc3339(*time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Timestamp::deserialize(deserializer)
}

/// Serializes optional timestamps.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(super::to_rfc3339).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_omit_trailing_zeros() {
        for text in [
            "2026-11-21T08:00:00Z",
            "2026-11-21T08:00:10Z",
            "2026-11-21T08:00:00.5Z",
            "2026-11-21T08:00:00.000000001Z",
        ] {
            assert_eq!(to_rfc3339(text.parse().unwrap()), text);
        }
    }
}
