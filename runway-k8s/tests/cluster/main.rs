//! Jobs on a real cluster, as a user who may do just what `infra/kubernetes/rbac.yaml` grants.
//!
//! `cargo xtask test` brings the cluster up. By hand: `cargo xtask cluster up --node`, then
//! `eval "$(cargo xtask cluster env)"` and `cargo test -p runway-k8s --test cluster`. Without a cluster every test fails.
//! With `RUNWAY_CAPTURE=1` the objects that are diagnosed are written to `fixtures/cluster/captured/`.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod burst;
mod connections;
mod contract;
mod creation;
mod endings;
mod guards;
mod logs;
mod outage;
#[path = "../../../runway-core/tests/it/restricted.rs"]
mod restricted;
mod waiting;
