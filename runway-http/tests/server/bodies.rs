//! Request bodies: large, slow, truncated and invalid bodies.

use crate::harness::{SHORT_TIMEOUT, TestServer};
use runway_testing::wire::{RawConnection, get, job, metric, post, request, wait_until};
use std::time::{Duration, Instant};

const LIMIT: usize = 256 * 1024;

/// Returns a job in JSON, padded with spaces to the given number of bytes.
fn padded(bytes: usize) -> String {
    let job = job("bodies", "search");
    format!("{job}{}", " ".repeat(bytes - job.len()))
}

/// Returns a chunked request with this body.
fn chunked(route: &str, body: &str) -> String {
    let mut request = format!(
        "POST {route} HTTP/1.1\r\nHost: runway\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for piece in body.as_bytes().chunks(10_000) {
        request += &format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
    }
    request + "0\r\n\r\n"
}

#[tokio::test]
async fn bodies_up_to_256_kib_are_accepted() {
    let server = TestServer::start().await;
    for make in [|route: &str, body: &str| post(route, "", body), chunked] {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        let answer = wire.exchange(make("/v1/quotes", &padded(LIMIT))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.closes_connection());
        let answer = wire.exchange(make("/v1/quotes", &padded(LIMIT + 1))).await;
        assert_eq!(answer.problem(), "body-too-large");
        assert!(answer.closes_connection());
        assert!(wire.closed_without_data().await);
    }
}

#[tokio::test]
async fn client_of_oversized_body_receives_413() {
    let server = TestServer::start().await;
    for make in [|route: &str, body: &str| post(route, "", body), chunked] {
        for route in ["/v1/quotes", "/v1/jobs"] {
            let mut wire = RawConnection::connect(server.address).await.unwrap();
            assert_eq!(
                wire.exchange(make(route, &padded(10_000_000))).await.problem(),
                "body-too-large",
                "{route}"
            );
        }
    }
    // With `Expect: 100-continue`, a client sends only the head and waits. The server rejects the body
    // because of its `Content-Length`.
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: runway\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        10_000_000
    );
    let answer = server.exchange(head).await;
    assert_eq!(answer.problem(), "body-too-large");
    // If the response does not depend on the body, a client of an oversized body receives that response.
    for method in ["GET", "DELETE", "PUT"] {
        let answer = server.exchange(request(method, "/v1/policy", "", &padded(10_000_000))).await;
        assert_eq!(answer.status, if method == "GET" { 200 } else { 405 });
    }
    let metrics = server.metrics().await;
    assert_eq!(metric(&metrics, r#"runway_submissions_total{outcome="unreadable",code=""}"#), 3);
    let large = |route: &str| {
        metric(
            &metrics,
            &format!(r#"runway_http_requests_total{{method="POST",route="{route}",status="413"}}"#),
        )
    };
    assert_eq!((large("/v1/quotes"), large("/v1/jobs")), (2, 3));
    assert_eq!(server.exchange(post("/v1/jobs", "", &job("after", "search"))).await.status, 201);
}

#[tokio::test]
async fn stalled_body_is_408_and_truncated_body_is_400() {
    let server = TestServer::with(|setup| setup.requests.body_timeout = SHORT_TIMEOUT).await;
    let whole = post("/v1/jobs", "", &job("half", "search"));
    let chunks = chunked("/v1/jobs", &job("half", "search"));
    for sent in [&whole[..whole.len() - 1], &chunks[..chunks.len() - 1], &chunks[..chunks.len() - 7]] {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        let began = Instant::now();
        wire.send(sent).await.unwrap();
        let answer = wire.response().await.unwrap();
        assert_eq!(answer.problem(), "body-timeout");
        assert!((SHORT_TIMEOUT..SHORT_TIMEOUT + Duration::from_secs(2)).contains(&began.elapsed()));
        assert!(answer.closes_connection() && wire.closed_without_data().await);
    }
    // The client closes its write half before the body is complete. If it receives a response, that is a 400.
    for sent in [&whole[..whole.len() - 1], &chunks[..chunks.len() - 7]] {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        wire.send(sent).await.unwrap();
        wire.shut_down_write().await.unwrap();
        if let Some(answer) = wire.response().await {
            assert_eq!(answer.problem(), "malformed");
        }
    }
    assert!(server.cluster.created_jobs().is_empty());
    wait_until("all submissions to be counted", async || {
        server.metric(r#"runway_submissions_total{outcome="unreadable",code=""}"#).await == 5
    })
    .await;
    assert_eq!(server.metric("runway_http_requests_in_progress").await, 0);
    assert_eq!(server.exchange(get("/v1/jobs")).await.json()["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn bodies_that_are_not_jobs_are_rejected() {
    let server = TestServer::start().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bombs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    let began = Instant::now();
    for body in ["", " ", "null", "[]", "{", "\"\"", "0", "{}{}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", &deep]
    {
        let answer =
            server.exchange(request("POST", "/v1/jobs", "Content-Type: application/json\r\n", body)).await;
        assert_eq!(answer.problem(), "malformed", "{:?}", &body[..body.len().min(40)]);
    }
    for body in [bombs, "---\n---\n", "a: 1\n---\nb: 2\n", "!!binary x", &deep] {
        let answer =
            server.exchange(request("POST", "/v1/jobs", "Content-Type: application/yaml\r\n", body)).await;
        assert_eq!(answer.problem(), "malformed", "{:?}", &body[..body.len().min(40)]);
    }
    for media in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
        "Content-Type: \u{e9}\r\n",
    ] {
        let answer = server.exchange(request("POST", "/v1/jobs", media, &job("media", "search"))).await;
        assert_eq!(answer.problem(), "unsupported-media-type", "{media}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
