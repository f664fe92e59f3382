//! Quantities with the unit in the type: CPU, memory, GPUs, durations, timestamps and money.
//!
//! Each type except [`Quantity`] wraps an integer and is printed exactly. All types are parsed from text.
//! No type uses floating point: `0.1` CPU is exactly 100 millicores.

mod duration;
mod money;
mod quantity;
mod resource;
mod timestamp;

pub use duration::{DurationError, Seconds};
pub(crate) use money::{Decimal, decimal, parse_decimal};
pub use money::{MoneyError, UnitPrice, Usd};
pub use quantity::{Quantity, QuantityError};
pub use resource::{CpuMillis, GpuCount, MemoryBytes};
pub use timestamp::{Timestamp, TimestampError};
