//! Clients that do not read their responses, and clients with many connections.

use crate::harness::{SHORT_TIMEOUT, TestServer};
use runway_testing::wire::{RawConnection, get, job, post, wait_until};
use tokio::net::TcpSocket;

#[tokio::test]
async fn client_that_does_not_read_is_disconnected() {
    let server = TestServer::with(|setup| setup.connections.write_timeout = SHORT_TIMEOUT).await;
    let mut stalled = RawConnection::connect(server.address).await.unwrap();
    // The responses are larger than the buffers of both sides.
    stalled.send(get("/openapi.json").repeat(500)).await.unwrap();
    wait_until("the request to be handled", async || {
        let requests = r#"runway_http_requests_total{method="GET",route="/openapi.json",status="200"}"#;
        server.metric(requests).await > 0
    })
    .await;
    wait_until("the connection to be closed", async || server.metric("runway_http_connections").await == 1)
        .await;
}

#[tokio::test]
async fn stalled_log_reader_is_not_disconnected_early() {
    let server = TestServer::with(|setup| setup.connections.write_timeout = SHORT_TIMEOUT).await;
    let id = server.exchange(post("/v1/jobs", "", &job("chatty", "search"))).await.json()["id"].clone();
    let mut reader = RawConnection::connect(server.address).await.unwrap();
    reader.send(get(&format!("/v1/jobs/{}/logs?follow=true", id.as_str().unwrap()))).await.unwrap();
    assert_eq!(reader.head().await.unwrap().status, 200);
    tokio::time::sleep(4 * SHORT_TIMEOUT).await;
    let mut read = 0;
    while read < 32 * 1024 * 1024 {
        read += reader.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn one_address_cannot_hold_all_connections() {
    let server = TestServer::with(|setup| {
        setup.connections.max_connections = 4;
        setup.connections.max_client_connections = 3;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        assert_eq!(wire.exchange(get("/healthz")).await.status, 200);
        open.push(wire);
    }
    let mut rejected = RawConnection::connect(server.address).await.unwrap();
    assert!(rejected.closed_without_data().await);
    // A client with another address is answered.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = RawConnection::new(socket.connect(server.address).await.unwrap());
    assert_eq!(other.exchange(get("/healthz")).await.status, 200);
    drop(open.pop());
    wait_until("a connection of the first client to be accepted", async || {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        let sent = wire.send(get("/healthz")).await;
        sent.is_ok() && wire.response().await.is_some_and(|answer| answer.status == 200)
    })
    .await;
}
