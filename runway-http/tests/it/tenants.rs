//! `GET /v1/tenants/{tenant}`.

use crate::bed::{Bed, POLICY, job};
use runway_http::RequestLimits;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_tenant_sees_what_it_uses_of_what_it_may() {
    let bed = Bed::new().await;
    let mut gpus = job("a", "t");
    gpus["resources"] = json!({"gpu": 2});
    bed.created(&gpus).await;
    bed.created(&job("b", "t")).await;
    let expected = json!({
        "tenant": "t",
        "gpus": {"held": 2, "limit": 4},
        "jobs": {"held": 2, "limit": 3},
        "rate": {"remaining": 8, "reset_seconds": 2},
    });
    assert_eq!(bed.get("/v1/tenants/t").await.json(), expected);
    assert_eq!(bed.get_as("t", "/v1/tenants/t").await.json(), expected);
    bed.get_as("u", "/v1/tenants/t").await.problem(404, "not-found");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bed.get("/v1/tenants/t").await.json()["jobs"]["held"], 0);
    assert_eq!(bed.get("/v1/tenants/nobody-yet").await.json()["jobs"], json!({"held": 0, "limit": 3}));
    bed.get("/v1/tenants/No%20Name").await.problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn where_tenants_are_listed_there_are_no_others() {
    let policy = POLICY.replace("tenants:", "unknown_tenants: deny\ntenants:");
    let bed = Bed::with(&policy, RequestLimits::default()).await;
    assert_eq!(bed.get("/v1/tenants/listed").await.status, 200);
    bed.get("/v1/tenants/other").await.problem(404, "not-found");
}
