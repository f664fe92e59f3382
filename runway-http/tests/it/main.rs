//! Tests that call the router without sockets, over an in-memory cluster and with virtual time. The harness
//! checks each response of a documented route against the OpenAPI document.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test program")]

mod cancel;
mod harness;
mod hosts;
mod idempotency;
mod jobs;
mod limits;
mod logs;
mod metrics;
mod overview;
mod pages;
mod policy;
mod problems;
mod quotes;
mod references;
mod roles;
mod submit;
mod tasks;
mod tenants;
