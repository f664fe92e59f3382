//! `GET /v1/jobs/{id}/logs`.

use crate::bed::{Bed, POLICY, job};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use runway_http::RequestLimits;
use std::time::Duration;
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn output_is_told_as_it_comes_and_ends_with_the_job() {
    let bed = Bed::new().await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}/logs");
    let early = bed.get(&path).await;
    early.problem(409, "conflict");
    assert_eq!(early.header("retry-after"), "1");
    let whole = bed.get(&format!("{path}?follow=true")).await;
    assert_eq!(whole.bytes, b"a begins\na ends\n");
    assert_eq!(whole.header("content-type"), "text/plain; charset=utf-8");
    let marked = bed.get(&format!("{path}?follow=true&marked=true")).await;
    assert_eq!(marked.bytes, b"attempt 1\nbytes 9\na begins\nbytes 7\na ends\n");
    assert_eq!(marked.header("content-type"), runway_api::LOG);
    assert_eq!(bed.get(&format!("{path}?tail=1")).await.bytes, b"a ends\n");
    assert_eq!(bed.get(&format!("{path}?tail=0")).await.bytes, b"");
    tokio::time::sleep(Duration::from_secs(600)).await;
    bed.get(&path).await.problem(410, "gone");
    bed.get("/v1/jobs/000000000000/logs").await.problem(404, "not-found");
    bed.get_as("other", &path).await.problem(404, "not-found");
    for bad in ["tail=-1", "tail=x", "follow=yes", "marked=1", "lines=1"] {
        bed.get(&format!("{path}?{bad}")).await.problem(400, "malformed");
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_readers_and_who_goes_away_makes_room() {
    let bed = Bed::with(POLICY, RequestLimits { log_readers: 2, ..RequestLimits::default() }).await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}/logs?follow=true");
    let follow = || bed.router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap());
    let one = follow().await.unwrap();
    let two = follow().await.unwrap();
    let answer = bed.get(&path).await;
    answer.problem(503, "overloaded");
    assert_eq!(bed.metric("runway_log_readers").await, 2);
    drop(one);
    assert_eq!(bed.metric("runway_log_readers").await, 1);
    // The other reader is not affected, and releases its permit at the end.
    let whole = two.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole, "a begins\na ends\n");
    assert_eq!(bed.metric("runway_log_readers").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_breaks_a_follower_off() {
    let bed = Bed::new().await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let request = Request::get(format!("/v1/jobs/{id}/logs?follow=true")).body(Body::empty()).unwrap();
    let mut body = bed.router.clone().oneshot(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "a begins\n");
    bed.state.stop();
    bed.state.drain();
    assert!(body.frame().await.unwrap().is_err(), "an interruption must not look like the end of the output");
}
