//! Tests of the `runway` program: output, exit codes and generated pages.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod deployment;
mod diagnose;
mod exit_codes;
mod formats;
mod goldens;
mod help;
mod manual;
mod program;
mod references;
mod remote;
mod same_as_server;
mod schemas;
mod secrets;
