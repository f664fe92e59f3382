//! Tests of the program with jobs on this machine. The whole suite must run as root. The test in `plain` runs
//! all other tests again as an unprivileged user.

#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

mod exposure;
mod gpus;
mod harness;
mod lifecycle;
mod plain;
mod refusals;
mod restarts;
