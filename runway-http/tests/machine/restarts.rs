//! Restarts of the server: jobs keep running without it, and the next server manages them.

use crate::harness::{Harness, Server, script, with_field};
use runway_testing::machine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A script that prints a line, and one second later prints another line and exits with code 3.
const SHORT_SCRIPT: &str = "echo begun; sleep 1; echo ended; exit 3";

async fn three_jobs(server: &Server) -> [String; 3] {
    let key = "Idempotency-Key: long\r\n";
    let short = server.submit_admitted(&script(SHORT_SCRIPT)).await;
    let running =
        server.submit(&script("echo begun; sleep 1000"), key).await.json()["id"].as_str().unwrap().to_owned();
    let done = server.submit_admitted(&script("echo done")).await;
    for (id, text) in [(&short, "begun\n"), (&running, "begun\n"), (&done, "done\n")] {
        server.wait_for_output(id, text).await;
    }
    server.wait_until_finished(&done).await;
    [short, running, done]
}

/// Asserts that the server knows the state, output and holds of all three jobs, and can cancel the running
/// job.
async fn check_three_jobs(server: &Server, [short, running, done]: [String; 3]) {
    assert_eq!(server.job(&running).await["phase"], "running");
    // Only active jobs count against the quota: the running job, and the short job if it still runs.
    let used = server.get("/v1/tenants/search").await.json()["jobs"]["held"].as_u64().unwrap();
    assert!((1..=2).contains(&used), "{used}");
    let again = server.submit(&script("echo begun; sleep 1000"), "Idempotency-Key: long\r\n").await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(running)), "the server still knows the key");
    assert_eq!(server.logs(&short, "?follow=true").await, "begun\nended\n");
    let job = server.wait_until_finished(&short).await;
    assert_eq!((&job["exit_code"], &job["phase"]), (&json!(3), &json!("failed")));
    assert!(!job["quote"].is_null() && !job["cost_usd"].is_null(), "{job}");
    let job = server.job(&done).await;
    assert_eq!((&job["exit_code"], &job["phase"]), (&json!(0), &json!("succeeded")));
    assert_eq!(server.logs(&done, "").await, "done\n");
    // The new server can cancel the running job.
    assert_eq!(server.cancel(&running).await, 202);
    assert_eq!(server.wait_until_finished(&running).await["phase"], "cancelled");
    let metrics = server.get("/metrics").await.text();
    assert_eq!(runway_testing::wire::metric(&metrics, "runway_ledger_drift_total"), 0);
}

#[tokio::test]
async fn jobs_survive_a_killed_server() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let jobs = three_jobs(&server).await;
    server.kill().await;
    check_three_jobs(&harness.serve(&[]).await, jobs).await;
}

#[tokio::test]
async fn jobs_survive_a_server_shutdown() {
    let harness = Harness::new();
    let mut server = harness.serve(&[]).await;
    let jobs = three_jobs(&server).await;
    server.process.signal(Signal::TERM);
    assert_eq!(server.process.wait_for_exit().await.code(), Some(0), "{:#?}", server.process.log());
    check_three_jobs(&harness.serve(&[]).await, jobs).await;
}

#[tokio::test]
async fn jobs_finish_correctly_without_a_server() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let late =
        server.submit_admitted(&with_field(script("echo begun; sleep 1000"), "timeout", json!("1s"))).await;
    let short = server.submit_admitted(&script(SHORT_SCRIPT)).await;
    server.wait_for_output(&late, "begun\n").await;
    server.wait_for_output(&short, "begun\n").await;
    server.kill().await;
    let finished = || {
        let jobs = harness.jobs();
        jobs.len() == 2 && jobs.iter().all(|job| !machine::read_status(job)["finished_at"].is_null())
    };
    runway_testing::wire::wait_until("both jobs to finish", async || finished()).await;
    let server = harness.serve(&[]).await;
    assert_eq!(server.job(&late).await["reason"], "DeadlineExceeded");
    assert_eq!(server.job(&short).await["exit_code"], 3);
    assert_eq!(server.logs(&short, "").await, "begun\nended\n");
}

#[tokio::test]
async fn job_without_supervisor_fails_as_disrupted() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let kill = |id: &str| {
        let pid = Pid::from_raw(harness.pid_of(id, "supervisor")).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    };
    let own = server.submit_admitted(&script("echo begun; sleep 1000")).await;
    let taken_over = server.submit_admitted(&script("echo begun; setsid sleep 1000 & sleep 1000")).await;
    server.wait_for_output(&own, "begun\n").await;
    server.wait_for_output(&taken_over, "begun\n").await;
    kill(&own);
    let job = server.wait_until_finished(&own).await;
    assert_eq!((&job["phase"], &job["reason"]), (&json!("failed"), &json!("Disrupted")), "{job}");
    server.kill().await;
    // The new server is not the parent process of the supervisor of `taken_over`.
    let server = harness.serve(&[]).await;
    kill(&taken_over);
    let job = server.wait_until_finished(&taken_over).await;
    assert_eq!((&job["phase"], &job["reason"]), (&json!("failed"), &json!("Disrupted")), "{job}");
    assert_eq!(server.logs(&taken_over, "?follow=true").await, "begun\n");
}
