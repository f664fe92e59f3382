//! `POST /v1/jobs`.

use crate::harness::{Harness, POLICY, job};
use runway_control::fake::Response as Reply;
use runway_http::RequestLimits;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn created_job_has_location_quote_and_rate_headers() {
    let harness = Harness::new().await;
    let answer = harness.post("/v1/jobs", job("embed", "search").to_string(), &[]).await;
    assert_eq!(answer.status, 201);
    let created = answer.json();
    let id = created["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/jobs/{id}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("ratelimit-policy"), "\"tenant\";q=10;w=10");
    assert_eq!(answer.header("ratelimit"), "\"tenant\";r=9;t=1");
    assert_eq!((&created["phase"], &created["tenant"]), (&json!("pending"), &json!("search")));
    // The ceiling covers 630 s: the timeout of 10 minutes, and the grace period of 30 s. The price of 0.5 CPU
    // is 0.5 x 0.00001 x 630. The price of 0.536870912 GB is 0.536870912 x 0.000001 x 630. Each product is
    // rounded up to the micro-dollar.
    assert_eq!(created["quote"]["ceiling_usd"], "0.003489");
    assert_eq!(harness.cluster.jobs().len(), 1);
    let read = harness.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(read.json()["id"], id);
}

#[tokio::test(start_paused = true)]
async fn yaml_body_is_accepted() {
    let harness = Harness::new().await;
    let yaml = "name: a\ntenant: t\nimage: registry.internal/a:1\nresources: {cpu: 1e-1}\n";
    for media in ["application/yaml", "application/yaml; charset=utf-8", "Application/YAML"] {
        let answer = harness.post("/v1/jobs", yaml, &[("content-type", media)]).await;
        assert_eq!(answer.status, 201, "{media}: {}", answer.json());
    }
}

