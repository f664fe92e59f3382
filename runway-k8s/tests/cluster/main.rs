//! Tests on a real cluster, as a user with only the permissions of `infra/kubernetes/rbac.yaml`.
//!
//! `cargo xtask test` starts the cluster. To run the tests by hand, run `cargo xtask cluster up --node`, then
//! `eval "$(cargo xtask cluster env)"`, then `cargo test -p runway-k8s --test cluster`. Without a cluster
//! every test fails.
//!
//! With `RUNWAY_CAPTURE=1`, the tests write the objects of their jobs to `fixtures/cluster/captured/`.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod burst;
mod connections;
mod contract;
mod creation;
mod logs;
mod outage;
mod outcomes;
mod pending;
mod permissions;
