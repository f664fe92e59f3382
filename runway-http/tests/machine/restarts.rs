//! Restarts of the server: jobs keep running without it, and the next server manages them.

use crate::bed::{Bed, Server, script, with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Prints a line at its start, and exits one second later.
const A_WHILE: &str = "echo begun; sleep 1; echo ended; exit 3";

async fn three_jobs(server: &Server) -> [String; 3] {
    let key = "Idempotency-Key: long\r\n";
    let ending = server.start(&script(A_WHILE)).await;
    let going_on =
        server.submit(&script("echo begun; sleep 1000"), key).await.json()["id"].as_str().unwrap().to_owned();
    let done = server.start(&script("echo done")).await;
    for (id, text) in [(&ending, "begun\n"), (&going_on, "begun\n"), (&done, "done\n")] {
        server.printed(id, text).await;
    }
    server.ended(&done).await;
    [ending, going_on, done]
}

/// Asserts that the server knows the state, output and holds of all three jobs.
async fn check_three_jobs(server: &Server, [ending, going_on, done]: [String; 3]) {
    assert_eq!(server.job(&going_on).await["phase"], "running");
    // Active jobs count against the quota of three.
    let used = server.get("/v1/tenants/search").await.json()["jobs"]["held"].as_u64().unwrap();
    assert!((1..=2).contains(&used), "{used}");
    let again = server.submit(&script("echo begun; sleep 1000"), "Idempotency-Key: long\r\n").await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(going_on)), "the server still knows the key");
    assert_eq!(server.logs(&ending, "?follow=true").await, "begun\nended\n");
    let job = server.ended(&ending).await;
    assert_eq!((&job["exit_code"], &job["phase"]), (&json!(3), &json!("failed")));
    assert!(!job["quote"].is_null() && !job["cost_usd"].is_null(), "{job}");
    let job = server.job(&done).await;
    assert_eq!((&job["exit_code"], &job["phase"]), (&json!(0), &json!("succeeded")));
    assert_eq!(server.logs(&done, "").await, "done\n");
    // The new server can cancel them.
    assert_eq!(server.cancel(&going_on).await, 202);
    assert_eq!(server.ended(&going_on).await["phase"], "cancelled");
    let metrics = server.get("/metrics").await.text();
    assert_eq!(runway_testing::wire::metric(&metrics, "runway_ledger_drift_total"), 0);
}

#[tokio::test]
async fn a_server_that_is_killed_loses_no_job() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    let jobs = three_jobs(&server).await;
    server.kill().await;
    check_three_jobs(&bed.serve(&[]).await, jobs).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_end_leaves_its_jobs_running() {
    let bed = Bed::new();
    let mut server = bed.serve(&[]).await;
    let jobs = three_jobs(&server).await;
    server.process.signal(Signal::TERM);
    assert_eq!(server.process.ended().await.code(), Some(0), "{:#?}", server.process.log());
    check_three_jobs(&bed.serve(&[]).await, jobs).await;
}

#[tokio::test]
async fn jobs_end_as_they_should_while_nobody_serves() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    let late = server.start(&with(script("echo begun; sleep 1000"), "timeout", json!("1s"))).await;
    let ending = server.start(&script(A_WHILE)).await;
    server.printed(&late, "begun\n").await;
    server.printed(&ending, "begun\n").await;
    server.kill().await;
    let finished = || {
        let jobs = bed.jobs();
        jobs.len() == 2 && jobs.iter().all(|job| !crate::bed::status(job)["finished_at"].is_null())
    };
    runway_testing::wire::until("both jobs to finish", async || finished()).await;
    let server = bed.serve(&[]).await;
    assert_eq!(server.job(&late).await["reason"], "DeadlineExceeded");
    assert_eq!(server.job(&ending).await["exit_code"], 3);
    assert_eq!(server.logs(&ending, "").await, "begun\nended\n");
}

#[tokio::test]
async fn a_job_that_loses_its_supervisor_is_told_of() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    let kill = |id: &str| {
        let pid = Pid::from_raw(bed.process_of(id, "supervisor")).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    };
    let own = server.start(&script("echo begun; sleep 1000")).await;
    let taken_over = server.start(&script("echo begun; setsid sleep 1000 & sleep 1000")).await;
    server.printed(&own, "begun\n").await;
    server.printed(&taken_over, "begun\n").await;
    kill(&own);
    let job = server.ended(&own).await;
    assert_eq!((&job["phase"], &job["reason"]), (&json!("failed"), &json!("Disrupted")), "{job}");
    server.kill().await;
    // The new server is not the parent of this supervisor.
    let server = bed.serve(&[]).await;
    kill(&taken_over);
    let job = server.ended(&taken_over).await;
    assert_eq!((&job["phase"], &job["reason"]), (&json!("failed"), &json!("Disrupted")), "{job}");
    assert_eq!(server.logs(&taken_over, "?follow=true").await, "begun\n");
}
