//! `GET /v1/jobs/{id}/logs`.

use crate::harness::{Harness, POLICY, job};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use runway_http::RequestLimits;
use std::time::Duration;
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn followed_log_streams_until_the_job_finishes() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}/logs");
    let early = harness.get(&path).await;
    early.expect_problem(409, "conflict");
    assert_eq!(early.header("retry-after"), "1");
    let whole = harness.get(&format!("{path}?follow=true")).await;
    assert_eq!(whole.bytes, b"a begins\na ends\n");
    assert_eq!(whole.header("content-type"), "text/plain; charset=utf-8");
    let framed = harness.get(&format!("{path}?follow=true&framed=true")).await;
    assert_eq!(framed.bytes, b"attempt 1\nbytes 9\na begins\nbytes 7\na ends\n");
    assert_eq!(framed.header("content-type"), runway_api::LOG_RECORDS);
    assert_eq!(harness.get(&format!("{path}?tail=1")).await.bytes, b"a ends\n");
    assert_eq!(harness.get(&format!("{path}?tail=0")).await.bytes, b"");
    tokio::time::sleep(Duration::from_secs(600)).await;
    harness.get(&path).await.expect_problem(410, "gone");
    harness.get("/v1/jobs/000000000000/logs").await.expect_problem(404, "not-found");
    harness.get_as("other", &path).await.expect_problem(404, "not-found");
    for bad in ["tail=-1", "tail=x", "follow=yes", "framed=1", "lines=1"] {
        harness.get(&format!("{path}?{bad}")).await.expect_problem(400, "malformed");
    }
}

#[tokio::test(start_paused = true)]
async fn log_readers_are_limited_and_release_their_permit() {
    let harness =
        Harness::with_limits(POLICY, RequestLimits { max_log_readers: 2, ..RequestLimits::default() }).await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}/logs?follow=true");
    let follow = || harness.router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap());
    let one = follow().await.unwrap();
    let two = follow().await.unwrap();
    let answer = harness.get(&path).await;
    answer.expect_problem(503, "overloaded");
    assert_eq!(harness.metric("runway_log_readers").await, 2);
    drop(one);
    assert_eq!(harness.metric("runway_log_readers").await, 1);
    // The other reader is not affected, and releases its permit at the end.
    let whole = two.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole, "a begins\na ends\n");
    assert_eq!(harness.metric("runway_log_readers").await, 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_aborts_followed_logs() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let request = Request::get(format!("/v1/jobs/{id}/logs?follow=true")).body(Body::empty()).unwrap();
    let mut body = harness.router.clone().oneshot(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "a begins\n");
    harness.state.mark_stopping();
    harness.state.begin_drain();
    assert!(body.frame().await.unwrap().is_err(), "an interruption must not look like the end of the output");
}
