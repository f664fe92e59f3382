//! The server over real sockets: TLS and roles, limits and abuse, reloading, and its end.
//!
//! Where no cluster is needed it runs in this process, over a cluster in memory. The program itself is started where signals and
//! files matter, with a kubeconfig that leads nowhere: all but submissions works without a cluster.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

mod bed;
mod bodies;
mod certificates;
mod crowds;
mod ending;
mod heads;
mod log_readers;
mod process;
mod reloading;
mod roles;
mod secrecy;
mod smuggling;
