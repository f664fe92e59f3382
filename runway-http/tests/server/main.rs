//! Tests of the server over real sockets: TLS and roles, limits and abuse, reloads and shutdown.
//!
//! Most tests run the server in this process, over an in-memory cluster. Tests of signals and files start the
//! program, with a kubeconfig for an unreachable cluster. The program is then not ready and creates no jobs,
//! but it answers all other requests.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

mod bodies;
mod certificates;
mod harness;
mod hosts;
mod load;
mod log_readers;
mod process;
mod reloading;
mod request_heads;
mod roles;
mod secrecy;
mod sessions;
mod shutdown;
mod slow_readers;
mod smuggling;
