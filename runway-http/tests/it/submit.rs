//! `POST /v1/jobs`.

use crate::bed::{Bed, POLICY, job};
use runway_control::fake::Answer as Reply;
use runway_http::RequestLimits;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_job_is_created_priced_and_told_where_it_is() {
    let bed = Bed::new().await;
    let answer = bed.post("/v1/jobs", job("embed", "search").to_string(), &[]).await;
    assert_eq!(answer.status, 201);
    let told = answer.json();
    let id = told["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/jobs/{id}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("ratelimit-policy"), "\"tenant\";q=10;w=10");
    assert_eq!(answer.header("ratelimit"), "\"tenant\";r=9;t=1");
    assert_eq!((&told["phase"], &told["tenant"]), (&json!("pending"), &json!("search")));
    // 0.5 x 0.00001 x 630 + 0.536870912 x 0.000001 x 630, with each product rounded up to the micro-dollar.
    assert_eq!(told["quote"]["ceiling_usd"], "0.003489");
    assert_eq!(bed.cluster.jobs().len(), 1);
    let read = bed.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(read.json()["id"], id);
}

#[tokio::test(start_paused = true)]
async fn yaml_is_taken_too() {
    let bed = Bed::new().await;
    let yaml = "name: a\ntenant: t\nimage: registry.internal/a:1\nresources: {cpu: 1e-1}\n";
    for media in ["application/yaml", "application/yaml; charset=utf-8", "Application/YAML"] {
        let answer = bed.post("/v1/jobs", yaml, &[("content-type", media)]).await;
        assert_eq!(answer.status, 201, "{media}: {}", answer.json());
    }
}

