//! `GET /v1/jobs` and `GET /v1/jobs/{id}`.

use crate::harness::{Harness, job};
use serde_json::{Value, json};
use std::time::Duration;

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn pages_continue_despite_new_and_deleted_jobs() {
    let harness = Harness::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(
            harness.create_job(&job(&format!("j{n}"), "listed")).await["id"].as_str().unwrap().to_owned(),
        );
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let first = harness.get("/v1/jobs?limit=3").await.json();
    assert_eq!(names(&first), ["j6", "j5", "j4"]);
    harness.create_job(&job("newer", "listed")).await;
    harness.cluster.delete(ids[4].parse().unwrap(), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let next = |page: &Value| format!("/v1/jobs?limit=3&continue={}", page["continue"].as_str().unwrap());
    let second = harness.get(&next(&first)).await.json();
    assert_eq!(names(&second), ["j3", "j2", "j1"]);
    let third = harness.get(&next(&second)).await.json();
    assert_eq!(names(&third), ["j0"]);
    assert_eq!(third["continue"], Value::Null);
    assert_eq!(names(&harness.get("/v1/jobs").await.json()).len(), 8, "the deleted job is kept");
}

#[tokio::test(start_paused = true)]
async fn list_filters_by_tenant_and_phase() {
    let harness = Harness::new().await;
    harness.create_job(&job("old", "a")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    harness.create_job(&job("young", "a")).await;
    harness.create_job(&job("other", "b")).await;
    let list = |path: &'static str| async { harness.get(path).await.json() };
    assert_eq!(names(&list("/v1/jobs?tenant=a").await), ["young", "old"]);
    assert_eq!(names(&list("/v1/jobs?tenant=a&phase=succeeded").await), ["old"]);
    assert_eq!(names(&list("/v1/jobs?phase=failed").await), [""; 0]);
    assert_eq!(names(&harness.get_as("b", "/v1/jobs").await.json()), ["other"]);
    assert_eq!(names(&harness.get_as("b", "/v1/jobs?tenant=b").await.json()), ["other"]);
    harness.get_as("b", "/v1/jobs?tenant=a").await.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn invalid_list_parameters_are_rejected() {
    let harness = Harness::new().await;
    for good in ["limit=1", "limit=1000", "phase=pending", "tenant=a", ""] {
        assert_eq!(harness.get(&format!("/v1/jobs?{good}")).await.status, 200, "{good}");
    }
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "phase=Pending",
        "tenant=A",
        "continue=x",
        "since=1",
    ] {
        let problem = harness.get(&format!("/v1/jobs?{bad}")).await.expect_problem(400, "malformed");
        let name = bad.split('=').next().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
    }
    harness.get_as("No Tenant", "/v1/jobs").await.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn read_returns_a_running_finished_and_deleted_job() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let running = harness.get(&path).await.json();
    assert_eq!((&running["phase"], &running["finished_at"]), (&json!("running"), &Value::Null));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ended = harness.get(&path).await.json();
    assert_eq!(ended["phase"], "succeeded");
    // The job used 0.5 CPU and 0.5 GiB for 10 s: 0.000050 USD and, rounded up, 0.000006 USD.
    assert_eq!(ended["cost_usd"], "0.000056");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(harness.cluster.jobs().is_empty(), "the backend has deleted the job");
    let remembered = harness.get(&path).await.json();
    assert_eq!((&remembered["phase"], &remembered["cost_usd"]), (&json!("succeeded"), &json!("0.000056")));
}

#[tokio::test(start_paused = true)]
async fn read_hides_unknown_and_foreign_jobs() {
    let harness = Harness::new().await;
    let id = harness.create_job(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    assert_eq!(harness.get_as("t", &format!("/v1/jobs/{id}")).await.status, 200);
    harness.get_as("other", &format!("/v1/jobs/{id}")).await.expect_problem(404, "not-found");
    for unknown in ["000000000000", "x", "NOT-AN-ID---", "%F0%9F%98%80"] {
        harness.get(&format!("/v1/jobs/{unknown}")).await.expect_problem(404, "not-found");
    }
}
