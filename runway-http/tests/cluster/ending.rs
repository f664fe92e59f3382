//! Exit of the program under load. After SIGTERM, no response is lost. After SIGKILL, no job is lost.

use crate::server::{Server, is_backend_timeout, unschedulable_job};
use kube::api::ListParams;
use runway_testing::wire::{RawConnection, get, post};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The results of one submitter. `created` maps keys to job ids. `timed_out` are the keys whose requests
/// timed out at the backend. `unanswered` are the keys without a response.
#[derive(Debug, Default)]
struct LaneResult {
    created: BTreeMap<String, String>,
    timed_out: Vec<String>,
    unanswered: Vec<String>,
}

fn submission(key: &str) -> String {
    let (_, name) = key.split_once('/').unwrap();
    post("/v1/jobs", &format!("Idempotency-Key: {key}\r\n"), &unschedulable_job(name, "search").to_string())
}

/// Submits jobs sequentially until `is_ready` is `false` or the server does not listen.
async fn submit(address: SocketAddr, lane: usize, is_ready: Arc<AtomicBool>) -> LaneResult {
    let mut result = LaneResult::default();
    let mut number = 0;
    while is_ready.load(Ordering::SeqCst)
        && let Ok(mut wire) = RawConnection::connect(address).await
    {
        loop {
            number += 1;
            let key = format!("lane-{lane}/job-{lane}-{number}");
            let sent = Instant::now();
            let answer = if wire.send(submission(&key)).await.is_ok() { wire.response().await } else { None };
            let Some(answer) = answer else {
                result.unanswered.push(key);
                break;
            };
            if is_backend_timeout(&answer, sent.elapsed()) {
                result.timed_out.push(key);
            } else {
                assert_eq!(answer.status, 201, "{}", answer.text());
                result.created.insert(key, answer.json()["id"].as_str().unwrap().to_owned());
            }
            if answer.closes_connection() {
                break;
            }
        }
    }
    result
}

async fn under_load(server: &mut Server, signal: Signal) -> Vec<LaneResult> {
    let address = server.process.address;
    let is_ready = Arc::new(AtomicBool::new(true));
    let lanes: Vec<_> =
        (0..4).map(|lane| tokio::spawn(submit(address, lane, Arc::clone(&is_ready)))).collect();
    runway_testing::wire::wait_until("the server to be busy", async || {
        let metrics = server.exchange(get("/metrics")).await.text();
        runway_testing::wire::metric(&metrics, "runway_jobs_held") >= 50
    })
    .await;
    server.process.signal(signal);
    if signal == Signal::TERM {
        runway_testing::wire::wait_until("the server not to be ready", async || {
            server.exchange(get("/readyz")).await.text().contains("shutting down")
        })
        .await;
        is_ready.store(false, Ordering::SeqCst);
    }
    let mut results = Vec::new();
    for lane in lanes {
        results.push(lane.await.unwrap());
    }
    results
}

fn raise_quotas(policy: String) -> String {
    policy
        .replace("concurrent_jobs: 500}", "concurrent_jobs: 5000}")
        .replace("concurrent_jobs: 1000", "concurrent_jobs: 5000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_under_load_answers_every_submission() {
    let mut server = Server::start("term", raise_quotas, &[]).await;
    let results = under_load(&mut server, Signal::TERM).await;
    assert_eq!(server.process.wait_for_exit().await.code(), Some(0), "{:#?}", server.process.log());
    let unanswered: Vec<_> = results.iter().flat_map(|lane| &lane.unanswered).collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
    let created: usize = results.iter().map(|lane| lane.created.len()).sum();
    let timed_out: usize = results.iter().map(|lane| lane.timed_out.len()).sum();
    let existing = server.jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert!(
        (created..=created + timed_out).contains(&existing),
        "{existing} jobs, {created} created, {timed_out} timed out"
    );
    server.delete_jobs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_after_sigkill_loses_no_job() {
    let mut server = Server::start("kill", raise_quotas, &[]).await;
    let results = under_load(&mut server, Signal::KILL).await;
    assert!(!server.process.wait_for_exit().await.success());
    server.restart().await;
    // Each job with a 201 response exists. A client without a response, or with a timeout, repeats its
    // request with the same key and receives the job.
    let mut all = BTreeMap::new();
    for LaneResult { created, timed_out, unanswered } in results {
        for (key, id) in created {
            let job = server.exchange(get(&format!("/v1/jobs/{id}"))).await;
            assert_eq!((job.status, job.json()["tenant"].as_str()), (200, Some("search")), "{key}");
            assert_eq!(server.exchange(submission(&key)).await.json()["id"], id.as_str(), "{key}");
            all.insert(key, id);
        }
        for key in timed_out.into_iter().chain(unanswered) {
            let answer = server.exchange(submission(&key)).await;
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
            all.insert(key, answer.json()["id"].as_str().unwrap().to_owned());
        }
    }
    let existing = server.jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(existing, all.len());
    let usage = server.exchange(get("/v1/tenants/search")).await.json();
    assert_eq!(usage["jobs"]["held"], all.len(), "{usage}");
    server.delete_jobs().await;
}
