//! Tests of the local backend, directly and through the control plane.

use crate::harness::{Harness, create_request, script};
use futures::StreamExt;
use runway_control::backend::{Backend, CreateError, LogError, LogEvent, LogOptions, WatchEvent};
use runway_control::{ControlPlane, Settings, Submitted, SystemEnv};
use runway_core::JobSpec;
use runway_core::status::{Phase, Reason};
use runway_local::LocalBackend;
use runway_testing::policies;
use std::sync::Arc;
use std::time::Duration;

async fn read_log(plane: &ControlPlane, id: runway_core::JobId, options: LogOptions) -> String {
    let mut stream = plane.logs(id, options).await.unwrap();
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            LogEvent::Attempt(number) => text.push_str(&format!("[{number}]")),
            LogEvent::Bytes(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
        }
    }
    text
}

async fn wait_for_job(
    plane: &ControlPlane,
    id: runway_core::JobId,
    is_so: impl Fn(&runway_control::JobRecord) -> bool,
) -> Arc<runway_control::JobRecord> {
    for _ in 0..2_000 {
        if let Some(job) = plane.job(id).filter(|job| is_so(job)) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("timed out: {:?}", plane.job(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_runs_retries_and_cancels_jobs() {
    let harness = Harness::new();
    let policy = policies::MACHINE.replace("run: {", "run: {ttl_after_finished: 1s, ");
    let policy = policies::parse(&policy);
    let backend = Arc::new(LocalBackend::open(harness.machine.settings().clone()).unwrap());
    let plane = ControlPlane::new(backend, policy, Arc::new(SystemEnv), Settings::default());
    let follow = tokio::spawn(plane.clone().run());
    plane.ready().await;
    let submit = |spec: JobSpec| {
        let plane = plane.clone();
        async move {
            let Submitted::Created { job, .. } = plane.submit(spec.into(), None).await.unwrap() else {
                panic!()
            };
            job.snapshot.id
        }
    };
    let id = submit(JobSpec { retries: Some(1u64.into()), ..script("echo one; echo two; exit 7") }).await;
    let followed = read_log(&plane, id, LogOptions { follow: true, tail: None }).await;
    assert!(followed == "[1]one\ntwo\n[2]one\ntwo\n" || followed == "[2]one\ntwo\n", "{followed}");
    let job = wait_for_job(&plane, id, |job| !job.snapshot.status.occupies_resources).await;
    assert_eq!(
        (job.snapshot.status.phase, job.snapshot.status.reason),
        (Phase::Failed, Some(Reason::NonZeroExit))
    );
    assert!(job.bill(runway_core::units::Timestamp::EPOCH).unwrap().usd.micros() > 0);
    assert_eq!(read_log(&plane, id, LogOptions { follow: false, tail: Some(1) }).await, "[2]two\n");
    assert_eq!(read_log(&plane, id, LogOptions { follow: false, tail: Some(0) }).await, "[2]");
    assert_eq!(read_log(&plane, id, LogOptions { follow: false, tail: Some(9) }).await, "[2]one\ntwo\n");
    // One second after the end, the job's directory is deleted. The control plane still knows the job.
    wait_for_job(&plane, id, |job| job.gone).await;

    let id = submit(script("echo begun; sleep 1000")).await;
    wait_for_job(&plane, id, |job| job.snapshot.status.phase == Phase::Running).await;
    plane.cancel(id).await.unwrap();
    wait_for_job(&plane, id, |job| {
        job.snapshot.status.phase == Phase::Cancelled && !job.snapshot.status.occupies_resources
    })
    .await;
    assert_eq!(plane.watch_state().drift, 0);
    follow.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn backend_creates_finds_watches_and_rejects_jobs() {
    let harness = Harness::new();
    let backend = LocalBackend::open(harness.machine.settings().clone()).unwrap();
    let mut events = backend.watch();
    assert_eq!(events.next().await, Some(WatchEvent::ListStarted));
    assert_eq!(events.next().await, Some(WatchEvent::Listed(Vec::new())));
    let request = create_request(script("sleep 0.2"));
    let snapshot = backend.create(&request).await.unwrap();
    assert_eq!((snapshot.id, snapshot.status.phase), (request.id, Phase::Running));
    assert_eq!(snapshot.spec_digest, Some(request.admitted.spec_digest()));
    assert_eq!(snapshot.quote.as_ref(), Some(request.admitted.quote()));
    let Err(CreateError::IdConflict(existing)) = backend.create(&request).await else { panic!() };
    assert_eq!(existing.id, snapshot.id);
    assert_eq!(backend.find(&request.job_ref()).await.unwrap().unwrap().id, snapshot.id);
    loop {
        let Some(WatchEvent::Updated(changed)) = events.next().await else { panic!() };
        assert_eq!(changed.id, request.id);
        if !changed.status.occupies_resources {
            assert_eq!(changed.status.phase, Phase::Succeeded);
            break;
        }
    }
    assert_eq!(backend.list().await.unwrap().len(), 1);
    let missing = create_request(crate::harness::command(&["no-such-program"]));
    assert_eq!(backend.create(&missing).await.unwrap().id, missing.id);
    harness.find_job(missing.id).wait(None).unwrap();
    for follow in [false, true] {
        let logs = backend.logs(&missing.job_ref(), LogOptions { follow, tail: None }).await;
        assert!(matches!(logs, Err(LogError::NotStarted)), "the job has never run");
    }
    let unknown = create_request(script("true")).job_ref();
    assert_eq!(backend.find(&unknown).await.unwrap(), None);
    assert!(matches!(backend.logs(&unknown, LogOptions::default()).await, Err(LogError::Gone)));
    let no_command = create_request(crate::harness::command(&[]));
    assert!(matches!(backend.create(&no_command).await, Err(CreateError::Rejected { .. })));
}
