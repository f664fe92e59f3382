//! `POST /v1/quotes`.

use crate::bed::{Bed, job};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn a_quote_changes_nothing() {
    let bed = Bed::new().await;
    for _ in 0..30 {
        let answer = bed.post("/v1/quotes", job("a", "t").to_string(), &[]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["admitted"]), (200, &json!(true)));
        assert!(answer.json().get("manifest").is_none());
    }
    let usage = bed.get("/v1/tenants/t").await.json();
    assert_eq!((&usage["jobs"]["held"], &usage["rate"]["remaining"]), (&json!(0), &json!(10)));
    assert!(bed.cluster.landed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_verdict_and_no_error() {
    let bed = Bed::new().await;
    let mut greedy = job("a", "t");
    greedy["resources"] = json!({"cpu": "64"});
    let verdict = bed.post("/v1/quotes?manifest=true", greedy.to_string(), &[]).await.json();
    assert_eq!(verdict["admitted"], false);
    assert_eq!(verdict["violations"][0]["code"], "cpu-above-max");
    assert!(verdict.get("manifest").is_none(), "nothing would be created");
    bed.post("/v1/quotes?manifest=maybe", greedy.to_string(), &[]).await.problem(400, "malformed");
    bed.post("/v1/quotes?manifst=true", greedy.to_string(), &[]).await.problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn the_manifest_is_what_render_prints() {
    let bed = Bed::new().await;
    let verdict = bed.post("/v1/quotes?manifest=true", job("a", "t").to_string(), &[]).await.json();
    let manifest = &verdict["manifest"];
    assert_eq!((&manifest["kind"], &manifest["items"][0]["kind"]), (&json!("List"), &json!("Job")));
    assert_eq!(manifest["items"][0]["metadata"]["name"], "a-000000000000");
    assert_eq!(manifest["items"].as_array().map(Vec::len), Some(1));
    assert_ne!(verdict["quote"], Value::Null);
}
