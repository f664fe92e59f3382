//! `GET /v1/policy`.

use crate::harness::{Harness, POLICY};
use axum::body::Body;
use axum::http::Request;
use runway_core::Policy;
use runway_core::policy::PriceOverrides;
use runway_http::RequestLimits;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn policy_response_parses_and_its_etag_is_the_digest() {
    let harness = Harness::new().await;
    let digest = harness.plane.policy().digest();
    let json = format!("\"{digest}\"");
    let yaml = format!("\"{digest};yaml\"");
    for (accept, media_type, tag) in [
        ("*/*", "application/json", &json),
        ("application/json", "application/json", &json),
        ("application/json, application/yaml;q=0.1", "application/json", &json),
        ("application/yaml", "application/yaml", &yaml),
        ("application/json;q=0, */*", "application/yaml", &yaml),
    ] {
        let request = Request::get("/v1/policy").header("accept", accept).body(Body::empty()).unwrap();
        let answer = harness.send(request).await;
        assert_eq!((answer.header("content-type"), answer.header("etag")), (media_type, tag.as_str()));
        let again = Policy::parse(&answer.bytes, PriceOverrides::default()).unwrap();
        assert_eq!(again.digest(), digest, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn tenant_sees_only_its_own_settings() {
    let policy = POLICY.replace("tenants: {listed:", "tenants: {rival: {quota: {gpus: 1}}, listed:");
    let harness = Harness::with_limits(&policy, RequestLimits::default()).await;
    let whole = harness.get("/v1/policy").await;
    assert_eq!(whole.json()["tenants"].as_object().unwrap().len(), 2);
    for (tenant, visible) in [("listed", &["listed"][..]), ("other", &[])] {
        let answer = harness.get_as(tenant, "/v1/policy").await;
        let mut own = answer.json();
        let tenants = own["tenants"].take();
        let names: Vec<_> = tenants.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, visible, "{tenant}");
        // The rest is the same for all tenants.
        let mut rest = whole.json();
        rest["tenants"].take();
        assert_eq!(own, rest);
        assert!(answer.header("vary").contains("x-tenant-id"));
        assert_ne!(answer.header("etag"), whole.header("etag"));
        let request =
            Request::get("/v1/policy").header("x-tenant-id", tenant).header("accept", "application/yaml");
        let yaml = harness.send(request.body(Body::empty()).unwrap()).await;
        assert!(!String::from_utf8(yaml.bytes).unwrap().contains("rival"));
    }
    harness.get_as("No Tenant", "/v1/policy").await.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn matching_etag_returns_304() {
    let harness = Harness::new().await;
    let tag = format!("\"{}\"", harness.plane.policy().digest());
    let conditional_get =
        |tag: String| Request::get("/v1/policy").header("if-none-match", tag).body(Body::empty()).unwrap();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = harness.send(conditional_get(known)).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0));
        assert_eq!(answer.header("etag"), tag);
    }
    assert_eq!(harness.send(conditional_get("\"x\"".to_owned())).await.status, 200);
    // The tag of the JSON response does not match the YAML response.
    let request =
        Request::get("/v1/policy").header("if-none-match", &tag).header("accept", "application/yaml");
    assert_eq!(harness.send(request.body(Body::empty()).unwrap()).await.status, 200);
    let other =
        Policy::parse(POLICY.replace("max: '4'", "max: '8'").as_bytes(), PriceOverrides::default()).unwrap();
    harness.plane.set_policy(Arc::new(other)).unwrap();
    assert_eq!(harness.send(conditional_get(tag)).await.status, 200, "the policy has changed");
}
