//! The contract of a backend: a test suite that each implementation of [`Backend`] passes.
//!
//! The suite uses only the trait, so it runs on the fake, on one machine and on a cluster. It uses the clock
//! of the runtime, so the fake passes in virtual time.

use futures::StreamExt;
use runway_control::Observation;
use runway_control::backend::{
    Backend, Cancelled, CreateError, JobRef, LogError, LogEvent, LogOptions, Order, WatchEvent,
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
    /// The backend of the running process.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Replaces the backend by one that another process would open for the same jobs.
    fn restart(&mut self);

    /// Returns the policy that admits the jobs of the suite. It allows every network.
    fn policy(&self) -> Arc<Policy>;

    /// Returns a job that prints a line with the word `begins`, runs for a short time, and succeeds.
    fn job(&self, name: &str) -> JobSpec;

    /// Returns a unique id.
    fn id(&self) -> JobId;
}

/// Runs the whole suite.
pub async fn check(subject: &mut impl BackendUnderTest) {
    unknown_jobs(subject).await;
    creation(subject).await;
    unanswered_creation(subject).await;
    watch(subject).await;
    output(subject).await;
    cancellation(subject).await;
    capabilities(subject).await;
}

/// Returns a create request for a job. The job is admitted without other jobs, and without a check of the
/// backend's features.
fn order(subject: &impl BackendUnderTest, spec: JobSpec) -> Order {
    let policy = subject.policy();
    let gate = Gate::new(Arc::clone(&policy), HashSeed::default());
    let decision = gate.preview(&Submission::from(spec), Timestamp::from_seconds(1_795_248_000));
    let admitted = decision.admitted().unwrap_or_else(|| panic!("{:?}", decision.violations())).clone();
    Order { id: subject.id(), admitted, policy }
}

