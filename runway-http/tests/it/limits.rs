//! Concurrency limits.

use crate::harness::{Harness, POLICY, job};
use futures::future::join_all;
use runway_http::RequestLimits;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn requests_above_the_limit_are_rejected_at_once() {
    let harness =
        Harness::with_limits(POLICY, RequestLimits { max_requests: 3, ..RequestLimits::default() }).await;
    harness.faults.set_delay(Duration::from_secs(2));
    let one = |n: usize| {
        let harness = &harness;
        async move { harness.post("/v1/jobs", job("a", &format!("t{n}")).to_string(), &[]).await }
    };
    let probe = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(harness.metric("runway_http_requests_in_progress").await, 3);
        assert_eq!(harness.get("/readyz").await.status, 200, "probes are not limited");
    };
    let (answers, ()) = tokio::join!(join_all((0..5).map(one)), probe);
    let rejected: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(rejected.len(), 2);
    for answer in rejected {
        answer.expect_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(one(9).await.status, 201, "the permits are free again");
}

#[tokio::test(start_paused = true)]
async fn submissions_of_one_tenant_are_limited() {
    let harness =
        Harness::with_limits(POLICY, RequestLimits { max_tenant_submissions: 2, ..RequestLimits::default() })
            .await;
    harness.faults.set_delay(Duration::from_secs(2));
    let one = |tenant: &'static str| {
        let harness = &harness;
        async move { harness.post("/v1/jobs", job("a", tenant).to_string(), &[]).await }
    };
    let (greedy, other) = tokio::join!(join_all((0..4).map(|_| one("listed"))), one("other"));
    assert_eq!(greedy.iter().filter(|answer| answer.status == 201).count(), 2);
    for answer in greedy.iter().filter(|answer| answer.status != 201) {
        answer.expect_problem(429, "too-many-submissions");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(other.status, 201);
    assert_eq!(one("listed").await.status, 201);
}
