//! Requests whose end is ambiguous (request smuggling). A proxy and the server behind it could disagree about
//! the end of such a request. So the server must reject it, or close the connection after its response.

use crate::harness::TestServer;
use runway_testing::wire::{RawConnection, get, job, metric, post};

/// A second request, hidden in the body of the ambiguous request. The server must never respond to it.
const SMUGGLED: &str = "DELETE /v1/jobs/smuggled0000 HTTP/1.1\r\nHost: runway\r\n\r\n";

/// Sends a head and a body that hides a second request. Returns the statuses of all responses.
async fn statuses(server: &TestServer, head: &str, body: &str) -> Vec<u16> {
    let mut wire = RawConnection::connect(server.address).await.unwrap();
    wire.send(format!("{head}\r\n\r\n{body}")).await.unwrap();
    wire.shut_down_write().await.unwrap();
    let mut statuses = Vec::new();
    while let Some(answer) = wire.response().await {
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test]
async fn ambiguous_framing_is_rejected_and_closes_the_connection() {
    let server = TestServer::start().await;
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    let long = format!("{:x}", u128::from(u64::MAX) + 1);
    let good = job("good", "search");
    let good = format!("{:x}\r\n{good}\r\n0\r\n\r\n{SMUGGLED}", good.len());
    let quote = "POST /v1/quotes HTTP/1.1\r\nHost: runway\r\nContent-Type: application/json";
    let shapes: Vec<(&str, String, String)> = vec![
        (
            "length and chunks",
            format!("{quote}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
            chunked.clone(),
        ),
        (
            "chunks and length",
            format!("{quote}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5"),
            chunked.clone(),
        ),
        (
            "chunked twice",
            format!("{quote}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            good.clone(),
        ),
        (
            "chunked twice in one header",
            format!("{quote}\r\nTransfer-Encoding: chunked, chunked"),
            good.clone(),
        ),
        ("compressed, and chunked", format!("{quote}\r\nTransfer-Encoding: gzip, chunked"), good.clone()),
        (
            "two lengths",
            format!("{quote}\r\nContent-Length: 0\r\nContent-Length: 5"),
            format!("12345{SMUGGLED}"),
        ),
        ("two lengths in one header", format!("{quote}\r\nContent-Length: 0, 5"), format!("12345{SMUGGLED}")),
        ("length with a sign", format!("{quote}\r\nContent-Length: +0"), SMUGGLED.to_owned()),
        ("negative length", format!("{quote}\r\nContent-Length: -1"), SMUGGLED.to_owned()),
        ("length in hex", format!("{quote}\r\nContent-Length: 0x5"), format!("12345{SMUGGLED}")),
        ("length with a space inside", format!("{quote}\r\nContent-Length: 1 0"), format!("1{SMUGGLED}")),
        (
            "length beyond 64 bits",
            format!("{quote}\r\nContent-Length: 18446744073709551616"),
            SMUGGLED.to_owned(),
        ),
        ("xchunked", format!("{quote}\r\nTransfer-Encoding: xchunked"), chunked.clone()),
        ("identity", format!("{quote}\r\nTransfer-Encoding: identity"), chunked.clone()),
        ("chunked not last", format!("{quote}\r\nTransfer-Encoding: chunked, identity"), chunked.clone()),
        (
            "chunked, with a tab in its name",
            format!("{quote}\r\nTransfer-Encoding: \u{b}chunked"),
            chunked.clone(),
        ),
        ("space before the colon", format!("{quote}\r\nTransfer-Encoding : chunked"), chunked.clone()),
        ("space before a name", format!("{quote}\r\n Transfer-Encoding: chunked"), chunked.clone()),
        ("folded value", format!("{quote}\r\nTransfer-Encoding:\r\n chunked"), chunked.clone()),
        ("folded header", format!("{quote}\r\nX-A: b\r\n c\r\nContent-Length: 0"), SMUGGLED.to_owned()),
        ("NUL in a value", format!("{quote}\r\nX-A: a\0b\r\nContent-Length: 0"), SMUGGLED.to_owned()),
        (
            "bare CR in a value",
            format!("{quote}\r\nX-A: a\rContent-Length: 5\r\nContent-Length: 0"),
            SMUGGLED.to_owned(),
        ),
        ("no name", format!("{quote}\r\n: value\r\nContent-Length: 0"), SMUGGLED.to_owned()),
        ("no colon", format!("{quote}\r\nTransfer-Encoding\r\nContent-Length: 0"), SMUGGLED.to_owned()),
        (
            "chunks of HTTP/1.0",
            quote.replace("1.1", "1.0") + "\r\nTransfer-Encoding: chunked",
            chunked.clone(),
        ),
        ("version 1.2", quote.replace("1.1", "1.2") + "\r\nContent-Length: 0", SMUGGLED.to_owned()),
        ("version 2.0", quote.replace("1.1", "2.0") + "\r\nContent-Length: 0", SMUGGLED.to_owned()),
        (
            "no version",
            "POST /v1/quotes\r\nHost: runway\r\nContent-Length: 0".to_owned(),
            SMUGGLED.to_owned(),
        ),
        ("two spaces", quote.replacen(' ', "  ", 1) + "\r\nContent-Length: 0", SMUGGLED.to_owned()),
        ("an invalid method", quote.replace("POST", "PO(T") + "\r\nContent-Length: 0", SMUGGLED.to_owned()),
        ("huge chunk", format!("{quote}\r\nTransfer-Encoding: chunked"), format!("{long}\r\n{SMUGGLED}")),
        (
            "huge chunk that wraps around",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("ffffffffffffffff\r\n{SMUGGLED}"),
        ),
        (
            "chunk size with a sign",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("+0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "chunk size 0x0",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("0x0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "negative chunk size",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("-1\r\n\r\n{SMUGGLED}"),
        ),
        ("no chunk size", format!("{quote}\r\nTransfer-Encoding: chunked"), format!("\r\n\r\n{SMUGGLED}")),
        (
            "chunk longer than its size",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("1\r\nabc\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "bare LF after a chunk's size",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("1\na\n0\n\n{SMUGGLED}"),
        ),
        (
            "huge chunk extension",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("1;{}\r\na\r\n0\r\n\r\n{SMUGGLED}", "x".repeat(64 * 1024)),
        ),
        (
            "endless trailers",
            format!("{quote}\r\nTransfer-Encoding: chunked"),
            format!("0\r\n{}\r\n{SMUGGLED}", "a: b\r\n".repeat(20_000)),
        ),
    ];
    for (what, head, body) in &shapes {
        let statuses = statuses(&server, head, body).await;
        assert!(statuses.len() <= 1, "{what}: {statuses:?}");
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{what}: {statuses:?}");
    }
    // If a request has both a `Content-Length` and chunks, the server uses the chunks. It never parses the
    // bytes after the last chunk as a request (RFC 9112, section 6.1).
    for both in
        ["Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked"]
    {
        assert_eq!(statuses(&server, &format!("{quote}\r\n{both}"), &good).await, [200], "{both}");
    }
    // No hidden request was handled, and the server still works.
    let metrics = server.metrics().await;
    assert!(!metrics.contains(r#"method="DELETE""#), "{metrics}");
    assert_eq!(server.exchange(post("/v1/jobs", "", &job("after", "search"))).await.status, 201);
}

#[tokio::test]
async fn unusual_but_valid_framing_is_accepted() {
    let server = TestServer::start().await;
    let job = job("clear", "search");
    let quote = "POST /v1/quotes HTTP/1.1\r\nHost: runway\r\nContent-Type: application/json";
    let size = format!("{:X}", job.len());
    let chunks = format!("{size}\r\n{job}\r\n0\r\n\r\n");
    let shapes = [
        ("capitals", format!("{quote}\r\nTransfer-Encoding: CHUNKED\r\n\r\n{chunks}")),
        (
            "an extension",
            format!("{quote}\r\nTransfer-Encoding: chunked\r\n\r\n{size};a=b\r\n{job}\r\n0\r\n\r\n"),
        ),
        (
            "a trailer",
            format!("{quote}\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{job}\r\n0\r\nA: b\r\n\r\n"),
        ),
        ("zeros", format!("{quote}\r\nTransfer-Encoding: chunked\r\n\r\n000{size}\r\n{job}\r\n000\r\n\r\n")),
        ("an empty line before", format!("\r\n{quote}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")),
        (
            "the same length twice",
            format!("{quote}\r\nContent-Length: {0}\r\nContent-Length: {0}\r\n\r\n{job}", job.len()),
        ),
    ];
    for (what, request) in shapes {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        // A second request follows directly. Its response shows that the server found the end of the first.
        let both = format!("{request}{}", get("/healthz"));
        let first = wire.exchange(both).await;
        assert_eq!(first.status, 200, "{what}: {}", first.text());
        assert_eq!(wire.response().await.unwrap().json()["status"], "ok", "{what}");
    }
    let metrics = server.metrics().await;
    let quotes = r#"runway_http_requests_total{method="POST",route="/v1/quotes",status="200"}"#;
    assert_eq!(metric(&metrics, quotes), 6);
}
