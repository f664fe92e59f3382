//! Decides whether a batch job may run, what it costs at most, and what would be created for it.
//!
//! This library is pure: no files, clocks, randomness, logging, threads or locks. The way of a job is
//! `spec → check → price → gate (rate, quota) → render`, and each word is a module. The same arguments make the same
//! decision everywhere, byte for byte: on a laptop, in the server, and in a service that embeds the crate.
//!
//! The feature `kubernetes` adds the modules `render` and `guardrails`, and `status::classify`. It needs one version feature
//! of `k8s-openapi`, which the program chooses.
//!
//! Start with [`Gate`], which takes a [`Submission`] and returns a [`Decision`].

pub mod capability;
pub mod check;
pub mod code;
pub mod digest;
pub mod document;
mod error_chain;
pub mod gate;
#[cfg(feature = "kubernetes")]
pub mod guardrails;
mod hash;
pub mod image;
pub mod job;
pub mod name;
pub mod policy;
pub mod price;
pub mod quota;
pub mod rate;
mod reader;
#[cfg(feature = "kubernetes")]
pub mod render;
pub mod schema;
mod shape;
pub mod spec;
pub mod status;
pub mod text;
pub mod units;
pub mod violation;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use code::Code;
pub use error_chain::ErrorChain;
pub use gate::{AdmittedJob, Decision, Gate, Outcome, Refusal, Submission};
pub use hash::HashSeed;
pub use job::Job;
pub use name::{JobId, Tenant};
pub use policy::Policy;
pub use price::Quote;
pub use spec::JobSpec;
pub use violation::Violation;
