//! Servers on loopback in this process: Runway with a fake cluster, and a plain axum server.

use crate::cluster::harness::policy;
use crate::timing::BenchResult;
use axum::body::Bytes;
use axum::routing::post;
use axum::{Json, Router};
use runway_control::fake::FakeCluster;
use runway_control::{ControlPlane, Settings, SystemEnv};
use runway_core::JobSpec;
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, serve};
use runway_http::{AppState, RequestLimits, app};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Returns the job of the quote and submit requests.
pub(super) fn job(tenant: &str) -> Bytes {
    let job = json!({
        "name": "embed-docs",
        "tenant": tenant,
        "image": "registry.internal/embed:1.8.0",
        "command": ["python", "/app/embed.py"],
        "args": ["--shard", "3"],
        "env": {"LOG_LEVEL": "info", "OMP_NUM_THREADS": "2"},
        "resources": {"cpu": "2", "memory": "4Gi"},
        "timeout": "15m",
    });
    job.to_string().into()
}

/// Starts Runway's server, and submits this number of jobs to its control plane.
pub(super) async fn runway(known: usize) -> BenchResult<SocketAddr> {
    let env = Arc::new(SystemEnv);
    let cluster = FakeCluster::new(env.clone());
    let metrics = Arc::new(Metrics::default());
    let backend = Arc::new(cluster.connect());
    let policy = policy("jobs")?;
    let plane =
        ControlPlane::with_observer(backend, policy, env, Settings::default(), Arc::clone(&metrics) as _);
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    for number in 0..known {
        let spec = JobSpec {
            name: Some(format!("job-{number}")),
            tenant: Some(format!("tenant-{}", number % 1_000)),
            image: Some("registry.internal/embed:1.8.0".into()),
            ..JobSpec::default()
        };
        plane.submit(spec.into(), None).await?;
    }
    let router = app(AppState::new(plane, Arc::clone(&metrics), RequestLimits::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        serve(listener, router, ConnectionLimits::default(), None, metrics, std::future::pending()).await
    });
    Ok(address)
}

/// Starts a plain axum server that parses JSON and returns it.
pub(super) async fn echo() -> BenchResult<SocketAddr> {
    let router = Router::new().route(super::QUOTES, post(async |Json(value): Json<Value>| Json(value)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
