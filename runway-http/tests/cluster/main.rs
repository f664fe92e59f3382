//! Tests of the program on a real cluster, as a user with only the permissions in
//! `infra/kubernetes/rbac.yaml`.
//!
//! `cargo xtask test` starts the cluster. To run the tests by hand, run `cargo xtask cluster up --node`, then
//! `eval "$(cargo xtask cluster env)"` and `cargo test -p runway-http --test cluster`. Without a cluster, all
//! tests fail.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::float_arithmetic, reason = "tests")]

mod ending;
mod journey;
mod limits;
mod server;
mod submitters;
