//! Jobs and configurations that the server refuses.

use crate::bed::{Bed, refused, script, with};
use runway_control::backend::Order;
use runway_core::policy::RateOverrides;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission, units::Timestamp};
use runway_local::{Job, LocalSettings, Machine, Supervision};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn what_cannot_be_done_on_one_machine_is_refused_with_the_reason() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    for (job, why) in [
        (with(script("true"), "network", json!("internal")), "does not support `network.internal`"),
        (with(script("true"), "command", json!([])), "does not support `image.entrypoint`"),
    ] {
        let refused = server.submit(&job, "").await;
        assert_eq!((refused.status, refused.problem().as_str()), (422, "refused"));
        assert!(refused.json()["detail"].as_str().unwrap().contains(why), "{refused:?}");
    }
    assert!(bed.jobs().is_empty());
    let usage = server.get("/v1/tenants/search").await.json();
    assert_eq!(usage["jobs"]["held"], 0, "{usage}");
}

#[tokio::test]
async fn a_folder_has_one_server_at_a_time() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    let (code, told) = refused(&[], &bed.flags()).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another server uses the state directory"), "{told}");
    server.kill().await;
    bed.serve(&[]).await;
}

#[tokio::test]
async fn limits_that_cannot_be_enforced_are_told_of_before_the_first_job() {
    let bed = Bed::new();
    // A cgroup with this name cannot be created.
    let mut flags = bed.flags();
    let at = flags.iter().position(|flag| flag == "--cgroup-parent").unwrap();
    flags[at + 1] = "/two\nlines".to_owned();
    let (code, told) = refused(&[], &flags).await;
    assert_eq!(code, Some(1), "{told}");
    for limit in ["cpu: ", "memory: ", "pids: ", "--best-effort"] {
        assert!(told.contains(limit), "{limit}: {told}");
    }
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--best-effort"]).collect();
    let server = crate::bed::Server { process: crate::process::Process::launch(&flags).await };
    server.until("the server to be ready", async || server.get("/readyz").await.status == 200).await;
    let id = server.start(&script("echo hi")).await;
    let job = server.ended(&id).await;
    assert_eq!(job["phase"], "succeeded");
    let message = job["message"].as_str().unwrap();
    assert!(message.contains("not enforced: ") && message.contains("memory: "), "{message}");
}

/// An attached job in the same state directory, as `runway run` starts it.
#[tokio::test]
async fn a_job_that_ends_with_another_process_is_no_servers() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    let settings = LocalSettings {
        cgroup_parent: Some(bed.group().to_owned()),
        program: crate::process::program(),
        ..LocalSettings::new(bed.state())
    };
    let policy = std::fs::read(bed.path("policy.yaml")).unwrap();
    let policy = Arc::new(Policy::parse(&policy, RateOverrides::default()).unwrap());
    let spec = JobSpec {
        name: Some("x".into()),
        tenant: Some("search".into()),
        image: Some("busybox".into()),
        command: ["sleep", "1000"].map(String::from).into(),
        ..JobSpec::default()
    };
    let id = JobId::from_random(u128::from(std::process::id()) << 64 | 7);
    let mut gate = Gate::new(Arc::clone(&policy), HashSeed(1, 2));
    let decision = gate.submit(id, &Submission::from(spec), Timestamp::from_seconds(1_795_248_000)).unwrap();
    let order = Order { id, admitted: decision.admitted().unwrap().clone(), policy };
    let job = Job::start(&Machine::open(settings).unwrap(), &order, Supervision::Attached).unwrap();
    // When a later job of the server is finished, the server has observed the attached job, too.
    let own = server.start(&script("true")).await;
    server.ended(&own).await;
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await.status, 404);
    let listed = server.get("/v1/jobs").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    job.kill().unwrap();
    job.wait(None).unwrap();
    assert!(job.remove().unwrap());
}
