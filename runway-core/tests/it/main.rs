//! Tests of the whole library: properties, hostile input, and a fixture for every code.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests may touch files and clocks")]
#![allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, clippy::map_entry, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod capabilities;
mod documents;
mod fixes;
mod fixtures;
mod guardrails;
mod guardrails_admission;
mod hostile;
mod json;
mod layers;
mod ledger;
mod limiter;
mod manifest;
mod quantities;
mod recorded;
mod replay;
mod secrets;
mod specification;
mod states;
mod workdir;
