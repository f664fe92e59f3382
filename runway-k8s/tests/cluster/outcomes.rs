//! Tests of all ways in which a job can end. They check the phase and the reason, and most of them also check
//! the message, the hint, and that the hold is released.

use runway_core::JobSpec;
use runway_core::status::{Phase, Reason, Status};
use runway_testing::cluster::{Harness, create_forged_job, refer_to_missing_secret, shell, spec};

fn assert_status(status: &Status, message: &str, hint: &str) {
    assert!(status.message.contains(message), "{}", status.message);
    let actual_hint = status.hint.as_deref().unwrap_or_default();
    assert!(actual_hint.contains(hint), "{actual_hint}");
}

#[tokio::test]
async fn exit_code_0_is_succeeded() {
    let harness = Harness::new("succeeds").await;
    let job = harness.submit(shell("hello", "echo hello")).await;
    let record = harness.wait_for_phase(job, Phase::Succeeded, None).await;
    harness.capture("succeeded", job).await;
    let status = &record.snapshot.status;
    assert_eq!((status.exit_code, status.attempts, status.hint.as_deref()), (Some(0), 1, None));
    assert!(status.started_at.is_some() && status.finished_at >= status.started_at);
    assert_eq!(harness.plane.held_job_ids(), []);
    // The bill is greater than zero and below the ceiling.
    let bill = record.bill(record.observed_at).unwrap();
    assert!(bill.usd.micros() > 0 && bill.usd < record.snapshot.quote.as_ref().unwrap().ceiling, "{bill:?}");
}

#[tokio::test]
async fn exit_code_3_is_non_zero_exit() {
    let harness = Harness::new("exits").await;
    let job = harness.submit(shell("train", "exit 3")).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::NonZeroExit)).await;
    harness.capture("non-zero-exit", job).await;
    assert_eq!(record.snapshot.status.exit_code, Some(3));
    assert_status(&record.snapshot.status, "3", "logs");
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn fatal_signal_is_signaled() {
    let harness = Harness::new("signal").await;
    let job = harness.submit(shell("train", "sh -c 'kill -SEGV $$'; exit $?")).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::Signaled)).await;
    harness.capture("signaled", job).await;
    assert_eq!(record.snapshot.status.exit_code, Some(139));
    assert_status(&record.snapshot.status, "11", "");
}

fn small_memory_job(script: &str) -> JobSpec {
    let mut spec = shell("embed", script);
    spec.resources.memory = Some("32Mi".into());
    spec
}

#[tokio::test]
async fn exceeded_memory_is_oom_killed() {
    let harness = Harness::new("oom").await;
    let job = harness.submit(small_memory_job("exec dd if=/dev/zero of=/dev/null bs=200M count=1")).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::OOMKilled)).await;
    harness.capture("oom-killed", job).await;
    assert_eq!(record.snapshot.status.exit_code, Some(137));
    assert_status(&record.snapshot.status, "32Mi", "resources.memory");
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn oom_killed_child_with_exit_code_0_is_succeeded() {
    let harness = Harness::new("child-oom").await;
    let job = harness.submit(small_memory_job("dd if=/dev/zero of=/dev/null bs=200M count=1; exit 0")).await;
    let record = harness.wait_for_phase(job, Phase::Succeeded, Some(Reason::ChildOOMKilled)).await;
    harness.capture("child-oom-killed", job).await;
    assert_eq!(record.snapshot.status.exit_code, Some(0));
    assert_status(&record.snapshot.status, "", "memory");
}

#[tokio::test]
async fn exceeded_timeout_is_deadline_exceeded() {
    let harness = Harness::new("deadline").await;
    // The timeout is long enough for the pod to start on a busy machine.
    let job = harness.submit(JobSpec { timeout: Some("50s".into()), ..shell("train", "sleep 1000") }).await;
    harness.wait_for_phase(job, Phase::Running, None).await;
    harness.capture("running", job).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::DeadlineExceeded)).await;
    harness.capture("deadline-exceeded", job).await;
    assert_status(&record.snapshot.status, "50s", "timeout");
    assert_eq!(record.snapshot.status.attempts, 1);
    assert_eq!(harness.plane.held_job_ids(), []);
    // The bill does not exceed the ceiling.
    let bill = record.bill(record.observed_at).unwrap();
    assert!(bill.usd <= record.snapshot.quote.as_ref().unwrap().ceiling);
}

