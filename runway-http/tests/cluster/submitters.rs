//! One hundred concurrent submitters.

use crate::server::{Server, is_put_off, waiting};
use futures::future::join_all;
use kube::api::ListParams;
use runway_testing::wire::{Wire, get, metric, post};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SUBMITTERS: usize = 100;
const EACH: usize = 10;

/// Time limit for the retries of a submission.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_submitters_are_all_answered() {
    let change = |policy: String| policy.replace("concurrent_jobs: 1000", "concurrent_jobs: 5000");
    let server = Server::start("submitters", change, &["--max-tenant-submissions", "100"]).await;
    let began = Instant::now();
    let submitters = (0..SUBMITTERS).map(async |n| {
        let mut wire = Wire::connect(server.process.address).await.unwrap();
        let mut seen = Vec::new();
        for job in 0..EACH {
            let key = format!("Idempotency-Key: team-{}/job-{n}-{job}\r\n", n % 10);
            let job = waiting(&format!("job-{n}-{job}"), &format!("team-{}", n % 10)).to_string();
            let sent = Instant::now();
            let mut answer = wire.ask(post("/v1/jobs", &key, &job)).await;
            if is_put_off(&answer, sent.elapsed()) {
                // The status is 409 while the server polls for the job.
                while matches!(answer.status, 409 | 503) && sent.elapsed() < PATIENCE {
                    println!("{}", answer.text());
                    let after = answer.header("retry-after").unwrap().parse().unwrap();
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    answer = wire.ask(post("/v1/jobs", &key, &job)).await;
                }
            }
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            seen.push((id, answer.status, sent.elapsed()));
        }
        seen
    });
    let seen: Vec<_> = join_all(submitters).await.into_iter().flatten().collect();
    let took = began.elapsed();
    let ids: BTreeSet<_> = seen.iter().map(|(id, ..)| id.clone()).collect();
    assert_eq!(ids.len(), SUBMITTERS * EACH);
    let mut times: Vec<Duration> = seen.iter().map(|(.., time)| *time).collect();
    times.sort_unstable();
    let [half, late] = [times[times.len() / 2], times[times.len() * 99 / 100]];
    println!("{} jobs in {took:?}: p50 {half:?}, p99 {late:?}", times.len());
    let there = server.jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(there, SUBMITTERS * EACH);
    let metrics = server.ask(get("/metrics")).await.text();
    let created = seen.iter().filter(|(_, status, _)| *status == 201).count();
    let counted = metric(&metrics, r#"runway_submissions_total{outcome="created",code=""}"#);
    assert_eq!(counted, created as u64);
    assert_eq!(metric(&metrics, "runway_jobs_held"), 1000);
    assert_eq!(metric(&metrics, "runway_creations_pending"), 0);
    server.clear().await;
}
