//! Quantities with their units in the type: CPU, memory, GPUs, durations, instants and money.
//!
//! Every unit is a newtype over a private integer, parsed from text and printed back exactly. There is no floating
//! point anywhere: `0.1` CPU is 100 millicores, not nearly so.

mod duration;
mod money;
mod quantity;
mod resource;
mod timestamp;

pub use duration::{DurationError, Seconds};
pub(crate) use money::{Decimal, decimal, parse_decimal};
pub use money::{MoneyError, Usd, UsdRate};
pub use quantity::{Quantity, QuantityError};
pub use resource::{CpuMillis, GpuCount, MemoryBytes};
pub use timestamp::{Timestamp, TimestampError};