#[tokio::test]
async fn timeout_of_a_pending_job_names_the_image() {
    let harness = Harness::new("late").await;
    let spec = JobSpec { image: Some("registry.invalid/none:1".into()), ..shell("train", "true") };
    let job = harness.submit(JobSpec { timeout: Some("8s".into()), ..spec }).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::DeadlineExceeded)).await;
    harness.capture("deadline-exceeded-while-waiting", job).await;
    assert_status(&record.snapshot.status, "image", "");
    assert_eq!(harness.plane.held_job_ids(), []);
}

/// Returns a job whose image is in no registry.
fn without_image() -> JobSpec {
    JobSpec { image: Some("registry.invalid/none:1".into()), ..shell("train", "true") }
}

fn assert_never_ran(status: &Status, cause: &str) {
    assert!(status.message.starts_with("never ran within its timeout"), "{}", status.message);
    assert!(status.message.contains(cause), "{}", status.message);
    assert_eq!(status.exit_code, None);
    assert!(!status.hint.iter().any(|hint| hint.contains("`timeout`")), "{:?}", status.hint);
}

#[tokio::test]
async fn job_without_its_secret_never_ran_at_its_deadline() {
    let harness = Harness::new("late-secret").await;
    let spec = JobSpec { timeout: Some("8s".into()), ..shell("train", "true") };
    let job = create_forged_job(&harness, spec, refer_to_missing_secret).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::DeadlineExceeded)).await;
    harness.capture("secret-missing-until-deadline", job).await;
    assert_never_ran(&record.snapshot.status, "nowhere");
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn cancelled_job_that_never_ran_has_no_exit_code() {
    let harness = Harness::new("never-ran").await;
    let job = harness.submit(without_image()).await;
    harness.wait_for_phase(job, Phase::Pending, Some(Reason::ImagePull)).await;
    harness.plane.cancel(job).await.unwrap();
    harness.wait_until_deleted(job).await;
    let status = harness.plane.job(job).unwrap().snapshot.status.clone();
    assert_eq!((status.phase, status.exit_code), (Phase::Cancelled, None));
}

#[tokio::test]
async fn restarted_runway_finds_why_a_job_never_ran() {
    let harness = Harness::new("late-restart").await;
    let job = harness.submit(JobSpec { timeout: Some("8s".into()), ..without_image() }).await;
    let is_at = |record: &runway_control::JobRecord, phase, reason| {
        (record.snapshot.status.phase, record.snapshot.status.reason) == (phase, Some(reason))
    };
    // One process starts while the pod waits, one while it is being deleted, and one after it was deleted.
    harness.wait_for_phase(job, Phase::Pending, Some(Reason::ImagePull)).await;
    let waiting = harness.restart().await;
    harness
        .wait_until(job, "the deadline", |record| is_at(record, Phase::Running, Reason::DeadlineExceeded))
        .await;
    let deleting = harness.restart().await;
    harness.wait_until(job, "the end", |record| is_at(record, Phase::Failed, Reason::DeadlineExceeded)).await;
    let pods = harness.api::<k8s_openapi::api::core::v1::Pod>();
    runway_testing::cluster::wait_until("the pod to go", async || {
        pods.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty().then_some(())
    })
    .await;
    let gone = harness.restart().await;
    for bed in [harness, waiting, deleting, gone] {
        let record = bed.wait_until(job, "its cause", |record| {
            is_at(record, Phase::Failed, Reason::DeadlineExceeded)
                && record.snapshot.status.message.contains("no such host")
        });
        assert_never_ran(&record.await.snapshot.status, "no such host");
    }
}

