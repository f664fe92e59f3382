//! Shutdown: the server answers in-flight requests before it exits.

use crate::harness::{SHORT_TIMEOUT, TestServer};
use crate::start_program;
use runway_testing::paths::TempDir;
use runway_testing::policies::UNLIMITED;
use runway_testing::wire::{RawConnection, get, job, post, wait_until};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The results of one client.
#[derive(Debug, Default, Clone, Copy)]
struct ClientCounts {
    answers: usize,
    /// Requests without a response.
    lost: usize,
}

/// Sends requests until `is_ready` is `false`, as a load balancer does. With `keep_alive`, uses each
/// connection until the server closes it. Otherwise, sends one request per connection.
async fn load(
    address: SocketAddr,
    request: String,
    keep_alive: bool,
    is_ready: Arc<AtomicBool>,
) -> ClientCounts {
    let mut counts = ClientCounts::default();
    while is_ready.load(Ordering::SeqCst) {
        let mut wire = RawConnection::connect(address).await.unwrap();
        loop {
            if wire.send(&request).await.is_err() {
                counts.lost += 1;
                break;
            }
            let Some(answer) = wire.response().await else {
                counts.lost += 1;
                break;
            };
            assert!(answer.status < 500, "{answer:?}");
            counts.answers += 1;
            if answer.closes_connection() || !keep_alive {
                break;
            }
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_under_load_answers_every_request() {
    let dir = TempDir::new("ending");
    dir.write("policy.yaml", UNLIMITED);
    let flags = ["--shutdown-delay", "1s", "--listen-ops", "127.0.0.1:0"];
    let mut process = start_program(&dir, &flags).await;
    let is_ready = Arc::new(AtomicBool::new(true));
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let request =
                if n % 2 == 0 { get("/v1/policy") } else { post("/v1/quotes", "", &job("load", "search")) };
            tokio::spawn(load(process.address, request, n % 4 < 2, Arc::clone(&is_ready)))
        })
        .collect();
    let ops = process.ops.unwrap();
    wait_until("the server to be busy", async || {
        let metrics = runway_testing::wire::exchange(ops, get("/metrics")).await.text();
        runway_testing::wire::metric(
            &metrics,
            r#"runway_http_requests_total{method="POST",route="/v1/quotes",status="200"}"#,
        ) > 100
    })
    .await;
    process.signal(Signal::TERM);
    // The server reports that it is not ready while it still accepts requests.
    wait_until("the server not to be ready", async || {
        let mut probe = RawConnection::connect(ops).await.unwrap();
        probe.exchange(get("/readyz")).await.text().contains("shutting down")
    })
    .await;
    is_ready.store(false, Ordering::SeqCst);
    let mut counts = ClientCounts::default();
    for client in clients {
        let ClientCounts { answers, lost } = client.await.unwrap();
        assert!(answers > 0);
        counts.answers += answers;
        counts.lost += lost;
    }
    assert_eq!(counts.lost, 0, "{counts:?}");
    let status = process.wait_for_exit().await;
    assert_eq!(status.code(), Some(0), "{:#?}", process.log());
    assert!(process.log().last().unwrap().contains("all in-flight requests were answered"));
}

#[tokio::test]
async fn second_signal_exits_at_once() {
    let dir = TempDir::new("second");
    dir.write("policy.yaml", UNLIMITED);
    let mut process = start_program(&dir, &["--shutdown-delay", "1h"]).await;
    process.signal(Signal::INT);
    process
        .wait_for_log("the shutdown", |line| {
            line["message"].as_str()?.starts_with("shutdown signal").then_some(())
        })
        .await;
    process.signal(Signal::TERM);
    assert_eq!(process.wait_for_exit().await.code(), Some(1));
}

#[tokio::test]
async fn shutdown_waits_for_submissions_not_for_idle_connections() {
    let server = TestServer::start().await;
    server.create_gate.send_replace(false);
    let mut idle = RawConnection::connect(server.address).await.unwrap();
    assert_eq!(idle.exchange(get("/healthz")).await.status, 200);
    let mut submitting = RawConnection::connect(server.address).await.unwrap();
    submitting.send(post("/v1/jobs", "", &job("working", "search"))).await.unwrap();
    wait_until("the submission to be in flight", async || {
        server.metric("runway_creations_pending").await == 1
    })
    .await;
    server.shut_down();
    assert!(idle.closed_without_data().await);
    server.create_gate.send_replace(true);
    let answer = submitting.response().await.unwrap();
    assert_eq!(answer.status, 201);
    assert!(answer.closes_connection());
    assert!(server.finished().await);
}

/// A client that connects without a request must not delay the shutdown.
#[tokio::test]
async fn connections_without_a_request_are_closed_at_shutdown() {
    let server = TestServer::start().await;
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(RawConnection::connect(server.address).await.unwrap());
    }
    wait_until("the connections to be accepted", async || {
        server.metric("runway_http_connections").await > 50
    })
    .await;
    server.shut_down();
    for wire in &mut wires {
        assert!(wire.closed_without_data().await);
    }
    assert!(server.finished().await);
}

#[tokio::test]
async fn shutdown_stops_waiting_at_the_drain_timeout() {
    let server = TestServer::with(|setup| setup.connections.drain_timeout = SHORT_TIMEOUT).await;
    server.create_gate.send_replace(false);
    let mut stuck = RawConnection::connect(server.address).await.unwrap();
    stuck.send(post("/v1/jobs", "", &job("stuck", "search"))).await.unwrap();
    wait_until("the submission to be in flight", async || {
        server.metric("runway_creations_pending").await == 1
    })
    .await;
    let began = Instant::now();
    server.shut_down();
    assert!(!server.finished().await);
    assert!(
        (SHORT_TIMEOUT..SHORT_TIMEOUT + Duration::from_secs(2)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

/// The shutdown completes even if clients keep connecting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_do_not_delay_shutdown() {
    let server = TestServer::start().await;
    let address = server.address;
    let clients: Vec<_> = (0..32)
        .map(|_| tokio::spawn(async move { while RawConnection::connect(address).await.is_ok() {} }))
        .collect();
    wait_until("the clients to connect", async || server.metric("runway_http_connections").await > 0).await;
    server.shut_down();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.finished()).await;
    assert!(ended.is_ok());
    for client in clients {
        client.await.unwrap();
    }
}
