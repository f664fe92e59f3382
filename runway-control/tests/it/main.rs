//! Tests of the control plane on a fake cluster, in virtual time.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod audit;
mod contract;
mod creations;
mod harness;
mod keys;
mod observer;
mod records;
mod simulation;
mod transport;
