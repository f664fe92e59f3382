//! The lifecycle of jobs on one machine, over the REST API.

use crate::harness::{Harness, script, with_field};
use runway_testing::wire::{RawConnection, get};
use serde_json::json;

#[tokio::test]
async fn failed_job_is_reported_with_logs_and_cost() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let submitted = server.submit(&script("echo hello; exit 3"), "").await;
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let id = submitted.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(submitted.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    let job = server.wait_until_finished(&id).await;
    assert_eq!((&job["phase"], &job["reason"]), (&json!("failed"), &json!("NonZeroExit")));
    assert_eq!((&job["exit_code"], &job["attempts"]), (&json!(3), &json!(1)));
    assert_ne!(job["cost_usd"], json!("0.000000"));
    assert_eq!(job["quote"]["ceiling_usd"], submitted.json()["quote"]["ceiling_usd"]);
    assert_eq!(server.logs(&id, "").await, "hello\n");
    let listed = server.get("/v1/jobs?tenant=search").await.json();
    assert_eq!(listed["items"][0]["id"], json!(id));
    assert_eq!(server.cancel(&id).await, 409);
    let metrics = server.get("/metrics").await.text();
    let ended = r#"runway_jobs_ended_total{phase="failed",reason="NonZeroExit"}"#;
    assert_eq!(runway_testing::wire::metric(&metrics, ended), 1, "{metrics}");
}

#[tokio::test]
async fn followed_log_spans_attempts() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let job = script(
        "echo one; while [ ! -e /tmp/never ] && [ $((n=n+1)) -lt 10 ]; do sleep 0.1; done; echo two; exit 1",
    );
    let id = server.submit_admitted(&with_field(job, "retries", json!(1))).await;
    let mut wire = RawConnection::connect(server.process.address).await.unwrap();
    wire.send(get(&format!("/v1/jobs/{id}/logs?follow=true&framed=true"))).await.unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    let mut text = String::new();
    while !text.contains("one\n") {
        text.push_str(&String::from_utf8(wire.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(text, "attempt 1\nbytes 4\none\n");
    // The output arrived while the first attempt was running. The watch can report the phase `running`
    // slightly later, so the test waits for it.
    server.wait_until("the job to run", async || server.job(&id).await["phase"] == "running").await;
    assert_eq!(server.job(&id).await["attempts"], 1);
    while let Some(chunk) = wire.chunk().await.unwrap() {
        text.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert_eq!(text, "attempt 1\nbytes 4\none\nbytes 4\ntwo\nattempt 2\nbytes 4\none\nbytes 4\ntwo\n");
    assert_eq!(server.wait_until_finished(&id).await["attempts"], 2);
    assert_eq!(server.logs(&id, "?tail=1").await, "two\n");
    assert_eq!(server.logs(&id, "?tail=1&framed=true").await, "attempt 2\nbytes 4\ntwo\n");
    assert_eq!(server.logs(&id, "?tail=0&follow=true").await, "");
}

#[tokio::test]
async fn deadline_oom_and_cancel_set_phase_and_reason() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let late = server.submit_admitted(&with_field(script("sleep 60"), "timeout", json!("1s"))).await;
    let big = server
        .submit_admitted(&with_field(script("exec tail /dev/zero"), "resources", json!({"memory": "32Mi"})))
        .await;
    let stopped = server
        .submit_admitted(&script(
            "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
        ))
        .await;
    server.wait_for_output(&stopped, "ready\n").await;
    assert_eq!(server.cancel(&stopped).await, 202);
    for (id, phase, reason) in [
        (&late, "failed", json!("DeadlineExceeded")),
        (&big, "failed", json!("OOMKilled")),
        (&stopped, "cancelled", json!(null)),
    ] {
        let job = server.wait_until_finished(id).await;
        assert_eq!((&job["phase"], &job["reason"]), (&json!(phase), &reason), "{job}");
    }
    assert_eq!(server.cancel(&stopped).await, 409, "no process of the cancelled job runs");
    assert_eq!(server.logs(&stopped, "").await, "ready\ncleaned\n");
}

#[tokio::test]
async fn secret_reaches_only_its_job() {
    let harness = Harness::new();
    let server = harness.serve(&["--log", "trace"]).await;
    let job = with_field(script("echo ${#TOKEN}; sleep 1"), "secrets", json!({"TOKEN": "hush-hush"}));
    let answer = server.submit(&job, "").await;
    assert_eq!(answer.status, 201);
    assert!(!answer.text().contains("hush"), "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    server.wait_for_output(&id, "9\n").await;
    // The arguments of the supervisor do not contain the secret either.
    let arguments = std::fs::read(format!("/proc/{}/cmdline", harness.pid_of(&id, "supervisor"))).unwrap();
    assert_eq!(arguments, b"runway-supervisor\0");
    for file in files_under(&harness.state_dir()) {
        assert!(!String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains("hush"), "{file:?}");
    }
    server.wait_until_finished(&id).await;
    assert!(server.process.log().iter().all(|line| !line.contains("hush")));
}

fn files_under(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files_under(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn idempotency_key_creates_one_job() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let job = script("sleep 60");
    let key = "Idempotency-Key: once\r\n";
    let first = server.submit(&job, key).await;
    assert_eq!(first.status, 201);
    let again = server.submit(&job, key).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]));
    assert_eq!(server.submit(&script("sleep 61"), key).await.problem(), "key-reused");
    let usage = server.get("/v1/tenants/search").await.json();
    assert_eq!(usage["jobs"]["held"], 1, "{usage}");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.cancel(&id).await, 202);
    server.wait_until_finished(&id).await;
    server
        .wait_until("the quota to be free", async || {
            server.get("/v1/tenants/search").await.json()["jobs"]["held"] == 0
        })
        .await;
}
