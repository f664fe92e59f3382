//! The requests that each role permits.

use crate::harness::{Harness, job};
use axum::body::Body;
use axum::http::{Method, Request};
use runway_http::{Access, Role, app, ops};

async fn status(harness: &Harness, access: Access, method: Method, path: &str) -> u16 {
    let body =
        if method == Method::POST { Body::from(job("a", "listed").to_string()) } else { Body::empty() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .extension(access);
    harness.send(request.body(body).unwrap()).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn viewer_can_read_all_but_logs_and_request_quotes() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "listed")).await["id"].as_str().unwrap().to_owned();
    let routes: [(Method, String, bool); 12] = [
        (Method::GET, "/v1/jobs".into(), true),
        (Method::HEAD, "/v1/jobs".into(), true),
        (Method::GET, format!("/v1/jobs/{id}"), true),
        (Method::GET, "/v1/tenants/listed".into(), true),
        (Method::GET, "/v1/policy".into(), true),
        (Method::GET, "/openapi.json".into(), true),
        (Method::GET, "/docs".into(), true),
        (Method::POST, "/v1/quotes".into(), true),
        (Method::POST, "/v1/jobs".into(), false),
        (Method::DELETE, format!("/v1/jobs/{id}"), false),
        (Method::GET, format!("/v1/jobs/{id}/logs?follow=true"), false),
        (Method::HEAD, format!("/v1/jobs/{id}/logs"), false),
    ];
    for (method, path, viewer_is_allowed) in routes {
        let viewer = status(&harness, Access::Role(Role::Viewer), method.clone(), &path).await;
        assert_eq!(viewer != 403, viewer_is_allowed, "viewer {method} {path}: {viewer}");
        let without_role =
            status(&harness, Access::NoRole(runway_http::RoleError::Unknown), method.clone(), &path).await;
        assert_eq!(without_role, 403, "stranger {method} {path}");
        let admin = status(&harness, Access::Role(Role::Admin), method.clone(), &path).await;
        assert!(admin != 403 && admin < 500, "admin {method} {path}: {admin}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_without_access_is_403_if_access_is_required() {
    let mut harness = Harness::new().await;
    let state = harness.state.clone().with_required_access();
    harness.router = app(state.clone());
    for path in ["/v1/jobs", "/v1/policy", "/", "/healthz", "/metrics", "/v1/nothing"] {
        harness.get(path).await.expect_problem(403, "forbidden");
    }
    let expired = status(&harness, Access::Expired, Method::GET, "/v1/jobs").await;
    let viewer = status(&harness, Access::Role(Role::Viewer), Method::GET, "/v1/jobs").await;
    assert_eq!((expired, viewer), (403, 200));
    // The listener for probes requires no client certificate.
    harness.router = ops(state);
    assert_eq!(harness.get("/healthz").await.status, 200);
}

#[test]
fn role_name_must_match_exactly() {
    assert_eq!(Role::from_organizational_unit("admin"), Some(Role::Admin));
    assert_eq!(Role::from_organizational_unit("viewer"), Some(Role::Viewer));
    for other in ["", "Admin", "ADMIN", " admin", "admin ", "administrator", "viewers"] {
        assert_eq!(Role::from_organizational_unit(other), None, "{other}");
    }
}
