//! The contract of a backend: a test suite that each implementation of [`Backend`] passes.
//!
//! The suite uses only the trait, so it runs on the fake, on one machine and on a cluster. It uses the clock
//! of the runtime, so the fake passes in virtual time.

use crate::jobs;
use futures::StreamExt;
use runway_control::JobSnapshot;
use runway_control::backend::{
    Backend, CancelOutcome, CreateError, CreateRequest, JobRef, LogError, LogEvent, LogOptions, WatchEvent,
};
use runway_core::capability::Capability;
use runway_core::status::Phase;
use runway_core::units::Timestamp;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission};
use std::sync::Arc;
use std::time::Duration;

/// Limit on each wait of the suite.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A backend under test.
pub trait BackendUnderTest {
    /// Returns the current backend.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Replaces the current backend by a new one for the same jobs, as after a restart of the server.
    fn restart(&mut self);

    /// Returns the policy that admits the jobs of the suite. It allows every network.
    fn policy(&self) -> Arc<Policy>;

    /// Returns a job that prints a line with the word `begins`, runs for a short time, and succeeds.
    fn job(&self, name: &str) -> JobSpec;

    /// Returns a unique id.
    fn id(&self) -> JobId;
}

/// Runs the whole suite.
pub async fn check(tested: &mut impl BackendUnderTest) {
    unknown_jobs(tested).await;
    creation(tested).await;
    create_without_response(tested).await;
    watch(tested).await;
    output(tested).await;
    cancellation(tested).await;
    capabilities(tested).await;
}

fn create_request(tested: &impl BackendUnderTest, spec: JobSpec) -> CreateRequest {
    jobs::create_request(&tested.policy(), tested.id(), spec)
}

async fn wait_until(
    backend: &dyn Backend,
    job: &JobRef,
    awaited: &str,
    condition: impl Fn(&JobSnapshot) -> bool,
) {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let found = backend.find(job).await.unwrap();
        if found.as_ref().is_some_and(&condition) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for {awaited}: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn list_job(backend: &dyn Backend, id: JobId) -> Vec<JobSnapshot> {
    backend.list().await.unwrap().into_iter().filter(|snapshot| snapshot.id == id).collect()
}

/// Asserts that the snapshot contains all data of the create request. A server that restarts has no other
/// source for these data.
fn assert_matches(snapshot: &JobSnapshot, request: &CreateRequest) {
    let expected = JobSnapshot::initial(request, snapshot.created_at);
    assert_eq!(JobSnapshot { status: expected.status.clone(), ..snapshot.clone() }, expected);
}

async fn unknown_jobs(tested: &impl BackendUnderTest) {
    let (backend, job) = (tested.backend(), create_request(tested, tested.job("unknown")).job_ref());
    assert_eq!(backend.find(&job).await.unwrap(), None);
    assert_eq!(backend.cancel(&job).await.unwrap(), CancelOutcome::NotFound);
    let logs = backend.logs(&job, LogOptions::default()).await;
    assert!(matches!(logs, Err(LogError::Gone)), "{:?}", logs.err());
}

async fn creation(tested: &mut impl BackendUnderTest) {
    let request = create_request(tested, tested.job("creation"));
    let backend = tested.backend();
    assert_matches(&backend.create(&request).await.unwrap(), &request);
    let found = backend.find(&request.job_ref()).await.unwrap().unwrap();
    assert_matches(&found, &request);
    assert_eq!(list_job(&*backend, request.id).await.len(), 1);

    // A repeated request creates no second job.
    match backend.create(&request).await {
        Ok(snapshot) => assert_matches(&snapshot, &request),
        Err(CreateError::IdConflict(snapshot)) => assert_matches(&snapshot, &request),
        Err(error) => panic!("{error:?}"),
    }
    // A request for another job with the same id changes nothing.
    let mut spec = tested.job("creation");
    spec.env.insert("OTHER".into(), "1".into());
    let other_request = CreateRequest { id: request.id, ..create_request(tested, spec) };
    match backend.create(&other_request).await {
        Err(CreateError::IdConflict(snapshot)) => assert_matches(&snapshot, &request),
        unexpected => panic!("{unexpected:?}"),
    }
    let [snapshot] = &list_job(&*backend, request.id).await[..] else { panic!("one job") };
    assert_matches(snapshot, &request);

    // Another process finds the job with all its data.
    drop(backend);
    tested.restart();
    let backend = tested.backend();
    let [snapshot] = &list_job(&*backend, request.id).await[..] else { panic!("one job") };
    assert_matches(snapshot, &request);
    assert_eq!(snapshot.created_at, found.created_at);
    wait_until(&*backend, &request.job_ref(), "its end", |snapshot| {
        snapshot.status.phase == Phase::Succeeded
    })
    .await;
    assert_eq!(backend.cancel(&request.job_ref()).await.unwrap(), CancelOutcome::AlreadyFinished);
}

/// A caller that stops waiting for the response does not know whether the request arrived. After a repeated
/// request, exactly one job exists.
async fn create_without_response(tested: &impl BackendUnderTest) {
    let request = create_request(tested, tested.job("unanswered"));
    let backend = tested.backend();
    let response = tokio::time::timeout(Duration::ZERO, backend.create(&request)).await;
    drop(response);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        match backend.create(&request).await {
            Ok(snapshot) => break assert_matches(&snapshot, &request),
            Err(CreateError::IdConflict(snapshot)) => break assert_matches(&snapshot, &request),
            // The first request may still be in flight.
            Err(CreateError::Unavailable(_) | CreateError::Uncertain(_)) => {}
            Err(error @ CreateError::Rejected { .. }) => panic!("{error:?}"),
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for the job");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_until(&*backend, &request.job_ref(), "its end", |snapshot| {
        snapshot.status.phase == Phase::Succeeded
    })
    .await;
    assert_eq!(list_job(&*backend, request.id).await.len(), 1);
}

