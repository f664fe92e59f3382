//! Jobs and configurations that the server refuses.

use crate::harness::{Harness, Server, failed_start, program, script, with_field};
use runway_core::JobSpec;
use runway_local::{Job, LocalSettings, Machine, Supervision};
use runway_testing::jobs::{create_request, unique_id};
use runway_testing::policies;
use runway_testing::process::ServerProcess;
use serde_json::json;

#[tokio::test]
async fn unsupported_features_are_refused_with_the_reason() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    for (job, why) in [
        (with_field(script("true"), "network", json!("internal")), "does not support `network.internal`"),
        (with_field(script("true"), "command", json!([])), "does not support `image.entrypoint`"),
    ] {
        let refused = server.submit(&job, "").await;
        assert_eq!((refused.status, refused.problem().as_str()), (422, "refused"));
        assert!(refused.json()["detail"].as_str().unwrap().contains(why), "{refused:?}");
    }
    assert!(harness.jobs().is_empty());
    let usage = server.get("/v1/tenants/search").await.json();
    assert_eq!(usage["jobs"]["held"], 0, "{usage}");
}

#[tokio::test]
async fn state_dir_allows_only_one_server() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let (code, stderr) = failed_start(&[], &harness.flags()).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("another server uses the state directory"), "{stderr}");
    server.kill().await;
    harness.serve(&[]).await;
}

#[tokio::test]
async fn start_fails_if_limits_cannot_be_enforced() {
    let harness = Harness::new();
    // Linux does not permit a line break in the name of a cgroup, so the cgroup cannot be created.
    let mut flags = harness.flags();
    let at = flags.iter().position(|flag| flag == "--cgroup-parent").unwrap();
    flags[at + 1] = "/two\nlines".to_owned();
    let (code, stderr) = failed_start(&[], &flags).await;
    assert_eq!(code, Some(1), "{stderr}");
    for limit in ["cpu: ", "memory: ", "pids: ", "--best-effort"] {
        assert!(stderr.contains(limit), "{limit}: {stderr}");
    }
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--best-effort"]).collect();
    let server = Server { process: ServerProcess::launch(&program(), &flags).await };
    server.wait_until("the server to be ready", async || server.get("/readyz").await.status == 200).await;
    let id = server.submit_admitted(&script("echo hi")).await;
    let job = server.wait_until_finished(&id).await;
    assert_eq!(job["phase"], "succeeded");
    let message = job["message"].as_str().unwrap();
    assert!(message.contains("not enforced: ") && message.contains("memory: "), "{message}");
}

/// Starts an attached job in the state directory of the server, as `runway run` does.
#[tokio::test]
async fn server_ignores_attached_jobs() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    let settings = LocalSettings {
        cgroup_parent: Some(harness.cgroup().to_owned()),
        supervisor_program: program(),
        ..LocalSettings::new(harness.state_dir())
    };
    let spec = JobSpec {
        name: Some("x".into()),
        tenant: Some("search".into()),
        image: Some("busybox".into()),
        command: ["sleep", "1000"].map(String::from).into(),
        ..JobSpec::default()
    };
    let id = unique_id();
    let request = create_request(&policies::parse(policies::MACHINE), id, spec);
    let job = Job::start(&Machine::open(settings).unwrap(), &request, Supervision::Attached).unwrap();
    // The server would have observed the attached job before the end of a job that started later.
    let own = server.submit_admitted(&script("true")).await;
    server.wait_until_finished(&own).await;
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await.status, 404);
    let listed = server.get("/v1/jobs").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    job.kill().unwrap();
    job.wait(None).unwrap();
    assert!(job.remove().unwrap());
}
