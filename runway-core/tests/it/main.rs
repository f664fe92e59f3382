//! What holds of the whole library: properties, hostile input, and a fixture for every code.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod documents;
mod fixes;
mod fixtures;
mod hostile;
mod layers;
mod ledger;
mod limiter;
mod manifest;
mod quantities;
mod replay;
mod secrets;
