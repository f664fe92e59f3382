//! Quota and rate limit, as a client observes them. A refused client that waits is then admitted.

use crate::server::{Server, shell_job, unschedulable_job};
use runway_testing::wire::{get, request};
use std::time::{Duration, Instant};

#[tokio::test]
async fn quota_is_free_again_after_a_job_finishes() {
    let change = |policy: String| policy.replace("concurrent_jobs: 500}", "concurrent_jobs: 2}");
    let server = Server::start("quota", change, &[]).await;
    let short = server.create_job(&shell_job("short", "search", "sleep 3")).await;
    let long = server.create_job(&shell_job("long", "search", "sleep 1000")).await;
    let third = server.submit(&shell_job("third", "search", "true")).await;
    assert_eq!((third.status, third.problem().as_str()), (429, "over-quota"));
    let problem = third.json();
    assert_eq!(problem["violations"][0]["code"], "tenant-job-quota");
    assert!(problem["free_by"].is_string(), "{problem}");
    assert_eq!(third.header("retry-after"), Some("60"));
    let usage = server.exchange(get("/v1/tenants/search")).await.json();
    assert_eq!((&usage["jobs"]["held"], &usage["jobs"]["limit"]), (&2.into(), &2.into()), "{usage}");
    // Other tenants have their own quota.
    server.create_job(&shell_job("other", "vision", "true")).await;
    server.wait_for_phase(&short, "succeeded").await;
    let fourth = server.create_job(&shell_job("fourth", "search", "sleep 1000")).await;
    assert_eq!(server.submit(&shell_job("fifth", "search", "true")).await.status, 429);
    // A cancelled job occupies the quota until its pods have terminated.
    for id in [&long, &fourth] {
        assert_eq!(server.exchange(request("DELETE", &format!("/v1/jobs/{id}"), "", "")).await.status, 202);
    }
    runway_testing::cluster::wait_until("the holds to be released", async || {
        let usage = server.exchange(get("/v1/tenants/search")).await.json();
        (usage["jobs"]["held"] == 0).then_some(())
    })
    .await;
    server.create_job(&shell_job("sixth", "search", "true")).await;
}

/// A client that waits for `Retry-After` is admitted, and one that waits a second less is not.
#[tokio::test]
async fn rate_limited_retry_after_is_exact() {
    let change = |policy: String| {
        policy.replace(
            "rate_limit: {per_minute: 60000, burst: 10000}\nquota",
            "rate_limit: {per_minute: 6, burst: 2}\nquota",
        )
    };
    let server = Server::start("rate", change, &[]).await;
    let began = Instant::now();
    for _ in 0..2 {
        server.create_job(&unschedulable_job("quick", "search")).await;
    }
    let refused = server.submit(&unschedulable_job("third", "search")).await;
    assert_eq!((refused.status, refused.problem().as_str()), (429, "rate-limited"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"tenant\";q=2;w=20"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"tenant\";r=0;"), "{refused:?}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    let refused_at = Instant::now();
    // The limit of 6 per minute permits one more submission every ten seconds. `Retry-After` is rounded up to
    // whole seconds.
    assert!((1..=10).contains(&wait), "{wait}");
    if wait > 1 && began.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep_until((refused_at + Duration::from_secs(wait - 1) - began.elapsed()).into()).await;
        let early = server.submit(&unschedulable_job("early", "search")).await;
        assert_eq!(early.problem(), "rate-limited");
    }
    tokio::time::sleep_until((refused_at + Duration::from_secs(wait)).into()).await;
    server.create_job(&unschedulable_job("in-time", "search")).await;
    assert_eq!(server.submit(&unschedulable_job("too-many", "search")).await.status, 429);
}
