//! Log readers: their limit, slow readers, and disconnects.

use crate::bed::Bed;
use runway_testing::wire::{Wire, get, job, post, until};
use std::time::Duration;

async fn submit(bed: &Bed, name: &str) -> String {
    let answer = bed.ask(post("/v1/jobs", "", &job(name, "search"))).await;
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_reader_that_goes_away_frees_what_it_held() {
    let bed = Bed::with(|setup| setup.requests.log_readers = 3).await;
    let id = submit(&bed, "silent").await;
    let logs = get(&format!("/v1/jobs/{id}/logs?follow=true"));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::connect(bed.address).await.unwrap();
        wire.send(&logs).await.unwrap();
        assert_eq!(wire.head().await.unwrap().status, 200);
        assert_eq!(wire.chunk().await.unwrap().unwrap(), b"one line\n");
        readers.push(wire);
    }
    let fourth = bed.ask(&logs).await;
    assert_eq!((fourth.problem().as_str(), fourth.header("retry-after")), ("overloaded", Some("5")));
    assert_eq!((bed.streams(), bed.metric("runway_log_readers").await), (3, 3));
    // Log readers do not count as requests in progress.
    assert_eq!(bed.metric("runway_http_requests_in_progress").await, 0);
    readers.clear();
    until("the streams to be dropped", async || bed.streams() == 0).await;
    assert_eq!(bed.metric("runway_log_readers").await, 0);
    let mut again = Wire::connect(bed.address).await.unwrap();
    again.send(&logs).await.unwrap();
    assert_eq!(again.head().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_waited_for_and_fills_no_memory() {
    let bed = Bed::start().await;
    let id = submit(&bed, "chatty").await;
    let logs = get(&format!("/v1/jobs/{id}/logs?follow=true"));
    let mut wire = Wire::connect(bed.address).await.unwrap();
    wire.send(&logs).await.unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    // Other readers and requests are not blocked.
    let mut quick = Wire::connect(bed.address).await.unwrap();
    quick.send(&logs).await.unwrap();
    quick.head().await.unwrap();
    let mut read = 0;
    while read < 8 * 1024 * 1024 {
        read += quick.chunk().await.unwrap().unwrap().len();
    }
    drop(quick);
    assert_eq!(bed.ask(get("/healthz")).await.status, 200);
    assert_eq!(wire.chunk().await.unwrap().unwrap().len(), 16 * 1024);
    drop(wire);
    until("the streams to be dropped", async || bed.streams() == 0).await;
}

#[tokio::test]
async fn a_server_that_ends_breaks_followed_logs_off_so_that_it_shows() {
    let bed = Bed::start().await;
    let id = submit(&bed, "silent").await;
    let mut wire = Wire::connect(bed.address).await.unwrap();
    wire.send(get(&format!("/v1/jobs/{id}/logs?follow=true"))).await.unwrap();
    wire.head().await.unwrap();
    wire.chunk().await.unwrap();
    bed.shut_down();
    // Without the last chunk, the client cannot mistake the interruption for the end of the job.
    let rest = tokio::time::timeout(Duration::from_secs(5), wire.chunk()).await.unwrap();
    assert!(rest.is_err(), "{rest:?}");
    assert!(bed.end().await);
}
