//! All ways in which a job can end. Each test checks the phase, the reason and the hint, and that the hold is
//! released.

use runway_core::JobSpec;
use runway_core::status::{Phase, Reason, Status};
use runway_testing::cluster::{Harness, forge, refer_to_missing_secret, shell, spec};

fn assert_told(status: &Status, message: &str, hint: &str) {
    assert!(status.message.contains(message), "{}", status.message);
    let told = status.hint.as_deref().unwrap_or_default();
    assert!(told.contains(hint), "{told}");
}

#[tokio::test]
async fn a_job_that_succeeds() {
    let bed = Harness::make("succeeds").await;
    let job = bed.submit(shell("hello", "echo hello")).await;
    let record = bed.comes_to(job, Phase::Succeeded, None).await;
    bed.capture("succeeded", job).await;
    let status = &record.seen.status;
    assert_eq!((status.exit_code, status.attempts, status.hint.as_deref()), (Some(0), 1, None));
    assert!(status.started_at.is_some() && status.finished_at >= status.started_at);
    assert_eq!(bed.plane.held(), []);
    // The bill is greater than zero and below the ceiling.
    let bill = record.bill(record.observed_at).unwrap();
    assert!(bill.usd.micros() > 0 && bill.usd < record.seen.quote.as_ref().unwrap().ceiling, "{bill:?}");
}

#[tokio::test]
async fn a_job_that_exits_with_a_code() {
    let bed = Harness::make("exits").await;
    let job = bed.submit(shell("train", "exit 3")).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::NonZeroExit)).await;
    bed.capture("non-zero-exit", job).await;
    assert_eq!(record.seen.status.exit_code, Some(3));
    assert_told(&record.seen.status, "3", "logs");
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn a_job_that_is_ended_by_a_signal() {
    let bed = Harness::make("signal").await;
    let job = bed.submit(shell("train", "sh -c 'kill -SEGV $$'; exit $?")).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::Signaled)).await;
    bed.capture("signaled", job).await;
    assert_eq!(record.seen.status.exit_code, Some(139));
    assert_told(&record.seen.status, "11", "");
}

fn hungry(script: &str) -> JobSpec {
    let mut spec = shell("embed", script);
    spec.resources.memory = Some("32Mi".into());
    spec
}

#[tokio::test]
async fn a_job_that_takes_more_memory_than_it_asked_for() {
    let bed = Harness::make("oom").await;
    let job = bed.submit(hungry("exec dd if=/dev/zero of=/dev/null bs=200M count=1")).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::OOMKilled)).await;
    bed.capture("oom-killed", job).await;
    assert_eq!(record.seen.status.exit_code, Some(137));
    assert_told(&record.seen.status, "32Mi", "resources.memory");
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn a_job_whose_child_takes_too_much_memory_and_that_exits_with_0() {
    let bed = Harness::make("child-oom").await;
    let job = bed.submit(hungry("dd if=/dev/zero of=/dev/null bs=200M count=1; exit 0")).await;
    let record = bed.comes_to(job, Phase::Succeeded, Some(Reason::ChildOOMKilled)).await;
    bed.capture("child-oom-killed", job).await;
    assert_eq!(record.seen.status.exit_code, Some(0));
    assert_told(&record.seen.status, "", "memory");
}

#[tokio::test]
async fn a_job_that_runs_longer_than_its_timeout() {
    let bed = Harness::make("deadline").await;
    // The timeout is long enough for the pod to start on a busy machine.
    let job = bed.submit(JobSpec { timeout: Some("50s".into()), ..shell("train", "sleep 1000") }).await;
    bed.comes_to(job, Phase::Running, None).await;
    bed.capture("running", job).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::DeadlineExceeded)).await;
    bed.capture("deadline-exceeded", job).await;
    assert_told(&record.seen.status, "50s", "timeout");
    assert_eq!(record.seen.status.attempts, 1);
    assert_eq!(bed.plane.held(), []);
    // The bill does not exceed the ceiling.
    let bill = record.bill(record.observed_at).unwrap();
    assert!(bill.usd <= record.seen.quote.as_ref().unwrap().ceiling);
}

