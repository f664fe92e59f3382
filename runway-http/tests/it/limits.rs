//! Concurrency limits.

use crate::bed::{Bed, POLICY, job};
use futures::future::join_all;
use runway_http::RequestLimits;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_limit_are_turned_away_at_once() {
    let bed = Bed::with(POLICY, RequestLimits { requests: 3, ..RequestLimits::default() }).await;
    bed.faults.set_delay(Duration::from_secs(2));
    let one = |n: usize| {
        let bed = &bed;
        async move { bed.post("/v1/jobs", job("a", &format!("t{n}")).to_string(), &[]).await }
    };
    let probe = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bed.metric("runway_http_requests_in_progress").await, 3);
        assert_eq!(bed.get("/readyz").await.status, 200, "probes are not limited");
    };
    let (answers, ()) = tokio::join!(join_all((0..5).map(one)), probe);
    let turned_away: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(turned_away.len(), 2);
    for answer in turned_away {
        answer.problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(one(9).await.status, 201, "the permits are free again");
}

#[tokio::test(start_paused = true)]
async fn one_tenant_does_not_take_all_the_room() {
    let bed = Bed::with(POLICY, RequestLimits { tenant_submissions: 2, ..RequestLimits::default() }).await;
    bed.faults.set_delay(Duration::from_secs(2));
    let one = |tenant: &'static str| {
        let bed = &bed;
        async move { bed.post("/v1/jobs", job("a", tenant).to_string(), &[]).await }
    };
    let (greedy, other) = tokio::join!(join_all((0..4).map(|_| one("listed"))), one("other"));
    assert_eq!(greedy.iter().filter(|answer| answer.status == 201).count(), 2);
    for answer in greedy.iter().filter(|answer| answer.status != 201) {
        answer.problem(429, "too-many-submissions");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(other.status, 201);
    assert_eq!(one("listed").await.status, 201);
}
