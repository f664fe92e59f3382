//! All error responses are problem details (RFC 9457), including those that the framework creates.

use crate::harness::{Harness, POLICY, job};
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use runway_control::fake::Response as Reply;
use runway_http::RequestLimits;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn unknown_path_is_404_and_unknown_method_is_405() {
    let harness = Harness::new().await;
    for path in ["/nowhere", "/v1", "/v1/jobs/", "/v2/jobs", "/v1/jobs/a/b", "/healthz/x"] {
        harness.get(path).await.expect_problem(404, "not-found");
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
        let answer = harness.send(request).await;
        answer.expect_problem(405, "method-not-allowed");
        let mut allow: Vec<_> = answer.header("allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn unsupported_media_type_is_415() {
    let harness = Harness::new().await;
    for media in
        ["", "text/plain", "application/jsonx", "application/x-www-form-urlencoded", "multipart/form-data"]
    {
        for path in ["/v1/jobs", "/v1/quotes"] {
            let answer = harness.post(path, "{}", &[("content-type", media)]).await;
            answer.expect_problem(415, "unsupported-media-type");
            assert_eq!(answer.header("accept"), "application/json, application/yaml");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_body_is_415() {
    let harness = Harness::new().await;
    let body = || job("a", "listed").to_string();
    for coding in ["gzip", "br", "identity, gzip", "GZIP"] {
        for path in ["/v1/jobs", "/v1/quotes"] {
            let answer = harness.post(path, body(), &[("content-encoding", coding)]).await;
            let problem = answer.expect_problem(415, "unsupported-media-type");
            assert!(problem["detail"].as_str().unwrap().contains("Content-Encoding"), "{problem}");
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    for coding in ["identity", "Identity"] {
        let answer = harness.post("/v1/jobs", body(), &[("content-encoding", coding)]).await;
        assert_eq!(answer.status, 201, "{coding}");
    }
}

#[tokio::test(start_paused = true)]
async fn unparsable_body_is_400() {
    let harness = Harness::new().await;
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
            let answer = harness.post(path, body.to_vec(), &[("content-type", media)]).await;
            let problem = answer.expect_problem(400, "malformed");
            assert_eq!(problem["violations"].as_array().unwrap().len(), violations, "{problem}");
        }
    }
    for body in ["", " \n"] {
        let problem = harness.post("/v1/jobs", body, &[]).await.expect_problem(400, "malformed");
        assert_eq!(problem["detail"], "the body is empty");
        let yaml = harness.post("/v1/jobs", body, &[("content-type", "application/yaml")]).await;
        let problem = yaml.expect_problem(400, "malformed");
        assert_eq!(problem["detail"], "the document is empty; expected a mapping");
    }
    // These bodies are valid JSON, but not valid jobs, so the response lists violations.
    for body in ["[]", "null", "3", "\"text\""] {
        let problem = harness.post("/v1/jobs", body, &[]).await.expect_problem(400, "malformed");
        assert!(!problem["violations"].as_array().unwrap().is_empty(), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_above_the_size_limit_is_413() {
    let harness =
        Harness::with_limits(POLICY, RequestLimits { max_body_bytes: 1000, ..RequestLimits::default() })
            .await;
    let padded = |length: usize| {
        let text = job("a", "listed").to_string();
        let padding = " ".repeat(length - text.len());
        text + &padding
    };
    assert_eq!(harness.post("/v1/jobs", padded(1000), &[]).await.status, 201);
    let answer = harness.post("/v1/jobs", padded(1001), &[]).await;
    answer.expect_problem(413, "body-too-large");
    assert_eq!(answer.header("connection"), "close");
    // The body arrives in chunks, without a `Content-Length`.
    let pieces = |text: String| {
        let pieces: Vec<_> = text
            .into_bytes()
            .chunks(100)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        Body::from_stream(futures::stream::iter(pieces))
    };
    assert_eq!(harness.post("/v1/jobs", pieces(padded(1000)), &[]).await.status, 201);
    harness.post("/v1/jobs", pieces(padded(1001)), &[]).await.expect_problem(413, "body-too-large");
    harness.post("/v1/jobs", pieces(padded(10_000_000)), &[]).await.expect_problem(413, "body-too-large");
}

#[tokio::test(start_paused = true)]
async fn endless_body_is_408_and_truncated_body_is_400() {
    let harness = Harness::new().await;
    let began = tokio::time::Instant::now();
    let endless = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = harness.post("/v1/jobs", endless, &[]).await;
    answer.expect_problem(408, "body-timeout");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    let error = std::io::Error::other("reset");
    let cut = Body::from_stream(futures::stream::iter([Ok(Bytes::from("{")), Err(error)]));
    harness.post("/v1/jobs", cut, &[]).await.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn slow_response_is_503() {
    let limits = RequestLimits { request_timeout: Duration::from_secs(3), ..RequestLimits::default() };
    let harness = Harness::with_limits(POLICY, limits).await;
    harness.faults.set_response(Reply::RequestLost);
    let answer = harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    answer.expect_problem(503, "timed-out");
}

#[tokio::test(start_paused = true)]
async fn request_id_and_trace_are_returned() {
    let harness = Harness::new().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("/v1/jobs/x").header("x-request-id", "mine-1").header("traceparent", parent);
    let answer = harness.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.expect_problem(404, "not-found")["instance"], "mine-1");
    let trace = answer.header("traceparent");
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace != parent, "{trace}");
    let ours = harness.get("/healthz").await;
    assert_eq!(ours.header("x-request-id").len(), 32);
    assert_ne!(ours.header("x-request-id"), harness.get("/healthz").await.header("x-request-id"));
    let both = Request::post("/v1/jobs").header("content-length", "5").header("transfer-encoding", "chunked");
    harness.send(both.body(Body::empty()).unwrap()).await.expect_problem(400, "malformed");
}