#[tokio::test]
async fn missing_command_is_start_error() {
    let harness = Harness::new("no-command").await;
    let job = harness.submit(spec("train", &["/bin/no-such-program"])).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::StartError)).await;
    harness.capture("start-error", job).await;
    assert_status(&record.snapshot.status, "no-such-program", "command");
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn exceeded_ephemeral_storage_is_evicted() {
    let harness = Harness::new("storage").await;
    let mut spec = shell("train", "dd if=/dev/zero of=/tmp/big bs=1M count=64; sleep 300");
    spec.resources.ephemeral_storage = Some("8Mi".into());
    let job = harness.submit(spec).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::Evicted)).await;
    harness.capture("evicted", job).await;
    assert_status(&record.snapshot.status, "", "resources.ephemeral_storage");
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn failed_retries_count_their_attempts() {
    let harness = Harness::new("retries").await;
    let job = harness.submit(JobSpec { retries: Some(1.into()), ..shell("train", "exit 7") }).await;
    let record = harness.wait_for_phase(job, Phase::Failed, Some(Reason::NonZeroExit)).await;
    harness.capture("retried-to-the-end", job).await;
    let status = &record.snapshot.status;
    assert_eq!((status.exit_code, status.attempts, status.attempt_spans.len()), (Some(7), 2, 2));
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn cancelled_job_terminates_and_releases_its_resources() {
    let harness = Harness::new("cancelled").await;
    let job = harness.submit(shell("train", "trap '' TERM; sleep 1000")).await;
    harness.wait_for_phase(job, Phase::Running, None).await;
    harness.plane.cancel(job).await.unwrap();
    let is_cancelled = |record: &runway_control::JobRecord| record.snapshot.status.phase == Phase::Cancelled;
    harness.wait_until(job, "cancellation", is_cancelled).await;
    harness.capture("cancelled", job).await;
    harness.wait_until_deleted(job).await;
    let record = harness.plane.job(job).unwrap();
    assert_eq!(record.snapshot.status.phase, Phase::Cancelled);
    assert!(record.snapshot.status.finished_at.is_some() && !record.snapshot.status.occupies_resources);
}

#[tokio::test]
async fn cancel_fails_for_a_finished_job() {
    let harness = Harness::new("too-late").await;
    let job = harness.submit(shell("train", "true")).await;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
    let result = harness.plane.cancel(job).await;
    assert!(matches!(result, Err(runway_control::CancelError::AlreadyFinished(_))), "{result:?}");
    // The backend itself also returns `AlreadyFinished`, without the control plane's record.
    use runway_control::backend::{Backend, CancelOutcome};
    let reference = harness.plane.job(job).unwrap().snapshot.job_ref();
    assert_eq!(harness.backend.cancel(&reference).await.unwrap(), CancelOutcome::AlreadyFinished);
}

#[tokio::test]
async fn externally_deleted_job_is_unknown() {
    use k8s_openapi::api::batch::v1::Job;
    use kube::api::DeleteParams;
    let harness = Harness::new("deleted").await;
    let job = harness.submit(shell("train", "sleep 1000")).await;
    let record = harness.wait_for_phase(job, Phase::Running, None).await;
    assert_eq!(harness.plane.held_job_ids(), [job]);
    let name = format!("{}-{job}", record.snapshot.name);
    harness.api::<Job>().delete(&name, &DeleteParams::background()).await.unwrap();
    harness.wait_until_deleted(job).await;
    let record = harness.plane.job(job).unwrap();
    assert_eq!((record.snapshot.status.phase, record.snapshot.status.attempts), (Phase::Unknown, 1));
}

#[tokio::test]
async fn orphaned_pods_keep_the_hold_until_they_terminate() {
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{DeleteParams, ListParams};
    let harness = Harness::new("orphans").await;
    let job = harness.submit(shell("train", "sleep 1000")).await;
    let record = harness.wait_for_phase(job, Phase::Running, None).await;
    let name = format!("{}-{job}", record.snapshot.name);
    harness.api::<Job>().delete(&name, &DeleteParams::orphan()).await.unwrap();
    runway_testing::cluster::wait_until("the Job to go", async || {
        harness.api::<Job>().get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    // A restarted process has the same hold.
    let again = harness.restart().await;
    assert_eq!((harness.plane.held_job_ids(), again.plane.held_job_ids()), (vec![job], vec![job]));
    let pods = harness.api::<Pod>();
    pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    harness.wait_until(job, "the job to leave", |record| record.gone).await;
    again.wait_until(job, "the job to leave", |record| record.gone).await;
    assert_eq!((harness.plane.held_job_ids(), again.plane.held_job_ids()), (vec![], vec![]));
}

#[tokio::test]
async fn record_of_a_deleted_job_keeps_its_outcome() {
    let harness = Harness::with_policy("ttl", |policy| policy.replace("600s", "2s")).await;
    let mut spec = shell("train", "test \"$TOKEN\" = hush; exit 5");
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush".into()));
    let job = harness.submit(spec).await;
    harness.wait_until_deleted(job).await;
    let record = harness.plane.job(job).unwrap();
    let status = &record.snapshot.status;
    assert_eq!(
        (status.phase, status.reason, status.exit_code),
        (Phase::Failed, Some(Reason::NonZeroExit), Some(5))
    );
}