#[tokio::test]
async fn a_job_whose_timeout_passes_while_it_waits() {
    let bed = Harness::make("late").await;
    let spec = JobSpec { image: Some("registry.invalid/none:1".into()), ..shell("train", "true") };
    let job = bed.submit(JobSpec { timeout: Some("8s".into()), ..spec }).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::DeadlineExceeded)).await;
    bed.capture("deadline-exceeded-while-waiting", job).await;
    assert_told(&record.seen.status, "image", "");
    assert_eq!(bed.plane.held(), []);
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
    let bed = Harness::make("late-secret").await;
    let spec = JobSpec { timeout: Some("8s".into()), ..shell("train", "true") };
    let job = forge(&bed, spec, refer_to_missing_secret).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::DeadlineExceeded)).await;
    bed.capture("secret-missing-until-deadline", job).await;
    assert_never_ran(&record.seen.status, "nowhere");
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn cancelled_job_that_never_ran_has_no_exit_code() {
    let bed = Harness::make("never-ran").await;
    let job = bed.submit(without_image()).await;
    bed.comes_to(job, Phase::Pending, Some(Reason::ImagePull)).await;
    bed.plane.cancel(job).await.unwrap();
    bed.until_nothing_is_left(job).await;
    let status = bed.plane.job(job).unwrap().seen.status.clone();
    assert_eq!((status.phase, status.exit_code), (Phase::Cancelled, None));
}

#[tokio::test]
async fn restarted_runway_finds_why_a_job_never_ran() {
    let bed = Harness::make("late-restart").await;
    let job = bed.submit(JobSpec { timeout: Some("8s".into()), ..without_image() }).await;
    let is_at = |record: &runway_control::JobRecord, phase, reason| {
        (record.seen.status.phase, record.seen.status.reason) == (phase, Some(reason))
    };
    // One process starts while the pod waits, one while it is being deleted, and one after it was deleted.
    bed.comes_to(job, Phase::Pending, Some(Reason::ImagePull)).await;
    let waiting = bed.again().await;
    bed.until(job, "the deadline", |record| is_at(record, Phase::Running, Reason::DeadlineExceeded)).await;
    let deleting = bed.again().await;
    bed.until(job, "the end", |record| is_at(record, Phase::Failed, Reason::DeadlineExceeded)).await;
    let pods = bed.api::<k8s_openapi::api::core::v1::Pod>();
    runway_testing::cluster::until("the pod to go", async || {
        pods.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty().then_some(())
    })
    .await;
    let gone = bed.again().await;
    for bed in [bed, waiting, deleting, gone] {
        let record = bed.until(job, "its cause", |record| {
            is_at(record, Phase::Failed, Reason::DeadlineExceeded)
                && record.seen.status.message.contains("no such host")
        });
        assert_never_ran(&record.await.seen.status, "no such host");
    }
}

