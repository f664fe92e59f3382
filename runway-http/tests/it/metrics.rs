//! `GET /metrics`: the counters of requests, submissions and jobs.

use crate::harness::{Harness, job};
use runway_control::fake::JobTimings;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn metrics_count_every_request() {
    let harness = Harness::new().await;
    let key = [("idempotency-key", "k")];
    harness.faults.set_timings(JobTimings { succeeds: false, ..JobTimings::default() });
    for _ in 0..2 {
        harness.post("/v1/jobs", job("a", "t").to_string(), &key).await;
    }
    harness.post("/v1/jobs", job("b", "t").to_string(), &key).await.expect_problem(422, "key-reused");
    let mut greedy = job("a", "t");
    greedy["resources"] = json!({"cpu": "64"});
    harness.post("/v1/jobs", greedy.to_string(), &[]).await.expect_problem(422, "refused");
    harness.post("/v1/jobs", "{", &[]).await.expect_problem(400, "malformed");
    harness.get("/nowhere").await;
    for (line, expected) in [
        ("runway_submissions_total{outcome=\"created\",code=\"\"}", 1),
        ("runway_submissions_total{outcome=\"replayed\",code=\"\"}", 1),
        ("runway_submissions_total{outcome=\"key-conflict\",code=\"\"}", 1),
        ("runway_submissions_total{outcome=\"refused\",code=\"cpu-above-max\"}", 1),
        ("runway_submissions_total{outcome=\"unreadable\",code=\"syntax\"}", 1),
        ("runway_http_requests_total{method=\"POST\",route=\"/v1/jobs\",status=\"422\"}", 2),
        ("runway_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}", 1),
        ("runway_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/jobs\"}", 5),
        ("runway_decision_duration_seconds_count", 2),
        ("runway_create_duration_seconds_count", 1),
        ("runway_jobs{phase=\"pending\"}", 1),
        ("runway_jobs_held", 1),
        ("runway_jobs_limit", 500),
        ("runway_ready", 1),
        ("runway_watch_connected", 1),
        ("runway_policy_reloads_total{result=\"failed\"}", 0),
        ("runway_policy_last_reload_successful", 1),
        ("runway_submissions_total{outcome=\"rejected\",code=\"\"}", 0),
        ("runway_submissions_total{outcome=\"uncertain\",code=\"\"}", 0),
        ("runway_build_info{version=\"0.1.0\"}", 1),
    ] {
        assert_eq!(
            harness.metric(line).await,
            expected,
            "{line}\n{}",
            String::from_utf8_lossy(&harness.get("/metrics").await.bytes)
        );
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(harness.metric("runway_jobs_ended_total{phase=\"failed\",reason=\"NonZeroExit\"}").await, 1);
    assert_eq!(harness.metric("runway_jobs_held").await, 0);
}

#[tokio::test(start_paused = true)]
async fn tenants_do_not_add_metric_series() {
    let harness = Harness::new().await;
    harness.post("/v1/jobs", job("a", "t").to_string(), &[]).await;
    let lines = harness.get("/metrics").await.bytes.iter().filter(|b| **b == b'\n').count();
    for n in 0..200 {
        harness.post("/v1/jobs", job("a", &format!("tenant-{n}")).to_string(), &[]).await;
        harness.get(&format!("/v1/tenants/tenant-{n}")).await;
        harness.get(&format!("/nowhere/{n}")).await;
    }
    let text = String::from_utf8(harness.get("/metrics").await.bytes).unwrap();
    assert!(!text.contains("tenant-"), "{text}");
    assert!(text.lines().count() < lines + 60, "{} lines, {lines} before", text.lines().count());
}
