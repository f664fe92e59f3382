//! Log readers: their limit, slow readers, and disconnects.

use crate::harness::TestServer;
use runway_testing::wire::{RawConnection, get, job, post, wait_until};
use std::time::Duration;

async fn submit(server: &TestServer, name: &str) -> String {
    let answer = server.exchange(post("/v1/jobs", "", &job(name, "search"))).await;
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn disconnected_log_reader_releases_its_permit() {
    let server = TestServer::with(|setup| setup.requests.max_log_readers = 3).await;
    let id = submit(&server, "silent").await;
    let logs = get(&format!("/v1/jobs/{id}/logs?follow=true"));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        wire.send(&logs).await.unwrap();
        assert_eq!(wire.head().await.unwrap().status, 200);
        assert_eq!(wire.chunk().await.unwrap().unwrap(), b"one line\n");
        readers.push(wire);
    }
    let fourth = server.exchange(&logs).await;
    assert_eq!((fourth.problem().as_str(), fourth.header("retry-after")), ("overloaded", Some("5")));
    assert_eq!((server.open_log_streams(), server.metric("runway_log_readers").await), (3, 3));
    // Log readers do not count as requests in progress.
    assert_eq!(server.metric("runway_http_requests_in_progress").await, 0);
    readers.clear();
    wait_until("the streams to be dropped", async || server.open_log_streams() == 0).await;
    assert_eq!(server.metric("runway_log_readers").await, 0);
    let mut again = RawConnection::connect(server.address).await.unwrap();
    again.send(&logs).await.unwrap();
    assert_eq!(again.head().await.unwrap().status, 200);
}

#[tokio::test]
async fn stalled_log_reader_gets_backpressure() {
    let server = TestServer::start().await;
    let id = submit(&server, "chatty").await;
    let logs = get(&format!("/v1/jobs/{id}/logs?follow=true"));
    let mut wire = RawConnection::connect(server.address).await.unwrap();
    wire.send(&logs).await.unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    // The stalled reader does not block other readers and requests.
    let mut quick = RawConnection::connect(server.address).await.unwrap();
    quick.send(&logs).await.unwrap();
    quick.head().await.unwrap();
    let mut read = 0;
    while read < 8 * 1024 * 1024 {
        read += quick.chunk().await.unwrap().unwrap().len();
    }
    drop(quick);
    assert_eq!(server.exchange(get("/healthz")).await.status, 200);
    assert_eq!(wire.chunk().await.unwrap().unwrap().len(), 16 * 1024);
    drop(wire);
    wait_until("the streams to be dropped", async || server.open_log_streams() == 0).await;
}

#[tokio::test]
async fn shutdown_ends_followed_logs_without_a_last_chunk() {
    let server = TestServer::start().await;
    let id = submit(&server, "silent").await;
    let mut wire = RawConnection::connect(server.address).await.unwrap();
    wire.send(get(&format!("/v1/jobs/{id}/logs?follow=true"))).await.unwrap();
    wire.head().await.unwrap();
    wire.chunk().await.unwrap();
    server.shut_down();
    // Without the last chunk, the client cannot mistake the interruption for the end of the job.
    let rest = tokio::time::timeout(Duration::from_secs(5), wire.chunk()).await.unwrap();
    assert!(rest.is_err(), "{rest:?}");
    assert!(server.finished().await);
}
