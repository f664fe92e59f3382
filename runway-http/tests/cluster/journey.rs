//! A job from submission to completion, and a cancelled job.

use crate::server::{Server, shell_job};
use runway_testing::wire::{RawConnection, get, request};
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn job_can_be_followed_read_and_cancelled() {
    let log = "trace,hyper=trace,kube=trace,kube_client=trace,kube_runtime=trace,tower=trace";
    let mut server = Server::start("journey", |policy| policy, &["--log", log]).await;
    let mut job = shell_job("speaks", "search", "echo one; sleep 8; echo $A ${#B}; sleep 1; exit 3");
    job["env"] = json!({"A": "hush-env"});
    job["secrets"] = json!({"B": "hush-secret"});
    let answer = server.submit(&job).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location").unwrap(), format!("/v1/jobs/{id}"));

    // Follow the log from before the start of the job until it finishes.
    let mut follower = RawConnection::connect(server.process.address).await.unwrap();
    let logs = format!("/v1/jobs/{id}/logs");
    follower.send(get(&format!("{logs}?follow=true"))).await.unwrap();
    assert_eq!(follower.head().await.unwrap().status, 200);
    let first = follower.chunk().await.unwrap().unwrap();
    assert_eq!(String::from_utf8(first).unwrap(), "one\n");
    server.wait_for_phase(&id, "running").await;
    let mut rest = Vec::new();
    while let Some(chunk) = follower.chunk().await.unwrap() {
        rest.extend(chunk);
    }
    assert_eq!(String::from_utf8(rest).unwrap(), "hush-env 11\n");
    let ended = server.wait_for_phase(&id, "failed").await;
    assert_eq!((&ended["reason"], &ended["exit_code"]), (&json!("NonZeroExit"), &json!(3)), "{ended}");
    assert!(ended["cost_usd"].is_string() && ended["finished_at"].is_string(), "{ended}");
    assert_eq!(server.exchange(get(&logs)).await.text(), "one\nhush-env 11\n");
    assert_eq!(server.exchange(get(&format!("{logs}?tail=1"))).await.text(), "hush-env 11\n");
    let listed = server.exchange(get("/v1/jobs?tenant=search&phase=failed")).await.json();
    assert_eq!(listed["items"][0]["id"], id.as_str(), "{listed}");

    let long = server.create_job(&shell_job("long", "search", "sleep 1000")).await;
    server.wait_for_phase(&long, "running").await;
    let other = request("DELETE", &format!("/v1/jobs/{long}"), "X-Tenant-ID: vision\r\n", "");
    assert_eq!(server.exchange(other).await.status, 404);
    let cancel = request("DELETE", &format!("/v1/jobs/{long}"), "", "");
    assert_eq!(server.exchange(&cancel).await.status, 202);
    server.wait_for_phase(&long, "cancelled").await;
    let finished = request("DELETE", &format!("/v1/jobs/{id}"), "", "");
    assert_eq!(server.exchange(finished).await.status, 409);

    // The server's log never contains the value of a variable or a secret.
    server.process.signal(Signal::TERM);
    assert_eq!(server.process.wait_for_exit().await.code(), Some(0));
    let log = server.process.log();
    for line in &log {
        assert!(!line.contains("hush"), "{line}");
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "{line}");
    }
    let has_target = |target: &str| log.iter().any(|line| line.contains(&format!(r#""target":"{target}"#)));
    assert!(has_target("hyper") && has_target("runway::audit"), "{}", log.len());
}
