//! `GET /v1/jobs` and `GET /v1/jobs/{id}`.

use crate::bed::{Bed, job};
use serde_json::{Value, json};
use std::time::Duration;

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_page_begins_where_the_one_before_ended_whatever_comes_and_goes() {
    let bed = Bed::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(bed.created(&job(&format!("j{n}"), "listed")).await["id"].as_str().unwrap().to_owned());
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let first = bed.get("/v1/jobs?limit=3").await.json();
    assert_eq!(names(&first), ["j6", "j5", "j4"]);
    bed.created(&job("newer", "listed")).await;
    bed.cluster.delete(ids[4].parse().unwrap(), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let next = |page: &Value| format!("/v1/jobs?limit=3&continue={}", page["continue"].as_str().unwrap());
    let second = bed.get(&next(&first)).await.json();
    assert_eq!(names(&second), ["j3", "j2", "j1"]);
    let third = bed.get(&next(&second)).await.json();
    assert_eq!(names(&third), ["j0"]);
    assert_eq!(third["continue"], Value::Null);
    assert_eq!(names(&bed.get("/v1/jobs").await.json()).len(), 8, "the deleted job is kept");
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_by_tenant_and_phase() {
    let bed = Bed::new().await;
    bed.created(&job("old", "a")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    bed.created(&job("young", "a")).await;
    bed.created(&job("other", "b")).await;
    let list = |path: &'static str| async { bed.get(path).await.json() };
    assert_eq!(names(&list("/v1/jobs?tenant=a").await), ["young", "old"]);
    assert_eq!(names(&list("/v1/jobs?tenant=a&phase=succeeded").await), ["old"]);
    assert_eq!(names(&list("/v1/jobs?phase=failed").await), [""; 0]);
    assert_eq!(names(&bed.get_as("b", "/v1/jobs").await.json()), ["other"]);
    assert_eq!(names(&bed.get_as("b", "/v1/jobs?tenant=b").await.json()), ["other"]);
    bed.get_as("b", "/v1/jobs?tenant=a").await.problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn parameters_are_understood_or_refused() {
    let bed = Bed::new().await;
    for good in ["limit=1", "limit=1000", "phase=pending", "tenant=a", ""] {
        assert_eq!(bed.get(&format!("/v1/jobs?{good}")).await.status, 200, "{good}");
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
        let problem = bed.get(&format!("/v1/jobs?{bad}")).await.problem(400, "malformed");
        let name = bad.split('=').next().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
    }
    bed.get_as("No Tenant", "/v1/jobs").await.problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_told_from_its_beginning_to_its_end_and_after() {
    let bed = Bed::new().await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let running = bed.get(&path).await.json();
    assert_eq!((&running["phase"], &running["finished_at"]), (&json!("running"), &Value::Null));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ended = bed.get(&path).await.json();
    assert_eq!(ended["phase"], "succeeded");
    // 10 s with 0.5 CPU and 0.5 GiB.
    assert_eq!(ended["cost_usd"], "0.000056");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(bed.cluster.jobs().is_empty(), "the backend has deleted the job");
    let remembered = bed.get(&path).await.json();
    assert_eq!((&remembered["phase"], &remembered["cost_usd"]), (&json!("succeeded"), &json!("0.000056")));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_there_to_be_seen_is_told() {
    let bed = Bed::new().await;
    let id = bed.created(&job("a", "t")).await["id"].as_str().unwrap().to_owned();
    assert_eq!(bed.get_as("t", &format!("/v1/jobs/{id}")).await.status, 200);
    bed.get_as("other", &format!("/v1/jobs/{id}")).await.problem(404, "not-found");
    for unknown in ["000000000000", "x", "NOT-AN-ID---", "%F0%9F%98%80"] {
        bed.get(&format!("/v1/jobs/{unknown}")).await.problem(404, "not-found");
    }
}
