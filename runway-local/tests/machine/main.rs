//! Jobs on this machine's own kernel. As root they are run twice: as root, and by `plain` as a user without any rights.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod backend;
mod bed;
mod contract;
mod endings;
mod gpus;
mod limits;
mod order;
mod output;
mod plain;
mod refusals;
mod restarts;
mod walls;
