//! The header `Idempotency-Key`.

use crate::harness::{Harness, job};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn same_key_returns_the_existing_job() {
    let harness = Harness::new().await;
    let body = job("a", "t").to_string();
    let first = harness.post("/v1/jobs", body.clone(), &[("idempotency-key", "nightly-7")]).await;
    assert_eq!(first.status, 201);
    let again = harness.post("/v1/jobs", body.clone(), &[("idempotency-key", "nightly-7")]).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(again.header("location"), first.header("location"));
    // The draft defines the key as a quoted string. The key with quotes is the same as the key without
    // quotes.
    let quoted = harness.post("/v1/jobs", body.clone(), &[("idempotency-key", "\"nightly-7\"")]).await;
    assert_eq!(quoted.json()["id"], first.json()["id"]);
    // A replay does not use the rate limit, so only the first of three submissions was counted.
    assert_eq!(quoted.header("ratelimit"), "\"tenant\";r=9;t=1");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let late = harness.post("/v1/jobs", body, &[("idempotency-key", "nightly-7")]).await;
    assert_eq!((late.status.as_u16(), &late.json()["phase"]), (200, &json!("succeeded")));
    assert_eq!(harness.cluster.created_jobs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn same_key_with_another_job_is_refused() {
    let harness = Harness::new().await;
    let first = harness.post("/v1/jobs", job("a", "t").to_string(), &[("idempotency-key", "k")]).await.json();
    let other = harness.post("/v1/jobs", job("b", "t").to_string(), &[("idempotency-key", "k")]).await;
    assert_eq!(other.expect_problem(422, "key-reused")["job_id"], first["id"]);
    // The same key of another tenant is a different key.
    assert_eq!(
        harness.post("/v1/jobs", job("b", "u").to_string(), &[("idempotency-key", "k")]).await.status,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn same_key_conflicts_while_first_request_is_in_flight() {
    let harness = Harness::new().await;
    harness.faults.set_delay(Duration::from_secs(2));
    let body = job("a", "t").to_string();
    let one = harness.post("/v1/jobs", body.clone(), &[("idempotency-key", "k")]);
    let two = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        harness.post("/v1/jobs", body.clone(), &[("idempotency-key", "k")]).await
    };
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.status, 201);
    assert_eq!(two.expect_problem(409, "conflict")["job_id"], one.json()["id"]);
    assert_eq!(two.header("retry-after"), "1");
}

#[tokio::test(start_paused = true)]
async fn malformed_key_is_rejected() {
    let harness = Harness::new().await;
    let send = |key: String| {
        let harness = &harness;
        async move { harness.post("/v1/jobs", job("a", "listed").to_string(), &[("idempotency-key", &key)]).await }
    };
    assert_eq!(send("k".repeat(255)).await.status, 201);
    send("k".repeat(256)).await.expect_problem(400, "malformed");
    send("two words".to_owned()).await.expect_problem(400, "malformed");
    send("\"\"".to_owned()).await.expect_problem(400, "malformed");
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    harness.post("/v1/jobs", job("a", "listed").to_string(), &twice).await.expect_problem(400, "malformed");
}
