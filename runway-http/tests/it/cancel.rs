//! `DELETE /v1/jobs/{id}`.

use crate::harness::{Harness, job};
use axum::body::Body;
use axum::http::Request;
use runway_control::fake::Response as Reply;
use runway_core::JobId;
use runway_core::status::Phase;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn cancel_succeeds_until_the_job_is_finished() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    let foreign = Request::delete(&path).header("x-tenant-id", "other").body(Body::empty()).unwrap();
    harness.send(foreign).await.expect_problem(404, "not-found");
    assert_eq!(harness.delete(&path).await.status, 202);
    assert_eq!(harness.delete(&path).await.status, 202, "a second cancellation changes nothing");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(harness.get(&path).await.json()["phase"], "cancelled");
    let over = harness.delete(&path).await.expect_problem(409, "conflict");
    assert_eq!(over["job_id"], *id);
    let detail = over["detail"].as_str().unwrap();
    assert!(detail.starts_with("the job was already cancelled; it ended at 2026-"), "{detail}");
    harness.delete("/v1/jobs/000000000000").await.expect_problem(404, "not-found");
    harness.delete("/v1/jobs/x").await.expect_problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn cancel_reports_unreachable_backend_and_finished_job() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    harness.faults.set_response(Reply::Unreachable);
    let answer = harness.delete(&path).await;
    answer.expect_problem(503, "backend-unavailable");
    assert_eq!(answer.header("retry-after"), "5");
    harness.faults.set_response(Reply::Delivered);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let over = harness.delete(&path).await.expect_problem(409, "conflict");
    assert!(over["detail"].as_str().unwrap().contains("succeeded"), "{over}");
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_job_that_left_the_backend_is_409() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    // The cluster removes the job before it receives the cancellation.
    harness.cluster.delete(id.parse().unwrap(), Duration::ZERO);
    let answer = harness.delete(&path).await;
    assert_eq!(answer.expect_problem(409, "conflict")["job_id"], *id);
    assert_eq!(harness.get(&path).await.status, 200, "the same job can be read");
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_cancelled_job_that_has_ended_is_409() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().parse().unwrap();
    // On one machine, a cancelled job stays after its last process has terminated.
    let mut ended = harness.plane.job(id).unwrap().snapshot.clone();
    ended.id = JobId::from_random(7);
    ended.status.phase = Phase::Cancelled;
    ended.status.occupies_resources = false;
    ended.status.finished_at = Some(harness.plane.now());
    let path = format!("/v1/jobs/{}", ended.id);
    harness.cluster.insert_job(ended);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let over = harness.delete(&path).await.expect_problem(409, "conflict");
    let detail = over["detail"].as_str().unwrap();
    assert!(detail.starts_with("the job was already cancelled; it ended at 2026-11-21T08:00:00"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn cancel_conflicts_while_the_job_is_being_created() {
    let harness = Harness::new().await;
    harness.faults.set_delay(Duration::from_secs(2));
    let key = [("idempotency-key", "k")];
    let id = JobId::from_key(&"t".parse().unwrap(), "k");
    let body = job("a", "t").to_string();
    let path = format!("/v1/jobs/{id}");
    let (created, (foreign, cancelled)) = tokio::join!(harness.post("/v1/jobs", body, &key), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let foreign = Request::delete(&path).header("x-tenant-id", "other").body(Body::empty()).unwrap();
        (harness.send(foreign).await, harness.delete(&path).await)
    });
    assert_eq!(created.status, 201);
    // Another tenant does not learn that the job is being created.
    foreign.expect_problem(404, "not-found");
    cancelled.expect_problem(409, "conflict");
    assert_eq!(cancelled.header("retry-after"), "1");
}
