//! The output of jobs: complete, followed, and over several attempts.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use runway_control::LogsError;
use runway_control::backend::{LogError, LogEvent, LogOptions, LogStream};
use runway_core::status::{Phase, Reason};
use runway_core::{JobId, JobSpec};
use runway_testing::cluster::{Harness, shell, spec};

/// Reads all output, and the numbers of its attempts.
async fn read(mut logs: LogStream) -> (Vec<u32>, String) {
    let (mut attempts, mut bytes) = (Vec::new(), Vec::new());
    while let Some(event) = logs.next().await {
        match event.unwrap() {
            LogEvent::Attempt(number) => attempts.push(number),
            LogEvent::Bytes(more) => bytes.extend(more),
        }
    }
    (attempts, String::from_utf8_lossy(&bytes).into_owned())
}

const FOLLOW: LogOptions = LogOptions { follow: true, tail: None };

async fn read_text(harness: &Harness, id: JobId, options: LogOptions) -> (Vec<u32>, String) {
    read(harness.plane.logs(id, options).await.unwrap()).await
}

#[tokio::test]
async fn logs_return_all_or_the_last_lines() {
    let harness = Harness::new("logs").await;
    let job = harness.submit(shell("train", "seq 1 5; printf 'no line'")).await;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
    assert_eq!(
        read_text(&harness, job, LogOptions::default()).await,
        (vec![1], "1\n2\n3\n4\n5\nno line".into())
    );
    assert_eq!(read_text(&harness, job, LogOptions { tail: Some(2), follow: false }).await.1, "5\nno line");
    assert_eq!(read_text(&harness, job, FOLLOW).await.1, "1\n2\n3\n4\n5\nno line");
}

#[tokio::test]
async fn follower_receives_the_output_of_all_attempts() {
    let harness = Harness::new("follow").await;
    let script = "echo begin; sleep 2; echo end; exit 1";
    let job = harness.submit(JobSpec { retries: Some(1.into()), ..shell("train", script) }).await;
    // The follower starts before the job has started.
    let mut logs = harness.plane.logs(job, FOLLOW).await.unwrap();
    assert_eq!(logs.next().await.unwrap().unwrap(), LogEvent::Attempt(1));
    let first = logs.next().await.unwrap().unwrap();
    assert_eq!(first, LogEvent::Bytes("begin\n".into()), "the output arrived before the job ended");
    let (later, rest) = read(logs).await;
    assert_eq!((later, rest.as_str()), (vec![2], "end\nbegin\nend\n"));
    harness.wait_for_phase(job, Phase::Failed, Some(Reason::NonZeroExit)).await;
    // Without `follow`, the newest attempt is read.
    assert_eq!(read_text(&harness, job, LogOptions::default()).await, (vec![2], "begin\nend\n".into()));
}

#[tokio::test]
async fn follower_continues_after_the_pod_is_deleted() {
    let harness = Harness::new("drained").await;
    let script = "echo begin; sleep 15 & wait; exit 1";
    let job = harness.submit(JobSpec { retries: Some(2.into()), ..shell("train", script) }).await;
    let mut logs = harness.plane.logs(job, FOLLOW).await.unwrap();
    assert_eq!(logs.next().await.unwrap().unwrap(), LogEvent::Attempt(1));
    assert_eq!(logs.next().await.unwrap().unwrap(), LogEvent::Bytes("begin\n".into()));
    let pods = harness.api::<Pod>();
    let mine = ListParams::default().labels(&format!("runway.dev/id={job}"));
    let first = pods.list(&mine).await.unwrap().items[0].metadata.name.clone().unwrap();
    pods.delete(&first, &DeleteParams::default().grace_period(0)).await.unwrap();
    let next = loop {
        match logs.next().await.unwrap().unwrap() {
            LogEvent::Attempt(number) => break number,
            LogEvent::Bytes(_) => {}
        }
    };
    assert_eq!(next, 2);
    assert_eq!(logs.next().await.unwrap().unwrap(), LogEvent::Bytes("begin\n".into()));
    harness.plane.cancel(job).await.unwrap();
}

#[tokio::test]
async fn concurrent_followers_each_receive_all_output() {
    let harness = Harness::new("followers").await;
    let job = harness.submit(shell("train", "for i in 1 2 3; do echo $i; sleep 1; done")).await;
    let read = || read_text(&harness, job, FOLLOW);
    let (a, b, c) = tokio::join!(read(), read(), read());
    assert_eq!(a, (vec![1], "1\n2\n3\n".into()));
    assert_eq!((&b, &c), (&a, &a));
}

#[tokio::test]
async fn non_utf8_output_is_unchanged() {
    let harness = Harness::new("bytes").await;
    let job = harness.submit(shell("train", r"printf 'a\377\000b\n'")).await;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
    let mut logs = harness.plane.logs(job, LogOptions::default()).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(event) = logs.next().await {
        if let LogEvent::Bytes(more) = event.unwrap() {
            bytes.extend(more);
        }
    }
    assert_eq!(bytes, b"a\xff\x00b\n");
}

#[tokio::test]
async fn logs_fail_without_output() {
    let harness = Harness::new("no-logs").await;
    let stuck =
        harness.submit(JobSpec { image: Some("registry.invalid/none:1".into()), ..shell("a", "true") }).await;
    let result = harness.plane.logs(stuck, LogOptions::default()).await.err();
    assert!(matches!(result, Some(LogsError::Log(LogError::NotStarted))), "{result:?}");
    let result = harness.plane.logs(JobId::from_random(5), FOLLOW).await.err();
    assert!(matches!(result, Some(LogsError::NotFound)), "{result:?}");
    // A command that does not exist has no output.
    let never = harness.submit(spec("b", &["/bin/no-such-program"])).await;
    harness.wait_for_phase(never, Phase::Failed, Some(Reason::StartError)).await;
    let result = harness.plane.logs(never, FOLLOW).await.err();
    assert!(matches!(result, Some(LogsError::Log(LogError::NotStarted))), "{result:?}");
    // The follower of a job that never starts ends when the job is cancelled.
    let mut follower = harness.plane.logs(stuck, FOLLOW).await.unwrap();
    harness.plane.cancel(stuck).await.unwrap();
    let result = follower.next().await;
    assert!(matches!(result, None | Some(Err(LogError::Gone | LogError::NotStarted))), "{result:?}");
}
