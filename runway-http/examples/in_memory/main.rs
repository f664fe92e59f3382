//! A server over an in-memory cluster, to try the API and to test clients.
//!
//! Each job runs for ten seconds. It prints a line when it starts and a line when it finishes. The server
//! prints its address, and exits when its standard input ends.
//!
//! `cargo run -p runway-http --example in_memory -- --policy fixtures/policies/default.yaml`

mod sample;

use clap::Parser;
use runway_control::fake::FakeCluster;
use runway_control::{ControlPlane, Env, Settings, SystemEnv};
use runway_core::Policy;
use runway_core::policy::PriceOverrides;
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, serve};
use runway_http::{AppState, RequestLimits, app};
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Run the API over an in-memory cluster.
#[derive(Debug, Parser)]
struct Flags {
    /// Listen on this address
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Load the policy from this file
    #[arg(long)]
    policy: PathBuf,
    /// Add sample jobs in every phase, some of them with HTML in their messages
    #[arg(long)]
    sample: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let policy = Policy::parse(&std::fs::read(&flags.policy)?, PriceOverrides::default());
    let policy = Arc::new(policy.map_err(|error| format!("invalid policy: {error}"))?);
    let (cluster, metrics) = (FakeCluster::new(Arc::new(SystemEnv)), Arc::new(Metrics::default()));
    if flags.sample {
        sample::jobs(SystemEnv.now())?.into_iter().for_each(|job| cluster.insert_job(job));
    }
    let (backend, observer) = (Arc::new(cluster.connect()), Arc::clone(&metrics));
    let plane =
        ControlPlane::with_observer(backend, policy, Arc::new(SystemEnv), Settings::default(), observer);
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    let state = AppState::new(plane, Arc::clone(&metrics), RequestLimits::default());
    let listener = TcpListener::bind(flags.listen).await?;
    println!("http://{}", listener.local_addr()?);
    let end_of_input = async {
        // The server also stops if the read fails, so the result is ignored.
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    serve(listener, app(state), ConnectionLimits::default(), None, metrics, end_of_input).await;
    Ok(())
}