/// A watch first lists the jobs. It then reports a new job until its phase is `succeeded`, and reports no
/// other phase after that.
async fn watch(tested: &impl BackendUnderTest) {
    let request = create_request(tested, tested.job("watch"));
    let backend = tested.backend();
    let mut events = backend.watch();
    let mut next = async || {
        let event = tokio::time::timeout(TIMEOUT, events.next()).await;
        event.unwrap_or_else(|_| panic!("waited {TIMEOUT:?} for an event")).expect("the watch ended")
    };
    let mut event = next().await;
    while matches!(event, WatchEvent::Interrupted(_)) {
        event = next().await;
    }
    assert_eq!(event, WatchEvent::ListStarted);
    let mut event = next().await;
    while event == WatchEvent::Connected {
        event = next().await;
    }
    let WatchEvent::Listed(jobs) = event else { panic!("{event:?}") };
    assert!(jobs.iter().all(|snapshot| snapshot.id != request.id));
    backend.create(&request).await.unwrap();
    let mut phases = Vec::new();
    while phases.last() != Some(&Phase::Succeeded) {
        match next().await {
            WatchEvent::Updated(snapshot) if snapshot.id == request.id => {
                assert_matches(&snapshot, &request);
                phases.push(snapshot.status.phase);
            }
            WatchEvent::Removed(id) => assert_ne!(id, request.id, "removed before its end was reported"),
            _ => {}
        }
    }
    let mut sorted = phases.clone();
    sorted.sort_by_key(|phase| *phase == Phase::Succeeded);
    assert_eq!(sorted, phases, "a phase follows the final one");
}

/// The followed output of a job is complete, and its stream ends when the job ends.
async fn output(tested: &impl BackendUnderTest) {
    let request = create_request(tested, tested.job("output"));
    let backend = tested.backend();
    backend.create(&request).await.unwrap();
    let follow = LogOptions { follow: true, tail: None };
    let mut stream = backend.logs(&request.job_ref(), follow).await.unwrap();
    let (mut text, mut attempt) = (Vec::new(), None);
    while let Some(event) = tokio::time::timeout(TIMEOUT, stream.next()).await.expect("output in time") {
        match event.unwrap() {
            LogEvent::Attempt(number) => attempt = Some(number),
            LogEvent::Bytes(bytes) => text.extend_from_slice(&bytes),
        }
    }
    let text = String::from_utf8(text).unwrap();
    assert_eq!((attempt, text.matches("begins").count()), (Some(1), 1), "{text:?}");
    wait_until(&*backend, &request.job_ref(), "its end", |snapshot| {
        snapshot.status.phase == Phase::Succeeded
    })
    .await;
    assert!(backend.logs(&request.job_ref(), LogOptions { follow: false, tail: Some(0) }).await.is_ok());
}

/// A cancelled job has the phase `cancelled`, or no longer exists.
async fn cancellation(tested: &impl BackendUnderTest) {
    let request = create_request(tested, tested.job("cancellation"));
    let backend = tested.backend();
    backend.create(&request).await.unwrap();
    wait_until(&*backend, &request.job_ref(), "its start", |snapshot| {
        snapshot.status.phase == Phase::Running
    })
    .await;
    assert_eq!(backend.cancel(&request.job_ref()).await.unwrap(), CancelOutcome::Started);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while let Some(snapshot) = backend.find(&request.job_ref()).await.unwrap() {
        if !snapshot.status.occupies_resources {
            assert_eq!(snapshot.status.phase, Phase::Cancelled);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for the end: {snapshot:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The gate refuses a job that needs a feature which the backend lacks. If the backend receives such a job
/// without the gate, it rejects the job instead of ignoring the feature.
async fn capabilities(tested: &impl BackendUnderTest) {
    let backend = tested.backend();
    let capabilities = backend.capabilities();
    assert!(!capabilities.backend().is_empty());
    let gate = Gate::new(tested.policy(), HashSeed::default()).with_capabilities(capabilities.clone());
    for capability in [
        Capability::ImageEntrypoint,
        Capability::Retries,
        Capability::NetworkNone,
        Capability::NetworkInternal,
        Capability::NetworkOpen,
    ] {
        let mut spec = tested.job("capability");
        match capability {
            Capability::ImageEntrypoint => spec.command.clear(),
            Capability::Retries => spec.retries = Some(1_u64.into()),
            Capability::NetworkNone => spec.network = Some("none".into()),
            Capability::NetworkInternal => spec.network = Some("internal".into()),
            _ => spec.network = Some("open".into()),
        }
        let decision = gate.preview(&Submission::from(spec.clone()), Timestamp::EPOCH);
        let is_refused =
            decision.violations().iter().any(|violation| violation.capability == Some(capability));
        assert_eq!(
            is_refused,
            !capabilities.supports(capability),
            "{capability}: {:?}",
            decision.violations()
        );
        if is_refused {
            let request = create_request(tested, spec);
            let created = backend.create(&request).await;
            assert!(matches!(created, Err(CreateError::Rejected { .. })), "{capability}: {created:?}");
            assert_eq!(list_job(&*backend, request.id).await, []);
        }
    }
}
