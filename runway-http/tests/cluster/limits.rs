//! Quota and rate limit from the view of a client: waiting as the response says is sufficient.

use crate::server::{Server, shell, waiting};
use runway_testing::wire::{get, request};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_quota_that_is_reached_is_free_again_when_a_job_has_ended() {
    let change = |policy: String| policy.replace("concurrent_jobs: 500}", "concurrent_jobs: 2}");
    let server = Server::start("quota", change, &[]).await;
    let short = server.created(&shell("short", "search", "sleep 3")).await;
    let long = server.created(&shell("long", "search", "sleep 1000")).await;
    let third = server.submit(&shell("third", "search", "true")).await;
    assert_eq!((third.status, third.problem().as_str()), (429, "over-quota"));
    let told = third.json();
    assert_eq!(told["violations"][0]["code"], "tenant-job-quota");
    assert!(told["free_by"].is_string(), "{told}");
    assert_eq!(third.header("retry-after"), Some("60"));
    let usage = server.ask(get("/v1/tenants/search")).await.json();
    assert_eq!((&usage["jobs"]["held"], &usage["jobs"]["limit"]), (&2.into(), &2.into()), "{usage}");
    // Other tenants have their own quota.
    server.created(&shell("other", "vision", "true")).await;
    server.comes_to(&short, "succeeded").await;
    let fourth = server.created(&shell("fourth", "search", "sleep 1000")).await;
    assert_eq!(server.submit(&shell("fifth", "search", "true")).await.status, 429);
    // A cancelled job occupies the quota until its pods have terminated.
    for id in [&long, &fourth] {
        assert_eq!(server.ask(request("DELETE", &format!("/v1/jobs/{id}"), "", "")).await.status, 202);
    }
    runway_testing::cluster::until("the holds to be released", async || {
        let usage = server.ask(get("/v1/tenants/search")).await.json();
        (usage["jobs"]["held"] == 0).then_some(())
    })
    .await;
    server.created(&shell("sixth", "search", "true")).await;
}

/// A client that waits for `Retry-After` is admitted, and one that waits a second less is not.
#[tokio::test]
async fn whoever_waits_as_long_as_told_is_let_in() {
    let change = |policy: String| {
        policy.replace(
            "rate_limit: {per_minute: 60000, burst: 10000}\nquota",
            "rate_limit: {per_minute: 6, burst: 2}\nquota",
        )
    };
    let server = Server::start("rate", change, &[]).await;
    let began = Instant::now();
    for _ in 0..2 {
        server.created(&waiting("quick", "search")).await;
    }
    let refused = server.submit(&waiting("third", "search")).await;
    assert_eq!((refused.status, refused.problem().as_str()), (429, "rate-limited"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"tenant\";q=2;w=20"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"tenant\";r=0;"), "{refused:?}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    let told = Instant::now();
    // A token refills in ten seconds. The value is rounded up to whole seconds.
    assert!((1..=10).contains(&wait), "{wait}");
    if wait > 1 && began.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep_until((told + Duration::from_secs(wait - 1) - began.elapsed()).into()).await;
        let early = server.submit(&waiting("early", "search")).await;
        assert_eq!(early.problem(), "rate-limited");
    }
    tokio::time::sleep_until((told + Duration::from_secs(wait)).into()).await;
    server.created(&waiting("in-time", "search")).await;
    assert_eq!(server.submit(&waiting("too-many", "search")).await.status, 429);
}
