//! Kills a process in the middle of a burst of submissions, and starts another one.

use futures::{StreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use runway_control::backend::Backend;
use runway_control::{SubmitError, Submitted};
use runway_core::JobSpec;
use runway_testing::cluster::{
    Harness, TIMEOUT, admin_client, create_namespace, policy, runway_client, shell, unique,
};
use std::collections::BTreeSet;

const JOBS: usize = 200;

/// Returns a job that fits on no node, because the test needs only its submission.
fn spec(number: usize) -> JobSpec {
    let mut spec = shell(&format!("job-{number}"), "true");
    spec.resources.cpu = Some("500".into());
    spec.resources.gpu = Some(u64::from(number.is_multiple_of(25)).into());
    spec
}

/// Submits the first `count` jobs of the burst, 32 at a time.
async fn submit(harness: &Harness, count: usize) -> Vec<Result<Submitted, SubmitError>> {
    let one = |number: usize| async move {
        let key = format!("burst-{number}").parse().unwrap();
        harness.plane.submit(spec(number).into(), Some(&key)).await
    };
    stream::iter(0..count).map(one).buffer_unordered(32).collect().await
}

/// The environment variable that passes the namespace to the child process. The child process runs the same
/// test, and its parent kills it.
const NAMESPACE_VARIABLE: &str = "RUNWAY_BURST_NAMESPACE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_after_a_kill_creates_each_job_once() {
    let admin = admin_client().await;
    if let Ok(name) = std::env::var(NAMESPACE_VARIABLE) {
        let policy = policy(&name, |policy| policy);
        // The child process submits only three quarters of the jobs. The rest is left for the parent process.
        submit(&Harness::start(name, admin, runway_client().await, policy).await, JOBS * 3 / 4).await;
        return;
    }
    let name = unique("burst");
    create_namespace(&admin, &name).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["burst::burst_after_a_kill_creates_each_job_once", "--exact"])
        .env(NAMESPACE_VARIABLE, &name)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let jobs: Api<Job> = Api::namespaced(admin.clone(), &name);
    let count = async || jobs.list_metadata(&ListParams::default()).await.unwrap().items.len();
    // A watch sees the jobs while they are created. A repeated list can be too late.
    let changes = jobs.watch_metadata(&WatchParams::default(), "0").await.unwrap();
    let created = changes.filter(|change| std::future::ready(matches!(change, Ok(WatchEvent::Added(_)))));
    let quarter = tokio::time::timeout(TIMEOUT, created.take(JOBS / 4).count()).await;
    assert_eq!(quarter.ok(), Some(JOBS / 4), "a quarter of the burst was created");
    child.kill().await.unwrap(); // SIGKILL
    let created_count = count().await;
    assert!((JOBS / 4..JOBS).contains(&created_count), "{created_count} jobs were created before the kill");

    let harness =
        Harness::start(name.clone(), admin, runway_client().await, policy(&name, |policy| policy)).await;
    let results = submit(&harness, JOBS).await;
    let ids: BTreeSet<_> = results.iter().map(|answer| answer.as_ref().unwrap().job().snapshot.id).collect();
    let replayed = results.iter().filter(|answer| matches!(answer, Ok(Submitted::Replayed { .. }))).count();
    assert_eq!(ids.len(), JOBS);
    assert!(
        replayed >= created_count && replayed < JOBS,
        "{replayed} of {created_count} existing jobs were replayed"
    );
    // No job exists twice, and the ledger equals the cluster.
    assert_eq!(count().await, JOBS);
    let listed: Vec<_> = harness.backend.list().await.unwrap().iter().map(|seen| seen.id).collect();
    assert_eq!(listed, ids.iter().copied().collect::<Vec<_>>());
    assert_eq!(harness.plane.held_job_ids(), listed);
    let usage = harness.plane.usage("search").held;
    assert_eq!((usage.jobs, usage.gpus, harness.plane.cluster_usage().1), (200, 8, 0));
    assert_eq!(harness.plane.watch_state().drift, 0);
}
