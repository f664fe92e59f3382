//! Support for the integration tests of the workspace.
//!
//! Crates use it as a dev-dependency of their integration tests, never of unit tests: it depends on the crates under test.
//! A helper belongs here if two test programs need it. It panics if the set-up of a test fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails if its set-up fails"
)]
#![allow(clippy::indexing_slicing, clippy::missing_panics_doc, reason = "a test fails if its set-up fails")]
#![allow(clippy::missing_errors_doc, reason = "the errors are those of the connection")]

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod delegation;
pub mod env;
pub mod faults;
pub mod jobs;
pub mod policies;
#[cfg(feature = "http")]
pub mod server;
#[cfg(feature = "http")]
pub mod wire;
