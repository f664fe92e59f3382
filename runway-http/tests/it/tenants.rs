//! `GET /v1/tenants/{tenant}`.

use crate::harness::{Harness, POLICY, job};
use runway_http::RequestLimits;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn tenant_usage_shows_holds_quota_and_rate() {
    let harness = Harness::new().await;
    let mut gpus = job("a", "t");
    gpus["resources"] = json!({"gpu": 2});
    harness.create_job(&gpus).await;
    harness.create_job(&job("b", "t")).await;
    let expected = json!({
        "tenant": "t",
        "gpus": {"held": 2, "limit": 4},
        "jobs": {"held": 2, "limit": 3},
        "rate": {"remaining": 8, "reset_seconds": 2},
    });
    assert_eq!(harness.get("/v1/tenants/t").await.json(), expected);
    assert_eq!(harness.get_as("t", "/v1/tenants/t").await.json(), expected);
    harness.get_as("u", "/v1/tenants/t").await.expect_problem(404, "not-found");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(harness.get("/v1/tenants/t").await.json()["jobs"]["held"], 0);
    assert_eq!(harness.get("/v1/tenants/nobody-yet").await.json()["jobs"], json!({"held": 0, "limit": 3}));
    harness.get("/v1/tenants/No%20Name").await.expect_problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn unlisted_tenant_is_404_if_unknown_are_denied() {
    let policy = POLICY.replace("tenants:", "unknown_tenants: deny\ntenants:");
    let harness = Harness::with_limits(&policy, RequestLimits::default()).await;
    assert_eq!(harness.get("/v1/tenants/listed").await.status, 200);
    harness.get("/v1/tenants/other").await.expect_problem(404, "not-found");
}
