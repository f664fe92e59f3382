//! Support for the integration tests of the workspace.
//!
//! This crate is a dev-dependency of integration tests only. Unit tests cannot use it, because it depends on
//! the crates under test. It contains helpers that at least two test programs need. The helpers panic if the
//! setup of a test fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails if its setup fails")]
#![allow(clippy::indexing_slicing, clippy::missing_panics_doc, reason = "a test fails if its setup fails")]
#![allow(clippy::missing_errors_doc, reason = "the errors are those of the connection")]

pub mod backends;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod delegation;
pub mod env;
pub mod faults;
pub mod generated;
pub mod jobs;
#[cfg(target_os = "linux")]
pub mod machine;
pub mod paths;
pub mod pods;
pub mod policies;
#[cfg(feature = "http")]
pub mod process;
#[cfg(feature = "http")]
pub mod server;
#[cfg(feature = "http")]
pub mod tls;
#[cfg(feature = "http")]
pub mod wire;