async fn until(backend: &dyn Backend, job: &JobRef, what: &str, is: impl Fn(&Observation) -> bool) {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let found = backend.find(job).await.unwrap();
        if found.as_ref().is_some_and(&is) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for {what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn listed(backend: &dyn Backend, id: JobId) -> Vec<Observation> {
    backend.list().await.unwrap().into_iter().filter(|seen| seen.id == id).collect()
}

/// Asserts that the snapshot contains all data of the create request. Another process has no other source.
fn assert_is(seen: &Observation, order: &Order) {
    let expected = Observation::created(order, seen.created_at);
    assert_eq!(Observation { status: expected.status.clone(), ..seen.clone() }, expected);
}

async fn unknown_jobs(subject: &impl BackendUnderTest) {
    let (backend, job) = (subject.backend(), order(subject, subject.job("unknown")).job());
    assert_eq!(backend.find(&job).await.unwrap(), None);
    assert_eq!(backend.cancel(&job).await.unwrap(), Cancelled::Gone);
    let logs = backend.logs(&job, LogOptions::default()).await;
    assert!(matches!(logs, Err(LogError::Gone)), "{:?}", logs.err());
}

async fn creation(subject: &mut impl BackendUnderTest) {
    let order = order(subject, subject.job("creation"));
    let backend = subject.backend();
    assert_is(&backend.create(&order).await.unwrap(), &order);
    let found = backend.find(&order.job()).await.unwrap().unwrap();
    assert_is(&found, &order);
    assert_eq!(listed(&*backend, order.id).await.len(), 1);

    // A repeated request creates no second job.
    match backend.create(&order).await {
        Ok(seen) => assert_is(&seen, &order),
        Err(CreateError::IdConflict(seen)) => assert_is(&seen, &order),
        Err(error) => panic!("{error:?}"),
    }
    // A request for another job with the same id changes nothing.
    let mut spec = subject.job("creation");
    spec.env.insert("OTHER".into(), "1".into());
    let other = Order { id: order.id, ..self::order(subject, spec) };
    match backend.create(&other).await {
        Err(CreateError::IdConflict(seen)) => assert_is(&seen, &order),
        unexpected => panic!("{unexpected:?}"),
    }
    let [seen] = &listed(&*backend, order.id).await[..] else { panic!("one job") };
    assert_is(seen, &order);

    // Another process finds the job with all its data.
    drop(backend);
    subject.restart();
    let backend = subject.backend();
    let [seen] = &listed(&*backend, order.id).await[..] else { panic!("one job") };
    assert_is(seen, &order);
    assert_eq!(seen.created_at, found.created_at);
    until(&*backend, &order.job(), "its end", |seen| seen.status.phase == Phase::Succeeded).await;
    assert_eq!(backend.cancel(&order.job()).await.unwrap(), Cancelled::Finished);
}

/// A caller that stops waiting does not know whether the request arrived. A repeated request leaves exactly
/// one job.
async fn unanswered_creation(subject: &impl BackendUnderTest) {
    let order = order(subject, subject.job("unanswered"));
    let backend = subject.backend();
    let answer = tokio::time::timeout(Duration::ZERO, backend.create(&order)).await;
    drop(answer);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        match backend.create(&order).await {
            Ok(seen) => break assert_is(&seen, &order),
            Err(CreateError::IdConflict(seen)) => break assert_is(&seen, &order),
            // The first request may still be in flight.
            Err(CreateError::Unavailable(_) | CreateError::Uncertain(_)) => {}
            Err(error @ CreateError::Rejected { .. }) => panic!("{error:?}"),
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for the job");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until(&*backend, &order.job(), "its end", |seen| seen.status.phase == Phase::Succeeded).await;
    assert_eq!(listed(&*backend, order.id).await.len(), 1);
}

/// A watch first lists the jobs. It then reports each phase of the new job, including the last one.
async fn watch(subject: &impl BackendUnderTest) {
    let order = order(subject, subject.job("watch"));
    let backend = subject.backend();
    let mut events = backend.watch();
    let mut next = async || {
        let event = tokio::time::timeout(TIMEOUT, events.next()).await;
        event.unwrap_or_else(|_| panic!("waited {TIMEOUT:?} for an event")).expect("the watch ended")
    };
    let mut event = next().await;
    while matches!(event, WatchEvent::Interrupted(_)) {
        event = next().await;
    }
    assert_eq!(event, WatchEvent::ListingBegan);
    let event = next().await;
    let WatchEvent::Listed(jobs) = event else { panic!("{event:?}") };
    assert!(jobs.iter().all(|seen| seen.id != order.id));
    backend.create(&order).await.unwrap();
    let mut phases = Vec::new();
    while phases.last() != Some(&Phase::Succeeded) {
        match next().await {
            WatchEvent::Changed(seen) if seen.id == order.id => {
                assert_is(&seen, &order);
                phases.push(seen.status.phase);
            }
            WatchEvent::Gone(id) => assert_ne!(id, order.id, "removed before its end was reported"),
            _ => {}
        }
    }
    let mut sorted = phases.clone();
    sorted.sort_by_key(|phase| *phase == Phase::Succeeded);
    assert_eq!(sorted, phases, "a phase follows the final one");
}

/// The output is complete, and the stream ends when the job ends.
async fn output(subject: &impl BackendUnderTest) {
    let order = order(subject, subject.job("output"));
    let backend = subject.backend();
    backend.create(&order).await.unwrap();
    let follow = LogOptions { follow: true, tail: None };
    let mut stream = backend.logs(&order.job(), follow).await.unwrap();
    let (mut text, mut attempt) = (Vec::new(), None);
    while let Some(event) = tokio::time::timeout(TIMEOUT, stream.next()).await.expect("output in time") {
        match event.unwrap() {
            LogEvent::Attempt(number) => attempt = Some(number),
            LogEvent::Bytes(bytes) => text.extend_from_slice(&bytes),
        }
    }
    let text = String::from_utf8(text).unwrap();
    assert_eq!((attempt, text.matches("begins").count()), (Some(1), 1), "{text:?}");
    until(&*backend, &order.job(), "its end", |seen| seen.status.phase == Phase::Succeeded).await;
    assert!(backend.logs(&order.job(), LogOptions { follow: false, tail: Some(0) }).await.is_ok());
}

/// A cancelled job has the phase `cancelled`, or no longer exists.
async fn cancellation(subject: &impl BackendUnderTest) {
    let order = order(subject, subject.job("cancellation"));
    let backend = subject.backend();
    backend.create(&order).await.unwrap();
    until(&*backend, &order.job(), "its start", |seen| seen.status.phase == Phase::Running).await;
    assert_eq!(backend.cancel(&order.job()).await.unwrap(), Cancelled::Begun);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while let Some(seen) = backend.find(&order.job()).await.unwrap() {
        if !seen.status.holds {
            assert_eq!(seen.status.phase, Phase::Cancelled);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for the end: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The gate refuses a job that needs a missing feature. The backend rejects it too and does not ignore the
/// feature.
async fn capabilities(subject: &impl BackendUnderTest) {
    let backend = subject.backend();
    let capabilities = backend.capabilities();
    assert!(!capabilities.backend().is_empty());
    let gate = Gate::new(subject.policy(), HashSeed::default()).with_capabilities(capabilities.clone());
    for capability in [
        Capability::ImageEntrypoint,
        Capability::Retries,
        Capability::NetworkNone,
        Capability::NetworkInternal,
        Capability::NetworkOpen,
    ] {
        let mut spec = subject.job("capability");
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
            let order = order(subject, spec);
            let created = backend.create(&order).await;
            assert!(matches!(created, Err(CreateError::Rejected { .. })), "{capability}: {created:?}");
            assert_eq!(listed(&*backend, order.id).await, []);
        }
    }
}
