//! `DELETE /v1/jobs/{id}`.

use crate::bed::{Bed, job};
use axum::body::Body;
use axum::http::Request;
use runway_control::fake::Answer as Reply;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_job_is_cancelled_once() {
    let bed = Bed::new().await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    let foreign = Request::delete(&path).header("x-tenant-id", "other").body(Body::empty()).unwrap();
    bed.send(foreign).await.problem(404, "not-found");
    assert_eq!(bed.delete(&path).await.status, 202);
    assert_eq!(bed.delete(&path).await.status, 202, "a second cancellation changes nothing");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bed.get(&path).await.json()["phase"], "cancelled");
    let over = bed.delete(&path).await.problem(409, "conflict");
    assert_eq!(over["job_id"], *id);
    bed.delete("/v1/jobs/000000000000").await.problem(404, "not-found");
    bed.delete("/v1/jobs/x").await.problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_ended_or_cannot_be_reached_is_told_so() {
    let bed = Bed::new().await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    bed.faults.set_answer(Reply::Unreachable);
    let answer = bed.delete(&path).await;
    answer.problem(503, "backend-unavailable");
    assert_eq!(answer.header("retry-after"), "5");
    bed.faults.set_answer(Reply::True);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let over = bed.delete(&path).await.problem(409, "conflict");
    assert!(over["detail"].as_str().unwrap().contains("succeeded"), "{over}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_created_is_not_cancelled_yet() {
    let bed = Bed::new().await;
    bed.faults.set_delay(Duration::from_secs(2));
    let key = [("idempotency-key", "k")];
    let id = runway_core::JobId::from_key(&"t".parse().unwrap(), "k");
    let body = job("a", "t").to_string();
    let (created, cancelled) = tokio::join!(bed.post("/v1/jobs", body, &key), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bed.delete(&format!("/v1/jobs/{id}")).await
    });
    assert_eq!(created.status, 201);
    cancelled.problem(409, "conflict");
    assert_eq!(cancelled.header("retry-after"), "1");
}
