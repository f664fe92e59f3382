//! Tests of the backend with a client that is connected to a socket.

use super::*;
use crate::protobuf::decode_object;
use crate::protobuf::test_encode::{in_envelope, map_entry, nested, string};
use crate::test_server::{ReceivedRequest, TestResponse, TestServer};
use runway_control::{ControlPlane, Settings, SubmitError, Submitted, SystemEnv};
use runway_core::policy::PriceOverrides;
use runway_core::render::label;
use runway_core::spec::Secret;
use runway_core::{Gate, JobSpec, Tenant};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

fn policy() -> Arc<Policy> {
    let text = include_bytes!("../../../fixtures/policies/default.yaml");
    Arc::new(Policy::parse(text, PriceOverrides::default()).unwrap())
}

async fn backend(server: &TestServer) -> KubernetesBackend {
    let policy = policy();
    let settings = KubernetesSettings::new(&policy);
    KubernetesBackend::new(server.client().await, &policy, settings, Arc::new(SystemEnv))
}

/// Starts a control plane and waits until it is ready.
async fn plane(server: &TestServer) -> ControlPlane {
    let backend = Arc::new(backend(server).await);
    let plane = ControlPlane::new(backend, policy(), Arc::new(SystemEnv), Settings::default());
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    plane
}

fn job() -> JobSpec {
    JobSpec {
        name: Some("train".into()),
        tenant: Some("search".into()),
        image: Some("registry.internal/embed:1.8.0".into()),
        ..JobSpec::default()
    }
}

fn create_request(spec: JobSpec) -> CreateRequest {
    let policy = policy();
    let mut gate = Gate::new(Arc::clone(&policy), SystemEnv.hash_seed());
    let id = JobId::from_random(SystemEnv.random());
    let decision = gate.submit(id, &spec.into(), SystemEnv.now()).unwrap();
    CreateRequest { id, admitted: decision.admitted().unwrap().clone(), policy }
}

fn job_ref() -> JobRef {
    let tenant: Tenant = "search".parse().unwrap();
    JobRef { id: JobId::from_random(1), name: "train".parse().unwrap(), tenant }
}

