//! The machine's clock.

use runway_core::units::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now; the epoch where the clock stands before it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