#[tokio::test(start_paused = true)]
async fn tenant_can_come_from_the_header() {
    let harness = Harness::new().await;
    let nameless = json!({"name": "a", "image": "registry.internal/a:1"}).to_string();
    let answer = harness.post("/v1/jobs", nameless.clone(), &[("x-tenant-id", "search")]).await;
    assert_eq!(answer.json()["tenant"], "search");
    let neither = harness.post("/v1/jobs", nameless.clone(), &[]).await.expect_problem(400, "malformed");
    assert_eq!(neither["violations"][0]["code"], "missing-field");
    let both = harness.post("/v1/jobs", job("a", "t").to_string(), &[("x-tenant-id", "other")]).await;
    assert_eq!(both.expect_problem(400, "malformed")["violations"][0]["code"], "tenant-mismatch");
    for bad in ["Search", "a b", &"x".repeat(64)] {
        let answer = harness.post("/v1/jobs", nameless.clone(), &[("x-tenant-id", bad)]).await;
        assert_eq!(
            answer.expect_problem(400, "malformed")["violations"][0]["code"],
            "invalid-tenant",
            "{bad}"
        );
    }
    let twice = harness.post("/v1/jobs", nameless, &[("x-tenant-id", "a"), ("x-tenant-id", "a")]).await;
    twice.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn refused_job_is_422_and_malformed_job_is_400() {
    let harness = Harness::new().await;
    let with = |field: &str, value: serde_json::Value| {
        let mut job = job("a", "t");
        job[field] = value;
        job.to_string()
    };
    let refused = harness
        .post("/v1/jobs", with("resources", json!({"cpu": "64"})), &[])
        .await
        .expect_problem(422, "refused");
    let violation = &refused["violations"][0];
    assert_eq!((&violation["code"], &violation["fix"]), (&json!("cpu-above-max"), &json!("4")));
    let malformed =
        harness.post("/v1/jobs", with("imagee", json!("x")), &[]).await.expect_problem(400, "malformed");
    assert_eq!(malformed["violations"][0]["code"], "unknown-field");
    // A job with both kinds of violations is malformed, and the response lists both.
    let both = with("resources", json!({"cpu": "64", "memory": "lots"}));
    assert_eq!(
        harness.post("/v1/jobs", both, &[]).await.expect_problem(400, "malformed")["violations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn rate_limited_retry_after_is_exact() {
    let harness = Harness::with_limits(
        &POLICY.replace("concurrent_jobs: 3", "concurrent_jobs: 100"),
        RequestLimits::default(),
    )
    .await;
    for _ in 0..10 {
        harness.create_job(&job("a", "t")).await;
    }
    let answer = harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let problem = answer.expect_problem(429, "rate-limited");
    assert_eq!(problem["violations"][0]["code"], "rate-limited");
    assert!(
        problem["detail"].as_str().unwrap().starts_with("the tenant exceeds its rate limit"),
        "{problem}"
    );
    assert_eq!(answer.header("retry-after"), "1");
    // A client that waits for `t` seconds does not wait longer than `Retry-After`.
    assert_eq!(answer.header("ratelimit"), "\"tenant\";r=0;t=1");
    tokio::time::advance(Duration::from_millis(999)).await;
    harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await.expect_problem(429, "rate-limited");
    tokio::time::advance(Duration::from_millis(1)).await;
    harness.create_job(&job("a", "t")).await;
    harness.create_job(&job("a", "other")).await;
}

#[tokio::test(start_paused = true)]
async fn rate_limit_of_all_tenants_is_named_as_such() {
    let capacity = "capacity: {gpus: 4, concurrent_jobs: 100, rate_limit: {per_minute: 60, burst: 2}}";
    let harness = Harness::with_limits(&format!("{POLICY}{capacity}\n"), RequestLimits::default()).await;
    harness.create_job(&job("a", "one")).await;
    harness.create_job(&job("a", "two")).await;
    let answer = harness.post("/v1/jobs", job("a", "three").to_string(), &[]).await;
    let problem = answer.expect_problem(429, "rate-limited");
    assert_eq!(problem["title"], "The submission exceeds a rate limit");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("all tenants together exceed their rate limit; retry at 2026-"), "{detail}");
    assert_eq!(problem["violations"][0]["policy"], "capacity.rate_limit");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test(start_paused = true)]
async fn refusal_by_the_server_limit_names_that_limit() {
    let capacity = "capacity: {rate_limit: {per_minute: 30, burst: 2}}";
    let harness = Harness::with_limits(&format!("{POLICY}{capacity}\n"), RequestLimits::default()).await;
    for tenant in ["a", "b"] {
        let answer = harness.post("/v1/jobs", job("a", tenant).to_string(), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (201, "\"tenant\";r=9;t=1"));
        assert_eq!(answer.header("ratelimit-policy"), "\"tenant\";q=10;w=10");
    }
    // The bucket of the third tenant is full, so it has no `t`.
    let answer = harness.post("/v1/jobs", job("a", "c").to_string(), &[]).await;
    answer.expect_problem(429, "rate-limited");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(answer.header("ratelimit-policy"), "\"tenant\";q=10;w=10, \"server\";q=2;w=4");
    assert_eq!(answer.header("ratelimit"), "\"tenant\";r=10, \"server\";r=0;t=2");
}

#[tokio::test(start_paused = true)]
async fn over_quota_response_has_free_by() {
    let harness = Harness::new().await;
    for _ in 0..3 {
        harness.create_job(&job("a", "t")).await;
    }
    let answer = harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let problem = answer.expect_problem(429, "over-quota");
    assert_eq!(problem["violations"][0]["code"], "tenant-job-quota");
    // The first job can run for ten minutes plus its grace period. `Retry-After` is shorter, because jobs
    // usually finish earlier.
    assert!(problem["free_by"].as_str().unwrap().starts_with("2026-11-21T08:1"), "{problem}");
    assert_eq!(answer.header("retry-after"), "60");
    // A job runs for ten seconds. Then the quota is free again.
    tokio::time::sleep(Duration::from_secs(30)).await;
    harness.create_job(&job("a", "t")).await;
}

#[tokio::test(start_paused = true)]
async fn job_limit_of_0_is_422_without_retry_after() {
    let capacity = format!("{POLICY}capacity: {{concurrent_jobs: 0}}\n");
    let quota = POLICY.replace("quota: {gpus: 4, concurrent_jobs: 3}", "quota: {concurrent_jobs: 0}");
    for policy in [quota, capacity] {
        let harness = Harness::with_limits(&policy, RequestLimits::default()).await;
        let answer = harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
        let problem = answer.expect_problem(422, "refused");
        assert_eq!(problem["violations"][0]["code"], "jobs-not-allowed", "{problem}");
        assert_eq!((answer.header("retry-after"), &problem["free_by"]), ("", &json!(null)), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn backend_failure_response_has_job_id() {
    let harness = Harness::new().await;
    harness.faults.set_response(Reply::Unreachable);
    let answer = harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let problem = answer.expect_problem(503, "backend-unavailable");
    assert_eq!(problem["job_id"].as_str().unwrap().len(), 12);
    assert_eq!(answer.header("retry-after"), "5");
    harness.faults.set_response(Reply::Rejected);
    harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await.expect_problem(422, "rejected-by-backend");
    harness.faults.set_response(Reply::RequestLost);
    let uncertain = harness
        .post("/v1/jobs", job("a", "t").to_string(), &[])
        .await
        .expect_problem(503, "backend-unavailable");
    assert!(uncertain["detail"].as_str().unwrap().contains("Idempotency-Key"), "{uncertain}");
    harness.faults.set_response(Reply::Delivered);
    assert_eq!(harness.get("/v1/tenants/t").await.json()["jobs"]["held"], 1, "the uncertain job is held");
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(harness.get("/v1/tenants/t").await.json()["jobs"]["held"], 0, "the hold expires");
}

#[tokio::test(start_paused = true)]
async fn submit_is_503_before_the_first_list() {
    let harness = Harness::unready(POLICY, RequestLimits::default());
    let answer = harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    answer.expect_problem(503, "not-ready");
    assert_eq!(answer.header("retry-after"), "1");
    harness.get("/readyz").await.expect_problem(503, "not-ready");
    assert_eq!(harness.get("/healthz").await.status, 200);
    tokio::spawn(harness.plane.clone().run());
    harness.plane.ready().await;
    assert_eq!(harness.get("/readyz").await.json(), json!({"ready": true, "backend_connected": true}));
    harness.create_job(&job("a", "t")).await;
    harness.state.mark_stopping();
    let stopping = harness.get("/readyz").await;
    stopping.expect_problem(503, "not-ready");
    assert_eq!(stopping.header("connection"), "close");
    harness.create_job(&job("a", "t")).await;
}

#[tokio::test(start_paused = true)]
async fn secret_value_is_accepted_and_never_returned() {
    let harness = Harness::new().await;
    let mut job = job("a", "t");
    job["secrets"] = json!({"PASSWORD": "hunter2"});
    let answer = harness.post("/v1/jobs", job.to_string(), &[]).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("hunter2"));
    let quote = harness.post("/v1/quotes?manifest=true", job.to_string(), &[]).await;
    let text = String::from_utf8_lossy(&quote.bytes).into_owned();
    assert!(text.contains("<redacted>") && !text.contains("hunter2"), "{text}");
    // The server cannot read the environment of the client, so it rejects `from_env`.
    job["secrets"] = json!({"PASSWORD": {"from_env": "PASSWORD"}});
    let answer = harness.post("/v1/jobs", job.to_string(), &[]).await;
    answer.expect_problem(400, "malformed");
}