#[tokio::test(start_paused = true)]
async fn the_tenant_may_come_by_the_header() {
    let bed = Bed::new().await;
    let nameless = json!({"name": "a", "image": "registry.internal/a:1"}).to_string();
    let answer = bed.post("/v1/jobs", nameless.clone(), &[("x-tenant-id", "search")]).await;
    assert_eq!(answer.json()["tenant"], "search");
    let neither = bed.post("/v1/jobs", nameless.clone(), &[]).await.problem(400, "malformed");
    assert_eq!(neither["violations"][0]["code"], "missing-field");
    let both = bed.post("/v1/jobs", job("a", "t").to_string(), &[("x-tenant-id", "other")]).await;
    assert_eq!(both.problem(400, "malformed")["violations"][0]["code"], "tenant-mismatch");
    for bad in ["Search", "a b", &"x".repeat(64)] {
        let answer = bed.post("/v1/jobs", nameless.clone(), &[("x-tenant-id", bad)]).await;
        assert_eq!(answer.problem(400, "malformed")["violations"][0]["code"], "invalid-tenant", "{bad}");
    }
    let twice = bed.post("/v1/jobs", nameless, &[("x-tenant-id", "a"), ("x-tenant-id", "a")]).await;
    twice.problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn what_the_policy_refuses_is_422_and_what_nobody_could_take_is_400() {
    let bed = Bed::new().await;
    let with = |field: &str, value: serde_json::Value| {
        let mut job = job("a", "t");
        job[field] = value;
        job.to_string()
    };
    let refused =
        bed.post("/v1/jobs", with("resources", json!({"cpu": "64"})), &[]).await.problem(422, "refused");
    let violation = &refused["violations"][0];
    assert_eq!((&violation["code"], &violation["fix"]), (&json!("cpu-above-max"), &json!("4")));
    let malformed = bed.post("/v1/jobs", with("imagee", json!("x")), &[]).await.problem(400, "malformed");
    assert_eq!(malformed["violations"][0]["code"], "unknown-field");
    // A job with both kinds of violations is malformed, and the response lists both.
    let both = with("resources", json!({"cpu": "64", "memory": "lots"}));
    assert_eq!(
        bed.post("/v1/jobs", both, &[]).await.problem(400, "malformed")["violations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn too_fast_is_told_with_the_time_to_wait_and_that_suffices() {
    let bed =
        Bed::with(&POLICY.replace("concurrent_jobs: 3", "concurrent_jobs: 100"), RequestLimits::default())
            .await;
    for _ in 0..10 {
        bed.created(&job("a", "t")).await;
    }
    let answer = bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let problem = answer.problem(429, "rate-limited");
    assert_eq!(problem["violations"][0]["code"], "rate-limited");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("ratelimit"), "\"tenant\";r=0;t=10");
    tokio::time::advance(Duration::from_millis(999)).await;
    bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await.problem(429, "rate-limited");
    tokio::time::advance(Duration::from_millis(1)).await;
    bed.created(&job("a", "t")).await;
    bed.created(&job("a", "other")).await;
}

#[tokio::test(start_paused = true)]
async fn no_room_is_told_with_the_time_it_is_free_by() {
    let bed = Bed::new().await;
    for _ in 0..3 {
        bed.created(&job("a", "t")).await;
    }
    let answer = bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let problem = answer.problem(429, "over-quota");
    assert_eq!(problem["violations"][0]["code"], "tenant-job-quota");
    // The first job can run for ten minutes plus its grace period. `Retry-After` is shorter, because jobs
    // usually finish earlier.
    assert!(problem["free_by"].as_str().unwrap().starts_with("2026-11-21T08:1"), "{problem}");
    assert_eq!(answer.header("retry-after"), "60");
    // A job runs for ten seconds. Then the quota is free again.
    tokio::time::sleep(Duration::from_secs(30)).await;
    bed.created(&job("a", "t")).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_is_told_with_the_job() {
    let bed = Bed::new().await;
    bed.faults.set_answer(Reply::Unreachable);
    let answer = bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let problem = answer.problem(503, "backend-unavailable");
    assert_eq!(problem["job_id"].as_str().unwrap().len(), 12);
    assert_eq!(answer.header("retry-after"), "5");
    bed.faults.set_answer(Reply::Rejected);
    bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await.problem(422, "rejected-by-backend");
    bed.faults.set_answer(Reply::NeverArrived);
    let uncertain =
        bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await.problem(503, "backend-unavailable");
    assert!(uncertain["detail"].as_str().unwrap().contains("Idempotency-Key"), "{uncertain}");
    bed.faults.set_answer(Reply::True);
    assert_eq!(bed.get("/v1/tenants/t").await.json()["jobs"]["held"], 1, "the uncertain job is held");
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(bed.get("/v1/tenants/t").await.json()["jobs"]["held"], 0, "the hold expires");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_before_the_ledger_is_rebuilt() {
    let bed = Bed::unready(POLICY, RequestLimits::default());
    let answer = bed.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    answer.problem(503, "not-ready");
    assert_eq!(answer.header("retry-after"), "1");
    bed.get("/readyz").await.problem(503, "not-ready");
    assert_eq!(bed.get("/healthz").await.status, 200);
    tokio::spawn(bed.plane.clone().run());
    bed.plane.ready().await;
    assert_eq!(bed.get("/readyz").await.json(), json!({"ready": true, "backend_connected": true}));
    bed.created(&job("a", "t")).await;
    bed.state.stop();
    let stopping = bed.get("/readyz").await;
    stopping.problem(503, "not-ready");
    assert_eq!(stopping.header("connection"), "close");
    bed.created(&job("a", "t")).await;
}

#[tokio::test(start_paused = true)]
async fn the_value_of_a_secret_comes_with_the_request_and_is_never_told() {
    let bed = Bed::new().await;
    let mut job = job("a", "t");
    job["secrets"] = json!({"PASSWORD": "hunter2"});
    let answer = bed.post("/v1/jobs", job.to_string(), &[]).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("hunter2"));
    let quote = bed.post("/v1/quotes?manifest=true", job.to_string(), &[]).await;
    let text = String::from_utf8_lossy(&quote.bytes).into_owned();
    assert!(text.contains("<redacted>") && !text.contains("hunter2"), "{text}");
    // The server cannot read the environment of the client.
    job["secrets"] = json!({"PASSWORD": {"from_env": "PASSWORD"}});
    let answer = bed.post("/v1/jobs", job.to_string(), &[]).await;
    answer.problem(400, "malformed");
}
