//! A server over a cluster in memory, whose jobs run for ten seconds and print one line: to try the API on, and for tests of what
//! speaks to a server. It prints its address, and ends with its standard input.
//!
//! `cargo run -p runway-http --example in_memory -- --policy fixtures/policies/default.yaml --listen 127.0.0.1:8080`

mod sample;

use clap::Parser;
use runway_control::fake::FakeCluster;
use runway_control::{ControlPlane, Settings, Surroundings, System};
use runway_core::Policy;
use runway_core::policy::RateOverrides;
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, serve};
use runway_http::{AppState, RequestLimits, app};
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A server over a cluster in memory.
#[derive(Debug, Parser)]
struct Flags {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The policy
    #[arg(long)]
    policy: PathBuf,
    /// With jobs in it that others have made: some in every phase, and some of which the cluster says what a browser could take for HTML
    #[arg(long)]
    sample: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let policy = Policy::parse(&std::fs::read(&flags.policy)?, RateOverrides::default());
    let policy = Arc::new(policy.map_err(|error| format!("the policy does not load: {error}"))?);
    let (cluster, metrics) = (FakeCluster::new(Arc::new(System)), Arc::new(Metrics::default()));
    if flags.sample {
        sample::jobs(System.now())?.into_iter().for_each(|job| cluster.put(job));
    }
    let (backend, observer) = (Arc::new(cluster.connect()), Arc::clone(&metrics));
    let plane = ControlPlane::with_observer(backend, policy, Arc::new(System), Settings::default(), observer);
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    let state = AppState::new(plane, Arc::clone(&metrics), RequestLimits::default());
    let listener = TcpListener::bind(flags.listen).await?;
    println!("http://{}", listener.local_addr()?);
    let end_of_input = async {
        // An error of standard input stops the server as its end does.
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    serve(listener, app(state), ConnectionLimits::default(), None, metrics, end_of_input).await;
    Ok(())
}
