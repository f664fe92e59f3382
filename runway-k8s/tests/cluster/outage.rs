//! Stops the API server for half a minute. No other test runs at the same time, because all tests use this
//! API server.

use runway_control::backend::{Backend, CreateError};
use runway_control::{CancelError, SubmitError};
use runway_core::status::{Phase, Reason};
use runway_testing::cluster::{Harness, shell, until};
use std::time::{Duration, Instant};

async fn api_server(what: &str) {
    let xtask = std::env::var_os("RUNWAY_TEST_XTASK")
        .expect("RUNWAY_TEST_XTASK is not set; `cargo xtask cluster env` prints it for a cluster that it created");
    let done = tokio::process::Command::new(xtask).args(["cluster", what]).status().await.unwrap();
    assert!(done.success(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_without_an_api_server() {
    let bed = Harness::make("outage").await;
    let long = bed.submit(shell("long", "sleep 1000")).await;
    let short = bed.submit(shell("short", "sleep 25; exit 9")).await;
    bed.comes_to(long, Phase::Running, None).await;
    bed.comes_to(short, Phase::Running, None).await;

    api_server("stop-apiserver").await;
    let stopped = Instant::now();
    let mut told = 0;
    while stopped.elapsed() < Duration::from_secs(30) {
        let asked = Instant::now();
        match bed.plane.submit(shell("during", "true").into(), None).await {
            // Each submission fails at once, and its error says that nothing was created.
            Err(SubmitError::Create { error: CreateError::Unavailable(cause), .. }) => {
                assert!(cause.to_string().starts_with("creating a Job: "), "{cause}");
                assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
            }
            // The first request may have been in flight.
            Err(SubmitError::Create { error: CreateError::Uncertain(_), .. }) if told == 0 => {}
            other => panic!("{other:?}"),
        }
        told += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(told > 5, "{told}");
    let cancelled = bed.plane.cancel(long).await;
    assert!(matches!(cancelled, Err(CancelError::Unavailable(_))), "{cancelled:?}");
    assert!(bed.plane.is_ready() && !bed.plane.watch_state().connected);
    assert!(bed.plane.held().contains(&long) && bed.plane.held().contains(&short));

    api_server("start-apiserver").await;
    until("the watch to be back", async || bed.plane.watch_state().connected.then_some(())).await;
    // Without a restart, the control plane learns the end of the job, and new jobs run.
    let record = bed.comes_to(short, Phase::Failed, Some(Reason::NonZeroExit)).await;
    assert_eq!(record.seen.status.exit_code, Some(9));
    let after = bed.submit(shell("after", "true")).await;
    bed.comes_to(after, Phase::Succeeded, None).await;
    until("the holds to be settled", async || (bed.plane.held() == [long]).then_some(())).await;
    assert_eq!(bed.plane.cluster_usage().1, 0);
    let live: Vec<_> = bed
        .backend
        .list()
        .await
        .unwrap()
        .iter()
        .filter(|seen| seen.status.holds)
        .map(|seen| seen.id)
        .collect();
    assert_eq!(bed.plane.held(), live);
    bed.plane.cancel(long).await.unwrap();
    bed.until_nothing_is_left(long).await;
}
