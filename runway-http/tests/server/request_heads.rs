//! Request heads: number and size of headers, malformed and slow heads.

use crate::harness::{SHORT_TIMEOUT, TestServer};
use runway_testing::wire::{RawConnection, get, job, post, request, wait_until};
use std::time::{Duration, Instant};

fn quote_with(headers: &str) -> String {
    post("/v1/quotes", headers, &job("heads", "search"))
}

#[tokio::test]
async fn head_with_more_than_100_headers_is_431() {
    let server = TestServer::start().await;
    let with = |count: usize| request("GET", "/healthz", &"A: b\r\n".repeat(count - 1), "");
    assert_eq!(server.exchange(with(100)).await.status, 200);
    let answer = server.exchange(with(101)).await;
    assert_eq!(answer.status, 431);
    assert!(answer.closes_connection(), "{answer:?}");
}

#[tokio::test]
async fn heads_up_to_64_kib_are_accepted() {
    let server = TestServer::start().await;
    let bare = request("GET", "/healthz", "A: \r\n", "").len();
    let with = |bytes: usize| request("GET", "/healthz", &format!("A: {}\r\n", "x".repeat(bytes - bare)), "");
    assert_eq!(with(64 * 1024).len(), 64 * 1024);
    assert_eq!(server.exchange(with(64 * 1024)).await.status, 200);
    assert_eq!(server.exchange(with(128 * 1024 + 1)).await.status, 431);
    let long = format!("/v1/jobs?continue={}", "x".repeat(128 * 1024));
    let answer = server.exchange(get(&long)).await;
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    // A path with its query can have 65,534 bytes. A longer one is rejected with 414, even if the server
    // accepts a head of this size.
    let with_path = |bytes: usize| get(&format!("/v1/jobs?continue={}", "x".repeat(bytes - 18)));
    assert_eq!(server.exchange(with_path(65_534)).await.problem(), "malformed");
    assert_eq!(server.exchange(with_path(65_535)).await.status, 414);
}

#[tokio::test]
async fn malformed_head_is_400_on_new_and_used_connections() {
    let server = TestServer::start().await;
    for bad in ["\u{1}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n"] {
        let answer = server.exchange(bad).await;
        assert_eq!(answer.status, 400, "{bad:?} {answer:?}");
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        assert_eq!(wire.exchange(get("/healthz")).await.status, 200);
        let answer = wire.exchange(bad).await;
        assert_eq!((answer.status, answer.closes_connection()), (400, true), "{bad:?}");
        // The client sends the valid and the malformed request in one write.
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        wire.send(format!("{}{bad}", get("/healthz"))).await.unwrap();
        assert_eq!(wire.response().await.unwrap().status, 200);
        assert_eq!(wire.response().await.unwrap().status, 400, "{bad:?}");
    }
}

/// Sends each of these headers in three requests: repeated, empty, and with a value of 60 KiB.
#[tokio::test]
async fn repeated_and_huge_headers_never_cause_500() {
    let server = TestServer::start().await;
    let huge = "x".repeat(60 * 1024);
    let strict = ["X-Tenant-ID", "Idempotency-Key", "Content-Type", "Host"];
    let lenient = [
        "X-Request-ID",
        "traceparent",
        "Accept",
        "If-None-Match",
        "Authorization",
        "Cookie",
        "User-Agent",
        "Expect",
        "Connection",
        "Upgrade",
        "TE",
        "Range",
        "Origin",
        "Forwarded",
        "X-Forwarded-For",
        "X-HTTP-Method-Override",
    ];
    for name in strict.into_iter().chain(lenient) {
        let values =
            [format!("{name}: a\r\n{name}: b\r\n"), format!("{name}:\r\n"), format!("{name}: {huge}\r\n")];
        for value in values {
            for route in ["/v1/jobs", "/v1/quotes"] {
                let answer = server.exchange(post(route, &value, &job("heads", "search"))).await;
                let shown = &value[..value.len().min(60)];
                assert!((200..500).contains(&answer.status), "{shown:?}: {answer:?}");
                if lenient.contains(&name) && !["Expect", "Upgrade"].contains(&name) {
                    assert!(answer.status < 300, "{shown:?}: {answer:?}");
                }
            }
        }
    }
    for (header, problem) in [
        ("X-Tenant-ID: search\r\nX-Tenant-ID: search\r\n", "malformed"),
        ("X-Tenant-ID: other\r\n", "malformed"),
        ("Idempotency-Key: a\r\nIdempotency-Key: a\r\n", "malformed"),
        ("Idempotency-Key: \r\n", "malformed"),
        ("Content-Type: application/yaml\r\n", "unsupported-media-type"),
    ] {
        let answer = server.exchange(post("/v1/jobs", header, &job("heads", "search"))).await;
        assert_eq!(answer.problem(), problem, "{header}");
    }
    let key = |length: usize| {
        post("/v1/jobs", &format!("Idempotency-Key: {}\r\n", "k".repeat(length)), &job("heads", "search"))
    };
    assert_eq!(server.exchange(key(255)).await.status, 201);
    assert_eq!(server.exchange(key(256)).await.problem(), "malformed");
}

#[tokio::test]
async fn slow_head_closes_the_connection() {
    let server = TestServer::with(|setup| setup.connections.header_timeout = SHORT_TIMEOUT).await;
    for sent in
        ["", "G", "GET /healthz HTTP/1.1\r\nHost: runway\r\n", "GET /healthz HTTP/1.1\r\nHost: runway\r\nA: "]
    {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        let started = Instant::now();
        wire.send(sent).await.unwrap();
        wire.closed_without_data().await;
        let took = started.elapsed();
        assert!((SHORT_TIMEOUT..SHORT_TIMEOUT + Duration::from_secs(2)).contains(&took), "{sent:?} {took:?}");
    }
    // The timeout also applies to idle connections, and to clients that send one byte at a time.
    let mut idle = RawConnection::connect(server.address).await.unwrap();
    assert_eq!(idle.exchange(get("/healthz")).await.status, 200);
    assert!(idle.closed_without_data().await);
    let mut drip = RawConnection::connect(server.address).await.unwrap();
    for byte in get("/healthz").as_bytes() {
        if drip.send([*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(SHORT_TIMEOUT / 10).await;
    }
    assert!(drip.response().await.is_none());
    wait_until("the connections to be gone", async || server.metric("runway_http_connections").await == 1)
        .await;
}

#[tokio::test]
async fn header_names_are_case_insensitive() {
    let server = TestServer::start().await;
    for headers in ["x-tenant-id: search\r\n", "X-TENANT-ID: search\r\n", "A: b\r\nX-Tenant-Id:search\r\n"] {
        let answer = server.exchange(quote_with(headers)).await;
        assert_eq!(answer.status, 200, "{headers}");
        assert_eq!(answer.json()["admitted"], true, "{}", answer.text());
    }
}
