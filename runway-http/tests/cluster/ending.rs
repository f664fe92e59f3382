//! Shutdown and SIGKILL of the program under load: no response and no job is lost.

use crate::server::{Server, is_put_off, waiting};
use kube::api::ListParams;
use runway_testing::wire::{Wire, get, post};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The results of one submitter: the job of each created key, the keys whose requests timed out at the
/// backend, and the keys without a response.
#[derive(Debug, Default)]
struct Seen {
    made: BTreeMap<String, String>,
    put_off: Vec<String>,
    unanswered: Vec<String>,
}

fn submission(key: &str) -> String {
    let (_, name) = key.split_once('/').unwrap();
    post("/v1/jobs", &format!("Idempotency-Key: {key}\r\n"), &waiting(name, "search").to_string())
}

/// Submits jobs sequentially until the server is not ready or does not listen.
async fn submit(address: SocketAddr, lane: usize, is_ready: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut number = 0;
    while is_ready.load(Ordering::SeqCst)
        && let Ok(mut wire) = Wire::connect(address).await
    {
        loop {
            number += 1;
            let key = format!("lane-{lane}/job-{lane}-{number}");
            let sent = Instant::now();
            let answer = if wire.send(submission(&key)).await.is_ok() { wire.answer().await } else { None };
            let Some(answer) = answer else {
                seen.unanswered.push(key);
                break;
            };
            if is_put_off(&answer, sent.elapsed()) {
                seen.put_off.push(key);
            } else {
                assert_eq!(answer.status, 201, "{}", answer.text());
                seen.made.insert(key, answer.json()["id"].as_str().unwrap().to_owned());
            }
            if answer.closes() {
                break;
            }
        }
    }
    seen
}

async fn under_load(server: &mut Server, signal: Signal) -> Vec<Seen> {
    let address = server.process.address;
    let is_ready = Arc::new(AtomicBool::new(true));
    let lanes: Vec<_> =
        (0..4).map(|lane| tokio::spawn(submit(address, lane, Arc::clone(&is_ready)))).collect();
    runway_testing::wire::until("the server to be busy", async || {
        let metrics = server.ask(get("/metrics")).await.text();
        runway_testing::wire::metric(&metrics, "runway_jobs_held") >= 50
    })
    .await;
    server.process.signal(signal);
    if signal == Signal::TERM {
        runway_testing::wire::until("the server not to be ready", async || {
            server.ask(get("/readyz")).await.text().contains("shutting down")
        })
        .await;
        is_ready.store(false, Ordering::SeqCst);
    }
    let mut seen = Vec::new();
    for lane in lanes {
        seen.push(lane.await.unwrap());
    }
    seen
}

fn roomy(policy: String) -> String {
    policy
        .replace("concurrent_jobs: 500}", "concurrent_jobs: 5000}")
        .replace("concurrent_jobs: 1000", "concurrent_jobs: 5000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_under_load_it_answers_every_submission() {
    let mut server = Server::start("term", roomy, &[]).await;
    let seen = under_load(&mut server, Signal::TERM).await;
    assert_eq!(server.process.ended().await.code(), Some(0), "{:#?}", server.process.log());
    let unanswered: Vec<_> = seen.iter().flat_map(|lane| &lane.unanswered).collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
    let made: usize = seen.iter().map(|lane| lane.made.len()).sum();
    let put_off: usize = seen.iter().map(|lane| lane.put_off.len()).sum();
    let there = server.jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert!((made..=made + put_off).contains(&there), "{there} jobs, {made} created, {put_off} timed out");
    server.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_and_started_again_it_has_lost_no_job() {
    let mut server = Server::start("kill", roomy, &[]).await;
    let seen = under_load(&mut server, Signal::KILL).await;
    assert!(!server.process.ended().await.success());
    server.restart().await;
    // All reported jobs exist. A client without a response learns the outcome by repeating the request with
    // its key.
    let mut all = BTreeMap::new();
    for Seen { made, put_off, unanswered } in seen {
        for (key, id) in made {
            let job = server.ask(get(&format!("/v1/jobs/{id}"))).await;
            assert_eq!((job.status, job.json()["tenant"].as_str()), (200, Some("search")), "{key}");
            assert_eq!(server.ask(submission(&key)).await.json()["id"], id.as_str(), "{key}");
            all.insert(key, id);
        }
        for key in put_off.into_iter().chain(unanswered) {
            let answer = server.ask(submission(&key)).await;
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
            all.insert(key, answer.json()["id"].as_str().unwrap().to_owned());
        }
    }
    let there = server.jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(there, all.len());
    let usage = server.ask(get("/v1/tenants/search")).await.json();
    assert_eq!(usage["jobs"]["held"], all.len(), "{usage}");
    server.clear().await;
}
