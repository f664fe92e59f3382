//! `POST /v1/quotes`.

use crate::harness::{Harness, job};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn quote_uses_no_rate_and_no_quota() {
    let harness = Harness::new().await;
    for _ in 0..30 {
        let answer = harness.post("/v1/quotes", job("a", "t").to_string(), &[]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["admitted"]), (200, &json!(true)));
        assert!(answer.json().get("manifest").is_none());
    }
    let usage = harness.get("/v1/tenants/t").await.json();
    assert_eq!((&usage["jobs"]["held"], &usage["rate"]["remaining"]), (&json!(0), &json!(10)));
    assert!(harness.cluster.created_jobs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn quote_of_refused_job_is_200() {
    let harness = Harness::new().await;
    let mut greedy = job("a", "t");
    greedy["resources"] = json!({"cpu": "64"});
    let result = harness.post("/v1/quotes?manifest=true", greedy.to_string(), &[]).await.json();
    assert_eq!(result["admitted"], false);
    assert_eq!(result["violations"][0]["code"], "cpu-above-max");
    assert!(result.get("manifest").is_none(), "nothing would be created");
    harness.post("/v1/quotes?manifest=maybe", greedy.to_string(), &[]).await.expect_problem(400, "malformed");
    harness.post("/v1/quotes?manifst=true", greedy.to_string(), &[]).await.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn quote_with_manifest_returns_a_list() {
    let harness = Harness::new().await;
    let result = harness.post("/v1/quotes?manifest=true", job("a", "t").to_string(), &[]).await.json();
    let manifest = &result["manifest"];
    assert_eq!((&manifest["kind"], &manifest["items"][0]["kind"]), (&json!("List"), &json!("Job")));
    assert_eq!(manifest["items"][0]["metadata"]["name"], "a-000000000000");
    assert_eq!(manifest["items"].as_array().map(Vec::len), Some(1));
    assert_ne!(result["quote"], Value::Null);
}
