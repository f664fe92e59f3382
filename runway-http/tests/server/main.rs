//! Tests of the server over real sockets: TLS and roles, limits and abuse, reloads and shutdown.
//!
//! Most tests run the server in this process, over an in-memory cluster. Tests of signals and files start the
//! program, with a kubeconfig for an unreachable cluster. The program is then not ready and creates no jobs,
//! but it answers all other requests.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

mod bodies;
mod harness;
mod hosts;
mod load;
mod log_readers;
mod reloading;
mod request_heads;
mod roles;
mod secrecy;
mod sessions;
mod shutdown;
mod slow_readers;
mod smuggling;

use runway_testing::paths::{TempDir, program};
use runway_testing::process::{ServerProcess, UNREACHABLE_KUBECONFIG};

/// Starts the program with the file `policy.yaml` of the directory and a kubeconfig for an unreachable
/// cluster.
async fn start_program(dir: &TempDir, flags: &[&str]) -> ServerProcess {
    let program = program("RUNWAY_TEST_SERVER", env!("CARGO_BIN_EXE_runway-http"));
    let kubeconfig = dir.write("kubeconfig", UNREACHABLE_KUBECONFIG);
    ServerProcess::start_on_cluster(&program, dir, &kubeconfig, flags).await
}
