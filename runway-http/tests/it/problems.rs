//! All errors are problem details (RFC 9457), including those of the framework.

use crate::bed::{Bed, POLICY, job};
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use runway_control::fake::Answer as Reply;
use runway_http::RequestLimits;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn nothing_there_and_nothing_to_be_done_there() {
    let bed = Bed::new().await;
    for path in ["/nowhere", "/v1", "/v1/jobs/", "/v2/jobs", "/v1/jobs/a/b", "/healthz/x"] {
        bed.get(path).await.problem(404, "not-found");
    }
    for (method, path, allowed) in [
        (Method::PUT, "/v1/jobs", "GET,HEAD,POST"),
        (Method::PATCH, "/v1/jobs/000000000000", "DELETE,GET,HEAD"),
        (Method::GET, "/v1/quotes", "POST"),
        (Method::POST, "/v1/policy", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::OPTIONS, "/v1/jobs", "GET,HEAD,POST"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = bed.send(request).await;
        answer.problem(405, "method-not-allowed");
        let mut allow: Vec<_> = answer.header("allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_kind() {
    let bed = Bed::new().await;
    for media in
        ["", "text/plain", "application/jsonx", "application/x-www-form-urlencoded", "multipart/form-data"]
    {
        for path in ["/v1/jobs", "/v1/quotes"] {
            bed.post(path, "{}", &[("content-type", media)]).await.problem(415, "unsupported-media-type");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_read() {
    let bed = Bed::new().await;
    for (media, body, violations) in [
        ("application/json", &b"{"[..], 1),
        ("application/json", b"", 0),
        ("application/json", b"name: a", 0),
        ("application/json", b"{\"name\": \"a\", \"name\": \"b\"}", 1),
        ("application/json", b"{\"name\": \"\xff\"}", 1),
        ("application/yaml", b"name: [", 1),
        ("application/yaml", b"a: 1\n---\nb: 2\n", 0),
    ] {
        for path in ["/v1/jobs", "/v1/quotes"] {
            let answer = bed.post(path, body.to_vec(), &[("content-type", media)]).await;
            let problem = answer.problem(400, "malformed");
            assert_eq!(problem["violations"].as_array().unwrap().len(), violations, "{problem}");
        }
    }
    // These bodies can be parsed, so the response lists violations.
    for body in ["[]", "null", "3", "\"text\""] {
        let problem = bed.post("/v1/jobs", body, &[]).await.problem(400, "malformed");
        assert!(!problem["violations"].as_array().unwrap().is_empty(), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_at_the_edge_of_what_is_read() {
    let bed = Bed::with(POLICY, RequestLimits { body_bytes: 1000, ..RequestLimits::default() }).await;
    let padded = |length: usize| {
        let text = job("a", "listed").to_string();
        let padding = " ".repeat(length - text.len());
        text + &padding
    };
    assert_eq!(bed.post("/v1/jobs", padded(1000), &[]).await.status, 201);
    let answer = bed.post("/v1/jobs", padded(1001), &[]).await;
    answer.problem(413, "body-too-large");
    assert_eq!(answer.header("connection"), "close");
    // In chunks, without a `Content-Length`.
    let pieces = |text: String| {
        let pieces: Vec<_> = text
            .into_bytes()
            .chunks(100)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        Body::from_stream(futures::stream::iter(pieces))
    };
    assert_eq!(bed.post("/v1/jobs", pieces(padded(1000)), &[]).await.status, 201);
    bed.post("/v1/jobs", pieces(padded(1001)), &[]).await.problem(413, "body-too-large");
    bed.post("/v1/jobs", pieces(padded(10_000_000)), &[]).await.problem(413, "body-too-large");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_and_one_that_is_cut_off() {
    let bed = Bed::new().await;
    let began = tokio::time::Instant::now();
    let endless = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = bed.post("/v1/jobs", endless, &[]).await;
    answer.problem(408, "body-timeout");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    let error = std::io::Error::other("reset");
    let cut = Body::from_stream(futures::stream::iter([Ok(Bytes::from("{")), Err(error)]));
    bed.post("/v1/jobs", cut, &[]).await.problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long() {
    let limits = RequestLimits { request_timeout: Duration::from_secs(3), ..RequestLimits::default() };
    let bed = Bed::with(POLICY, limits).await;
    bed.faults.set_answer(Reply::NeverArrived);
    let answer = bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    answer.problem(503, "timed-out");
}

#[tokio::test(start_paused = true)]
async fn requests_are_named_in_both_directions() {
    let bed = Bed::new().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("/v1/jobs/x").header("x-request-id", "mine-1").header("traceparent", parent);
    let answer = bed.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.problem(404, "not-found")["instance"], "mine-1");
    let trace = answer.header("traceparent");
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace != parent, "{trace}");
    let ours = bed.get("/healthz").await;
    assert_eq!(ours.header("x-request-id").len(), 32);
    assert_ne!(ours.header("x-request-id"), bed.get("/healthz").await.header("x-request-id"));
    let both = Request::post("/v1/jobs").header("content-length", "5").header("transfer-encoding", "chunked");
    bed.send(both.body(Body::empty()).unwrap()).await.problem(400, "malformed");
}
