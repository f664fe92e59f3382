//! The program on a real cluster, as a user who may do just what `infra/kubernetes/rbac.yaml` grants.
//!
//! `cargo xtask test` brings the cluster up. By hand: `cargo xtask cluster up --node`, then
//! `eval "$(cargo xtask cluster env)"` and `cargo test -p runway-http --test cluster`. Without a cluster every test fails.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::float_arithmetic, reason = "tests")]

mod ending;
mod journey;
mod limits;
#[path = "../server/process.rs"]
#[allow(dead_code, reason = "the server's tests need more of it")]
mod process;
mod server;
mod submitters;
