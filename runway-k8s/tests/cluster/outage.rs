//! Stops the API server for half a minute. No other test may run at the same time, because all tests use this
//! API server.

use runway_control::backend::{Backend, CreateError};
use runway_control::{CancelError, SubmitError};
use runway_core::status::{Phase, Reason};
use runway_testing::cluster::{Harness, shell, wait_until};
use std::time::{Duration, Instant};

async fn api_server(command: &str) {
    let xtask = std::env::var_os("RUNWAY_TEST_XTASK").expect(
        "RUNWAY_TEST_XTASK is not set; `cargo xtask cluster env` prints it for a cluster that it created",
    );
    let done = tokio::process::Command::new(xtask).args(["cluster", command]).status().await.unwrap();
    assert!(done.success(), "{command}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_server_outage_is_survived_without_a_restart() {
    let harness = Harness::new("outage").await;
    let long = harness.submit(shell("long", "sleep 1000")).await;
    let short = harness.submit(shell("short", "sleep 25; exit 9")).await;
    harness.wait_for_phase(long, Phase::Running, None).await;
    harness.wait_for_phase(short, Phase::Running, None).await;

    api_server("stop-apiserver").await;
    let stopped = Instant::now();
    let mut failures = 0;
    while stopped.elapsed() < Duration::from_secs(30) {
        let sent_at = Instant::now();
        match harness.plane.submit(shell("during", "true").into(), None).await {
            // Each submission fails within 8 s, and its error says that nothing was created.
            Err(SubmitError::Create { error: CreateError::Unavailable(cause), .. }) => {
                assert!(cause.to_string().starts_with("creating a Job: "), "{cause}");
                assert!(sent_at.elapsed() < Duration::from_secs(8), "{:?}", sent_at.elapsed());
            }
            // The API server may have received the first request before it stopped.
            Err(SubmitError::Create { error: CreateError::Uncertain(_), .. }) if failures == 0 => {}
            other => panic!("{other:?}"),
        }
        failures += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(failures > 5, "{failures}");
    let cancelled = harness.plane.cancel(long).await;
    assert!(matches!(cancelled, Err(CancelError::Unavailable(_))), "{cancelled:?}");
    assert!(harness.plane.is_ready() && !harness.plane.watch_state().connected);
    assert!(harness.plane.held_job_ids().contains(&long) && harness.plane.held_job_ids().contains(&short));

    api_server("start-apiserver").await;
    wait_until("the watch to be back", async || harness.plane.watch_state().connected.then_some(())).await;
    // Without a restart, the control plane learns the end of the job, and new jobs run.
    let record = harness.wait_for_phase(short, Phase::Failed, Some(Reason::NonZeroExit)).await;
    assert_eq!(record.snapshot.status.exit_code, Some(9));
    let after = harness.submit(shell("after", "true")).await;
    harness.wait_for_phase(after, Phase::Succeeded, None).await;
    wait_until("the holds to be settled", async || (harness.plane.held_job_ids() == [long]).then_some(()))
        .await;
    assert_eq!(harness.plane.cluster_usage().1, 0);
    let live: Vec<_> = harness
        .backend
        .list()
        .await
        .unwrap()
        .iter()
        .filter(|seen| seen.status.occupies_resources)
        .map(|seen| seen.id)
        .collect();
    assert_eq!(harness.plane.held_job_ids(), live);
    harness.plane.cancel(long).await.unwrap();
    harness.wait_until_deleted(long).await;
}
