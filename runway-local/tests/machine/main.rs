//! Tests of jobs on the kernel of this machine. Root runs them twice: as root, and as an unprivileged user
//! through the module `plain`.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod backend;
mod contract;
mod endings;
mod gpus;
mod harness;
mod isolation;
mod limits;
mod output;
mod plain;
mod refusals;
mod requests;
mod restarts;