#[tokio::test]
async fn busy_api_server_gets_one_create_request() {
    for retry_after in [None, Some(7)] {
        let server = TestServer::start(move |request| match request.is_create() {
            true => TestResponse::busy(retry_after),
            false => TestResponse::without_objects(request),
        })
        .await;
        let plane = plane(&server).await;
        let started = Instant::now();
        let result = plane.submit(job().into(), None).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        let Err(SubmitError::Create { error: CreateError::Unavailable(cause), .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(cause.to_string(), "creating a Job: the API server is busy: Too many requests");
        assert_eq!(cause.retry_after, retry_after.map(|seconds| Duration::from_secs(seconds.into())));
        assert_eq!(server.count(ReceivedRequest::is_create), 1);
        assert_eq!((plane.held_job_ids(), plane.cluster_usage().1), (vec![], 0));
    }
}

#[tokio::test]
async fn create_with_a_gateway_timeout_is_repeated_once() {
    // The first request creates the Job, but its response is an error.
    let created = Mutex::new(None);
    let server = TestServer::start(move |request| {
        let mut created = created.lock().unwrap();
        match &*created {
            None if request.is_create() => {
                *created = Some(request.body.clone());
                TestResponse::failure(504, "Timeout")
            }
            Some(_) if request.is_create() => TestResponse::failure(409, "AlreadyExists"),
            Some(job) if request.line.contains("/jobs/train-") => TestResponse::ok(job.clone()),
            _ => TestResponse::without_objects(request),
        }
    })
    .await;
    let plane = plane(&server).await;
    let result = plane.submit(job().into(), None).await;
    assert!(matches!(result, Ok(Submitted::Created { decision: Some(_), .. })), "{result:?}");
    assert_eq!(server.count(ReceivedRequest::is_create), 2);
}

#[tokio::test]
async fn read_is_repeated_after_the_time_that_the_server_returned() {
    let reads = AtomicUsize::new(0);
    let server = TestServer::start(move |_| match reads.fetch_add(1, Ordering::Relaxed) {
        0 => TestResponse::busy(Some(1)),
        _ => TestResponse::failure(404, "NotFound"),
    })
    .await;
    let backend = backend(&server).await;
    let started = Instant::now();
    assert_eq!(backend.find(&job_ref()).await, Ok(None));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(server.count(|_| true), 2);
}

#[tokio::test]
async fn read_with_a_long_retry_after_is_not_repeated() {
    let server = TestServer::start(|_| TestResponse::busy(Some(3600))).await;
    let error = backend(&server).await.find(&job_ref()).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(server.count(|_| true), 1);
}

#[tokio::test]
async fn failed_read_is_repeated_twice() {
    for status in [503, 504] {
        let server = TestServer::start(move |_| TestResponse::failure(status, "X")).await;
        let error = backend(&server).await.find(&job_ref()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("reading a Job: the API server returned {status}: no"));
        assert_eq!(server.count(|_| true), 3);
    }
}

/// An API server that stores one Job, as far as its creation and deletion need it.
#[derive(Default)]
struct StoredJob(Mutex<Option<Job>>);

impl StoredJob {
    /// Responds to a request. `create_secret` responds to requests that create a Secret.
    fn respond(
        &self,
        request: &ReceivedRequest,
        create_secret: impl FnOnce(&mut Option<Job>) -> TestResponse,
    ) -> TestResponse {
        let mut stored = self.0.lock().unwrap();
        let (method, path) = request.line.split_once(' ').unwrap();
        let not_found = || TestResponse::failure(404, "NotFound");
        let sent = || serde_json::from_slice::<serde_json::Value>(&request.body).unwrap();
        match (method, path.contains("/secrets")) {
            ("POST", true) => create_secret(&mut stored),
            ("DELETE", true) => empty_object(),
            ("POST", false) if stored.is_some() => TestResponse::failure(409, "AlreadyExists"),
            ("POST", false) => {
                let mut job: Job = decode_object(&request.body).unwrap();
                job.metadata.uid = Some(format!("u-{}", job.metadata.name.as_deref().unwrap()));
                set_version(&mut job);
                let response = encode(&job);
                *stored = Some(job);
                TestResponse::ok(response)
            }
            ("GET", false) if path.contains("/jobs/") => {
                stored.as_ref().map_or_else(not_found, |job| TestResponse::ok(encode(job)))
            }
            ("PATCH", false) => match &mut *stored {
                None => not_found(),
                Some(job) if sent()["metadata"]["uid"] != *job.metadata.uid.as_deref().unwrap() => {
                    TestResponse::failure(409, "Conflict")
                }
                Some(job) => {
                    complete(job);
                    empty_object()
                }
            },
            ("DELETE", false) => {
                let Some(job) = &*stored else { return not_found() };
                let required = sent()["preconditions"].clone();
                if required["uid"] != *job.metadata.uid.as_deref().unwrap()
                    || required["resourceVersion"] != *job.metadata.resource_version.as_deref().unwrap()
                {
                    return TestResponse::failure(409, "Conflict");
                }
                *stored = None;
                empty_object()
            }
            _ => TestResponse::without_objects(request),
        }
    }

    fn get(&self) -> Option<Job> {
        self.0.lock().unwrap().clone()
    }
}

fn empty_object() -> TestResponse {
    TestResponse::ok(br#"{"metadata": {}}"#.to_vec())
}

/// Gives a Job the next resource version.
fn set_version(job: &mut Job) {
    let version = job.metadata.resource_version.as_deref().map_or(0, |version| version.parse().unwrap());
    job.metadata.resource_version = Some((version + 1_u64).to_string());
}

fn complete(job: &mut Job) {
    job.metadata.annotations.as_mut().unwrap().remove(label::INCOMPLETE);
    set_version(job);
}

/// Encodes the metadata of a Job.
fn encode(job: &Job) -> Vec<u8> {
    let meta = &job.metadata;
    let mut fields = Vec::new();
    for (number, text) in [(1, &meta.name), (3, &meta.namespace), (5, &meta.uid), (6, &meta.resource_version)]
    {
        fields.push((number, string(text.as_deref().unwrap())));
    }
    let maps = [(11, &meta.labels), (12, &meta.annotations)];
    for (number, (key, value)) in
        maps.into_iter().flat_map(|(number, map)| map.iter().flatten().map(move |entry| (number, entry)))
    {
        fields.push((number, map_entry(key, string(value))));
    }
    in_envelope(&[(1, nested(&fields))])
}

fn job_with_secret() -> JobSpec {
    let secret = ("TOKEN".to_owned(), Secret::Value("hunter2".to_owned()));
    JobSpec { secrets: BTreeMap::from([secret]), ..job() }
}

#[tokio::test]
async fn job_completed_after_the_list_is_not_deleted() {
    let (stored, listed) = (Arc::new(StoredJob::default()), Arc::new(Mutex::new(None)));
    let (server_state, snapshot) = (Arc::clone(&stored), Arc::clone(&listed));
    // A list contains the Job before its Secret exists.
    let server = TestServer::start(move |request| {
        server_state.respond(request, |job| {
            snapshot.lock().unwrap().clone_from(job);
            empty_object()
        })
    })
    .await;
    let created = plane(&server).await.submit(job_with_secret().into(), None).await;
    assert!(matches!(created, Ok(Submitted::Created { .. })), "{created:?}");
    let listed = listed.lock().unwrap().clone().unwrap();
    assert!(is_incomplete(&listed));
    assert!(!backend(&server).await.cluster.delete_incomplete(listed).await.unwrap());
    assert!(stored.get().is_some_and(|job| !is_incomplete(&job)));
}

#[tokio::test]
async fn incomplete_job_is_deleted_although_its_status_changes() {
    let stored = Arc::new(StoredJob::default());
    let server_state = Arc::clone(&stored);
    let server =
        TestServer::start(move |request| server_state.respond(request, |_| TestResponse::failure(500, "X")))
            .await;
    let backend = backend(&server).await;
    let created = backend.create(&create_request(job_with_secret())).await;
    assert!(matches!(created, Err(CreateError::Uncertain(_))), "{created:?}");
    let listed = stored.get().unwrap();
    set_version(stored.0.lock().unwrap().as_mut().unwrap());
    assert!(backend.cluster.delete_incomplete(listed).await.unwrap());
    assert_eq!(stored.get(), None);
    assert_eq!(server.count(|request| request.line.starts_with("DELETE ")), 2);
}

#[tokio::test]
async fn job_deleted_before_it_is_complete_is_created_again() {
    let stored = Arc::new(StoredJob::default());
    let (server_state, secrets) = (Arc::clone(&stored), AtomicUsize::new(0));
    let server = TestServer::start(move |request| {
        server_state.respond(request, |job| {
            // The garbage collection deletes the Job before the first request can complete it.
            if secrets.fetch_add(1, Ordering::Relaxed) == 0 {
                *job = None;
            }
            empty_object()
        })
    })
    .await;
    let created = plane(&server).await.submit(job_with_secret().into(), None).await;
    assert!(matches!(created, Ok(Submitted::Created { decision: Some(_), .. })), "{created:?}");
    assert!(stored.get().is_some_and(|job| !is_incomplete(&job)));
    assert_eq!(server.count(ReceivedRequest::is_create), 2);
}

#[tokio::test]
async fn rollback_keeps_a_job_that_another_process_completed() {
    let stored = Arc::new(StoredJob::default());
    let server_state = Arc::clone(&stored);
    let server = TestServer::start(move |request| {
        server_state.respond(request, |job| {
            complete(job.as_mut().unwrap());
            TestResponse::failure(403, "Forbidden")
        })
    })
    .await;
    let created = plane(&server).await.submit(job_with_secret().into(), None).await;
    assert!(matches!(created, Ok(Submitted::Created { .. })), "{created:?}");
    assert!(stored.get().is_some());
    assert_eq!(server.count(|request| request.line.starts_with("DELETE ")), 0);
}

#[tokio::test]
async fn rollback_deletes_an_incomplete_job() {
    let stored = Arc::new(StoredJob::default());
    let server_state = Arc::clone(&stored);
    let server = TestServer::start(move |request| {
        server_state.respond(request, |_| TestResponse::failure(403, "Forbidden"))
    })
    .await;
    let created = plane(&server).await.submit(job_with_secret().into(), None).await;
    assert!(
        matches!(created, Err(SubmitError::Create { error: CreateError::Rejected { .. }, .. })),
        "{created:?}"
    );
    assert_eq!(stored.get(), None);
}
