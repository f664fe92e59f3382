//! Decides whether a batch job may run, computes the ceiling of its price, and renders its Kubernetes
//! objects.
//!
//! The library is pure: it uses no files, clocks, randomness, logging, threads or locks. A submission passes
//! through the modules `spec → rate → check → price → quota → render`. The module `gate` runs the steps from
//! `rate` to `quota`. The same inputs give the same decision, byte for byte, in the command line, in the
//! server and in a service that embeds the crate.
//!
//! The feature `kubernetes` adds the modules `render` and `guardrails`, and the function `status::classify`.
//! The feature requires one version feature of `k8s-openapi`. The program that uses the library chooses it.
//!
//! The entry point is [`Gate`]. It takes a [`Submission`] and returns a [`Decision`].

pub mod capability;
pub mod check;
pub mod code;
mod decoder;
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
#[cfg(feature = "kubernetes")]
pub mod render;
pub mod schema;
mod schema_parts;
pub mod spec;
pub mod status;
pub mod text;
pub mod units;
pub mod violation;

/// Compiles the examples of the README as doc tests.
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
