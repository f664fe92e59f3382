//! The header `Idempotency-Key`.

use crate::bed::{Bed, job};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn the_same_request_again_is_the_same_job() {
    let bed = Bed::new().await;
    let body = job("a", "t").to_string();
    let first = bed.post("/v1/jobs", body.clone(), &[("idempotency-key", "nightly-7")]).await;
    assert_eq!(first.status, 201);
    let again = bed.post("/v1/jobs", body.clone(), &[("idempotency-key", "nightly-7")]).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(again.header("location"), first.header("location"));
    // The draft defines the key as a quoted string.
    let quoted = bed.post("/v1/jobs", body.clone(), &[("idempotency-key", "\"nightly-7\"")]).await;
    assert_eq!(quoted.json()["id"], first.json()["id"]);
    // A replay does not use the rate limit.
    assert_eq!(quoted.header("ratelimit"), "\"tenant\";r=9;t=1");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let late = bed.post("/v1/jobs", body, &[("idempotency-key", "nightly-7")]).await;
    assert_eq!((late.status.as_u16(), &late.json()["phase"]), (200, &json!("succeeded")));
    assert_eq!(bed.cluster.landed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_job_under_the_same_key_is_refused() {
    let bed = Bed::new().await;
    let first = bed.post("/v1/jobs", job("a", "t").to_string(), &[("idempotency-key", "k")]).await.json();
    let other = bed.post("/v1/jobs", job("b", "t").to_string(), &[("idempotency-key", "k")]).await;
    assert_eq!(other.problem(422, "key-reused")["job_id"], first["id"]);
    // The same key of another tenant is a different key.
    assert_eq!(
        bed.post("/v1/jobs", job("b", "u").to_string(), &[("idempotency-key", "k")]).await.status,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_request_while_the_first_is_worked_on_is_told_so() {
    let bed = Bed::new().await;
    bed.faults.set_delay(Duration::from_secs(2));
    let body = job("a", "t").to_string();
    let one = bed.post("/v1/jobs", body.clone(), &[("idempotency-key", "k")]);
    let two = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bed.post("/v1/jobs", body.clone(), &[("idempotency-key", "k")]).await
    };
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.status, 201);
    assert_eq!(two.problem(409, "conflict")["job_id"], one.json()["id"]);
    assert_eq!(two.header("retry-after"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_key_has_a_form() {
    let bed = Bed::new().await;
    let send = |key: String| {
        let bed = &bed;
        async move { bed.post("/v1/jobs", job("a", "listed").to_string(), &[("idempotency-key", &key)]).await }
    };
    assert_eq!(send("k".repeat(255)).await.status, 201);
    send("k".repeat(256)).await.problem(400, "malformed");
    send("two words".to_owned()).await.problem(400, "malformed");
    send("\"\"".to_owned()).await.problem(400, "malformed");
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    bed.post("/v1/jobs", job("a", "listed").to_string(), &twice).await.problem(400, "malformed");
}
