//! Shutdown: the server completes in-flight requests first.

use crate::bed::{Bed, SHORT};
use crate::process::{Folder, NOWHERE, Process};
use runway_testing::policies::ROOMY;
use runway_testing::wire::{Wire, get, job, post, until};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The results of one client.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    answers: usize,
    /// Requests without a response.
    lost: usize,
}

/// Sends requests until the server is not ready, like a load balancer. With `keep_alive`, uses a connection
/// until the server closes it.
async fn load(address: SocketAddr, request: String, keeps: bool, is_ready: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while is_ready.load(Ordering::SeqCst) {
        let mut wire = Wire::connect(address).await.unwrap();
        loop {
            if wire.send(&request).await.is_err() {
                seen.lost += 1;
                break;
            }
            let Some(answer) = wire.answer().await else {
                seen.lost += 1;
                break;
            };
            assert!(answer.status < 500, "{answer:?}");
            seen.answers += 1;
            if answer.closes() || !keeps {
                break;
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_under_load_it_loses_no_answer() {
    let folder = Folder::new("ending");
    let policy = folder.write("policy.yaml", ROOMY);
    let flags = ["--shutdown-delay", "1s", "--listen-ops", "127.0.0.1:0"];
    let mut process = Process::start(policy, folder.write("kubeconfig", NOWHERE), &flags).await;
    let is_ready = Arc::new(AtomicBool::new(true));
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let request =
                if n % 2 == 0 { get("/v1/policy") } else { post("/v1/quotes", "", &job("load", "search")) };
            tokio::spawn(load(process.address, request, n % 4 < 2, Arc::clone(&is_ready)))
        })
        .collect();
    let ops = process.ops.unwrap();
    until("the server to be busy", async || {
        let metrics = runway_testing::wire::ask(ops, get("/metrics")).await.text();
        runway_testing::wire::metric(
            &metrics,
            r#"runway_http_requests_total{method="POST",route="/v1/quotes",status="200"}"#,
        ) > 100
    })
    .await;
    process.signal(Signal::TERM);
    // The server reports that it is not ready while it still accepts requests.
    until("the server not to be ready", async || {
        let mut probe = Wire::connect(ops).await.unwrap();
        probe.ask(get("/readyz")).await.text().contains("shutting down")
    })
    .await;
    is_ready.store(false, Ordering::SeqCst);
    let mut seen = Seen::default();
    for client in clients {
        let Seen { answers, lost } = client.await.unwrap();
        assert!(answers > 0);
        seen.answers += answers;
        seen.lost += lost;
    }
    assert_eq!(seen.lost, 0, "{seen:?}");
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{:#?}", process.log());
    assert!(process.log().last().unwrap().contains("all in-flight requests were answered"));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new("second");
    let policy = folder.write("policy.yaml", ROOMY);
    let kubeconfig = folder.write("kubeconfig", NOWHERE);
    let mut process = Process::start(policy, kubeconfig, &["--shutdown-delay", "1h"]).await;
    process.signal(Signal::INT);
    process
        .said("the shutdown", |line| line["message"].as_str()?.starts_with("shutdown signal").then_some(()))
        .await;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_submission_under_way_is_answered_and_a_connection_at_rest_is_not_waited_for() {
    let bed = Bed::start().await;
    bed.creates.send_replace(false);
    let mut resting = Wire::connect(bed.address).await.unwrap();
    assert_eq!(resting.ask(get("/healthz")).await.status, 200);
    let mut working = Wire::connect(bed.address).await.unwrap();
    working.send(post("/v1/jobs", "", &job("working", "search"))).await.unwrap();
    until("the submission to be in flight", async || bed.metric("runway_creations_pending").await == 1).await;
    bed.shut_down();
    assert!(resting.ended().await);
    bed.creates.send_replace(true);
    let answer = working.answer().await.unwrap();
    assert_eq!(answer.status, 201);
    assert!(answer.closes());
    assert!(bed.end().await);
}

/// A client that connects without a request must not delay the shutdown.
#[tokio::test]
async fn connections_without_a_request_are_closed_at_shutdown() {
    let bed = Bed::start().await;
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(Wire::connect(bed.address).await.unwrap());
    }
    until("the connections to be accepted", async || bed.metric("runway_http_connections").await > 50).await;
    bed.shut_down();
    for wire in &mut wires {
        assert!(wire.ended().await);
    }
    assert!(bed.end().await);
}

#[tokio::test]
async fn what_takes_too_long_is_not_waited_for() {
    let bed = Bed::with(|setup| setup.connections.drain_timeout = SHORT).await;
    bed.creates.send_replace(false);
    let mut stuck = Wire::connect(bed.address).await.unwrap();
    stuck.send(post("/v1/jobs", "", &job("stuck", "search"))).await.unwrap();
    until("the submission to be in flight", async || bed.metric("runway_creations_pending").await == 1).await;
    let began = Instant::now();
    bed.shut_down();
    assert!(!bed.end().await);
    assert!((SHORT..SHORT + Duration::from_secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

/// The shutdown completes even if clients keep connecting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_do_not_keep_it_from_ending() {
    let bed = Bed::start().await;
    let address = bed.address;
    let crowd: Vec<_> =
        (0..32).map(|_| tokio::spawn(async move { while Wire::connect(address).await.is_ok() {} })).collect();
    until("the clients to connect", async || bed.metric("runway_http_connections").await > 0).await;
    bed.shut_down();
    let ended = tokio::time::timeout(Duration::from_secs(10), bed.end()).await;
    assert!(ended.is_ok());
    for client in crowd {
        client.await.unwrap();
    }
}
