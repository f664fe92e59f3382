//! One hundred concurrent submitters.

use crate::server::{Server, is_backend_timeout, unschedulable_job};
use futures::future::join_all;
use kube::api::ListParams;
use runway_testing::wire::{RawConnection, get, metric, post};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SUBMITTERS: usize = 100;
const JOBS_PER_SUBMITTER: usize = 10;

/// Time limit for the retries of a submission.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_concurrent_submitters_all_succeed() {
    let change = |policy: String| policy.replace("concurrent_jobs: 1000", "concurrent_jobs: 5000");
    let server = Server::start("submitters", change, &["--max-tenant-submissions", "100"]).await;
    let began = Instant::now();
    let submitters = (0..SUBMITTERS).map(async |n| {
        let mut wire = RawConnection::connect(server.process.address).await.unwrap();
        let mut results = Vec::new();
        for job in 0..JOBS_PER_SUBMITTER {
            let key = format!("Idempotency-Key: team-{}/job-{n}-{job}\r\n", n % 10);
            let job = unschedulable_job(&format!("job-{n}-{job}"), &format!("team-{}", n % 10)).to_string();
            let sent = Instant::now();
            let mut answer = wire.exchange(post("/v1/jobs", &key, &job)).await;
            if is_backend_timeout(&answer, sent.elapsed()) {
                // The outcome of the create request is unknown. The status is 409 while the server polls for
                // the job.
                while matches!(answer.status, 409 | 503) && sent.elapsed() < RETRY_TIMEOUT {
                    println!("{}", answer.text());
                    let after = answer.header("retry-after").unwrap().parse().unwrap();
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    answer = wire.exchange(post("/v1/jobs", &key, &job)).await;
                }
            }
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            results.push((id, answer.status, sent.elapsed()));
        }
        results
    });
    let results: Vec<_> = join_all(submitters).await.into_iter().flatten().collect();
    let took = began.elapsed();
    let ids: BTreeSet<_> = results.iter().map(|(id, ..)| id.clone()).collect();
    assert_eq!(ids.len(), SUBMITTERS * JOBS_PER_SUBMITTER);
    let mut times: Vec<Duration> = results.iter().map(|(.., time)| *time).collect();
    times.sort_unstable();
    let [half, late] = [times[times.len() / 2], times[times.len() * 99 / 100]];
    println!("{} jobs in {took:?}: p50 {half:?}, p99 {late:?}", times.len());
    let existing = server.jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(existing, SUBMITTERS * JOBS_PER_SUBMITTER);
    let metrics = server.exchange(get("/metrics")).await.text();
    let created = results.iter().filter(|(_, status, _)| *status == 201).count();
    let counted = metric(&metrics, r#"runway_submissions_total{outcome="created",code=""}"#);
    assert_eq!(counted, created as u64);
    assert_eq!(metric(&metrics, "runway_jobs_held"), 1000);
    assert_eq!(metric(&metrics, "runway_creations_pending"), 0);
    server.delete_jobs().await;
}