#[tokio::test]
async fn a_job_whose_command_is_not_there() {
    let bed = Harness::make("no-command").await;
    let job = bed.submit(spec("train", &["/bin/no-such-program"])).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::StartError)).await;
    bed.capture("start-error", job).await;
    assert_told(&record.seen.status, "no-such-program", "command");
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn a_job_that_writes_more_than_it_asked_for() {
    let bed = Harness::make("storage").await;
    let mut spec = shell("train", "dd if=/dev/zero of=/tmp/big bs=1M count=64; sleep 300");
    spec.resources.ephemeral_storage = Some("8Mi".into());
    let job = bed.submit(spec).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::Evicted)).await;
    bed.capture("evicted", job).await;
    assert_told(&record.seen.status, "", "resources.ephemeral_storage");
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn a_job_that_is_tried_again_to_the_end() {
    let bed = Harness::make("retries").await;
    let job = bed.submit(JobSpec { retries: Some(1.into()), ..shell("train", "exit 7") }).await;
    let record = bed.comes_to(job, Phase::Failed, Some(Reason::NonZeroExit)).await;
    bed.capture("retried-to-the-end", job).await;
    let status = &record.seen.status;
    assert_eq!((status.exit_code, status.attempts, status.runs.len()), (Some(7), 2, 2));
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn a_job_that_is_cancelled() {
    let bed = Harness::make("cancelled").await;
    let job = bed.submit(shell("train", "trap '' TERM; sleep 1000")).await;
    bed.comes_to(job, Phase::Running, None).await;
    bed.plane.cancel(job).await.unwrap();
    let look = |record: &runway_control::JobRecord| record.seen.status.phase == Phase::Cancelled;
    bed.until(job, "cancellation", look).await;
    bed.capture("cancelled", job).await;
    bed.until_nothing_is_left(job).await;
    let record = bed.plane.job(job).unwrap();
    assert_eq!(record.seen.status.phase, Phase::Cancelled);
    assert!(record.seen.status.finished_at.is_some() && !record.seen.status.holds);
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_cancelled() {
    let bed = Harness::make("too-late").await;
    let job = bed.submit(shell("train", "true")).await;
    bed.comes_to(job, Phase::Succeeded, None).await;
    let told = bed.plane.cancel(job).await;
    assert!(matches!(told, Err(runway_control::CancelError::Finished(_))), "{told:?}");
    // The backend also returns this, independent of the control plane's record.
    use runway_control::backend::{Backend, Cancelled};
    let reference = bed.plane.job(job).unwrap().seen.job();
    assert_eq!(bed.backend.cancel(&reference).await.unwrap(), Cancelled::Finished);
}

#[tokio::test]
async fn a_job_that_is_deleted_behind_runways_back() {
    use k8s_openapi::api::batch::v1::Job;
    use kube::api::DeleteParams;
    let bed = Harness::make("deleted").await;
    let job = bed.submit(shell("train", "sleep 1000")).await;
    let record = bed.comes_to(job, Phase::Running, None).await;
    assert_eq!(bed.plane.held(), [job]);
    let name = format!("{}-{job}", record.seen.name);
    bed.api::<Job>().delete(&name, &DeleteParams::background()).await.unwrap();
    bed.until_nothing_is_left(job).await;
    let record = bed.plane.job(job).unwrap();
    assert_eq!((record.seen.status.phase, record.seen.status.attempts), (Phase::Unknown, 1));
}

#[tokio::test]
async fn a_job_whose_pods_are_left_behind_holds_until_they_end() {
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{DeleteParams, ListParams};
    let bed = Harness::make("orphans").await;
    let job = bed.submit(shell("train", "sleep 1000")).await;
    let record = bed.comes_to(job, Phase::Running, None).await;
    let name = format!("{}-{job}", record.seen.name);
    bed.api::<Job>().delete(&name, &DeleteParams::orphan()).await.unwrap();
    runway_testing::cluster::until("the Job to go", async || {
        bed.api::<Job>().get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    // A restarted process has the same hold.
    let again = bed.again().await;
    assert_eq!((bed.plane.held(), again.plane.held()), (vec![job], vec![job]));
    let pods = bed.api::<Pod>();
    pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    bed.until(job, "the job to leave", |record| record.gone).await;
    again.until(job, "the job to leave", |record| record.gone).await;
    assert_eq!((bed.plane.held(), again.plane.held()), (vec![], vec![]));
}

#[tokio::test]
async fn a_job_that_has_ended_leaves_and_is_remembered() {
    let bed = Harness::with("ttl", |policy| policy.replace("600s", "2s")).await;
    let mut spec = shell("train", "test \"$TOKEN\" = hush; exit 5");
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush".into()));
    let job = bed.submit(spec).await;
    bed.until_nothing_is_left(job).await;
    let record = bed.plane.job(job).unwrap();
    let status = &record.seen.status;
    assert_eq!(
        (status.phase, status.reason, status.exit_code),
        (Phase::Failed, Some(Reason::NonZeroExit), Some(5))
    );
}
