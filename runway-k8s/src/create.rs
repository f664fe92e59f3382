//! Creates the objects of an admitted job: a Job and, if the job has secrets, a Secret.
//!
//! A job with secrets takes three steps. The first step creates the Job, suspended and annotated as
//! incomplete. The second step creates the Secret. The Job owns it, so Kubernetes deletes the Secret together
//! with the Job. The third step removes the annotation and resumes the Job.
//!
//! If the second or third step definitely fails, the Job is deleted. If the outcome of a step is unknown, the
//! Job stays. If the Job is still incomplete then, another call for the same request repeats both steps.
//!
//! The number of concurrent creates is limited. A burst therefore waits in this process and does not overload
//! the API server.

use crate::call_error::{CallEffect, CallError, with_timeout};
use crate::cluster::Cluster;
use crate::object::{is_incomplete, is_managed_by_runway, timestamp, to_snapshot};
use crate::params::{merge_patch, patch_params, post_params};
use crate::protobuf::CreateResponse;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DeleteParams;
use runway_control::JobSnapshot;
use runway_control::backend::{CreateError, CreateRequest, Unavailable};
use runway_core::render::{Manifest, UnresolvedSecret, label, object_name, render};
use runway_core::status::{JobObjects, classify};
use serde_json::json;
use std::time::Duration;

/// The objects of a request were not created, or may not have been created.
#[derive(Debug, thiserror::Error)]
enum CreateObjectsError {
    /// The job refers to a secret whose value is not known.
    #[error(transparent)]
    RenderFailed(#[from] UnresolvedSecret),
    /// No permit became available in time, because earlier creates were slow.
    #[error(
        "creating a Job: still queued after {} s, because the API server is slow to create the jobs before it",
        .after.as_secs()
    )]
    PermitTimeout { after: Duration },
    /// A Job with the same name exists, and Runway did not create it.
    #[error("a Job `{name}` exists that was not created by Runway")]
    ForeignJob { name: String },
    /// A Job with the same id exists. It has another spec, or its creation is already complete.
    #[error("another job already has this id")]
    IdConflict(Box<JobSnapshot>),
    /// The Job existed a moment ago, but it was removed before Runway could read or resume it.
    #[error("the Job with this name was removed a moment ago")]
    ExistingJobGone,
    /// The incomplete Job of an earlier attempt is being deleted.
    #[error("the incomplete Job of an earlier attempt is being deleted; retry in a moment")]
    ExistingJobTerminating,
    /// The Job exists, but it could not be read.
    #[error(transparent)]
    ExistingJobUnreadable(CallError),
    /// The Job was created, but a later step failed. The deletion of the Job failed too.
    #[error(transparent)]
    RollbackFailed(CallError),
    /// A later step failed, but another process has completed the Job at the same time.
    #[error("another process has completed the creation of the Job")]
    CompletedElsewhere,
    /// Another call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<CreateObjectsError> for CreateError {
    fn from(error: CreateObjectsError) -> Self {
        let message = error.to_string();
        match error {
            CreateObjectsError::RenderFailed(_) | CreateObjectsError::ForeignJob { .. } => {
                Self::Rejected { reason: message }
            }
            CreateObjectsError::PermitTimeout { .. } | CreateObjectsError::ExistingJobTerminating => {
                Self::Unavailable(Unavailable::new(message))
            }
            CreateObjectsError::ExistingJobGone | CreateObjectsError::CompletedElsewhere => {
                Self::Uncertain(Unavailable::new(message))
            }
            CreateObjectsError::IdConflict(job) => Self::IdConflict(job),
            CreateObjectsError::RollbackFailed(error) => Self::Uncertain(error.into()),
            CreateObjectsError::ExistingJobUnreadable(error) => match error.effect() {
                CallEffect::Rejected => Self::Rejected { reason: error.cause.to_string() },
                // The Job exists, so the error must not say that nothing was created.
                CallEffect::NotDone | CallEffect::Unknown => Self::Uncertain(error.into()),
            },
            CreateObjectsError::Call(error) => match error.effect() {
                CallEffect::Rejected => Self::Rejected { reason: error.cause.to_string() },
                CallEffect::NotDone => Self::Unavailable(error.into()),
                CallEffect::Unknown => Self::Uncertain(error.into()),
            },
        }
    }
}

pub(crate) async fn create(cluster: &Cluster, request: &CreateRequest) -> Result<JobSnapshot, CreateError> {
    let result = create_objects(cluster, request).await;
    if let Err(CreateObjectsError::Call(error)) = &result
        && error.is_misconfiguration()
    {
        tracing::error!(job = %request.id, %error, "the cluster is not set up for jobs");
    }
    Ok(result?)
}

async fn create_objects(
    cluster: &Cluster,
    request: &CreateRequest,
) -> Result<JobSnapshot, CreateObjectsError> {
    let timeout = cluster.settings.call_timeout;
    let _permit =
        cluster.create_permit().await.ok_or(CreateObjectsError::PermitTimeout { after: timeout })?;
    let _in_flight = cluster.mark_in_flight(request.id);
    let Manifest { mut job, secret } = render(&request.admitted, request.id, &request.policy)?;
    if secret.is_some() {
        let annotations = job.metadata.annotations.get_or_insert_default();
        annotations.insert(label::INCOMPLETE.to_owned(), "waiting for its Secret".to_owned());
    }
    let jobs = cluster.protobuf_api::<Job>(&request.admitted.job().tenant);
    let response = match with_timeout(timeout, "creating a Job", jobs.create(&post_params(), &job)).await {
        Ok(response) => response,
        Err(error) if error.is_already_exists() => {
            let found = existing_job(cluster, request).await?;
            let existing = to_snapshot(&JobObjects { job: Some(&found), ..JobObjects::default() });
            let Some(existing) = existing.filter(|taken| taken.id == request.id) else {
                return Err(foreign_job(request));
            };
            let is_same_spec = existing.spec_digest == Some(request.admitted.spec_digest());
            if secret.is_none() || !is_same_spec || !is_incomplete(&found) {
                return Err(CreateObjectsError::IdConflict(Box::new(existing)));
            }
            CreateResponse { uid: found.metadata.uid, created_at: found.metadata.creation_timestamp }
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(secret) = secret
        && let Err(error) = attach_secret(cluster, request, &response, secret).await
    {
        // The Job was deleted, and may have been created again. Another call for the same request decides.
        if error.call == RESUMING && (error.is_not_found() || error.is_conflict()) {
            return Err(CreateObjectsError::ExistingJobGone);
        }
        // If the effect is unknown, the Job may be complete. It stays, and another call for the same request
        // repeats the remaining steps.
        if error.effect() != CallEffect::Unknown {
            roll_back(cluster, request, response).await?;
        }
        return Err(error.into());
    }
    // The Job has been resumed, so the status must not say that it is suspended.
    if let Some(spec) = &mut job.spec {
        spec.suspend = None;
    }
    let status = classify(&JobObjects { job: Some(&job), ..JobObjects::default() });
    let created_at = response.created_at.as_ref().and_then(timestamp).unwrap_or_default();
    Ok(JobSnapshot { status, ..JobSnapshot::initial(request, created_at) })
}

fn foreign_job(request: &CreateRequest) -> CreateObjectsError {
    CreateObjectsError::ForeignJob { name: object_name(&request.admitted.job().name, request.id) }
}

/// Returns the existing Job that has the name of the requested Job.
async fn existing_job(cluster: &Cluster, request: &CreateRequest) -> Result<Job, CreateObjectsError> {
    let found = cluster.job(&request.job_ref()).await.map_err(CreateObjectsError::ExistingJobUnreadable)?;
    let found = found.ok_or(CreateObjectsError::ExistingJobGone)?;
    if !is_managed_by_runway(&found.metadata) {
        return Err(foreign_job(request));
    }
    if is_incomplete(&found) && found.metadata.deletion_timestamp.is_some() {
        return Err(CreateObjectsError::ExistingJobTerminating);
    }
    Ok(found)
}

/// Creates the Secret of an incomplete Job, and resumes the Job.
async fn attach_secret(
    cluster: &Cluster,
    request: &CreateRequest,
    job: &CreateResponse,
    mut secret: Secret,
) -> Result<(), CallError> {
    let (name, timeout) =
        (object_name(&request.admitted.job().name, request.id), cluster.settings.call_timeout);
    let tenant = &request.admitted.job().tenant;
    secret.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: name.clone(),
        uid: job.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    let secrets = cluster.api::<Secret>(tenant);
    let mut created =
        with_timeout(timeout, "creating a Secret", secrets.create(&post_params(), &secret)).await;
    if created.as_ref().is_err_and(CallError::is_already_exists) {
        // The Secret is from an attempt without a response, or from a removed Job. Runway has no permission
        // to read the Secret, so it replaces it.
        with_timeout(timeout, "deleting a Secret", secrets.delete(&name, &DeleteParams::default())).await?;
        created = with_timeout(timeout, "creating a Secret", secrets.create(&post_params(), &secret)).await;
    }
    created?;
    // The uid prevents that another Job with this name starts without its Secret.
    let metadata = json!({"uid": job.uid, "annotations": {(label::INCOMPLETE): null}});
    let ready = json!({"metadata": metadata, "spec": {"suspend": false}});
    let jobs = cluster.api::<Job>(tenant);
    with_timeout(timeout, RESUMING, jobs.patch(&name, &patch_params(), &merge_patch(&ready))).await?;
    Ok(())
}

/// The call that completes a Job.
const RESUMING: &str = "resuming a Job";

/// Deletes a Job after a later step of its creation has failed.
async fn roll_back(
    cluster: &Cluster,
    request: &CreateRequest,
    job: CreateResponse,
) -> Result<(), CreateObjectsError> {
    let found = cluster.job(&request.job_ref()).await.map_err(CreateObjectsError::RollbackFailed)?;
    let Some(found) = found.filter(|found| found.metadata.uid == job.uid) else { return Ok(()) };
    match cluster.delete_incomplete(found).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CreateObjectsError::CompletedElsewhere),
        Err(error) => Err(CreateObjectsError::RollbackFailed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::test_encode::{in_envelope, nested, string, time};
    use crate::settings::KubernetesSettings;
    use futures::future::join_all;
    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use runway_control::{Env, SystemEnv};
    use runway_core::policy::PriceOverrides;
    use runway_core::spec;
    use runway_core::units::Timestamp;
    use runway_core::{Gate, JobId, JobSpec, Policy};
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use tokio::sync::Semaphore;

    /// A server that rejects the create request of each Job after the test has permitted it.
    struct Server {
        /// The names of the Jobs, in order of arrival.
        received: Mutex<Vec<String>>,
        response_permits: Semaphore,
    }

    impl Server {
        fn new() -> Arc<Self> {
            Arc::new(Self { received: Mutex::default(), response_permits: Semaphore::new(0) })
        }

        fn received(&self) -> Vec<String> {
            self.received.lock().unwrap().clone()
        }

        fn cluster(self: &Arc<Self>, max_concurrent_creates: usize) -> Cluster {
            let server = Arc::clone(self);
            let respond = move |request: Request<Body>| {
                let server = Arc::clone(&server);
                async move {
                    let body = request.into_body().collect_bytes().await.unwrap();
                    let text = String::from_utf8_lossy(&body);
                    let name = text.split("train-").nth(1).unwrap().chars().next().unwrap();
                    server.received.lock().unwrap().push(name.to_string());
                    server.response_permits.acquire().await.unwrap().forget();
                    let refused = r#"{"kind": "Status", "status": "Failure", "message": "no", "code": 422}"#;
                    Ok::<_, Infallible>(
                        Response::builder()
                            .status(422)
                            .body(Body::from(refused.as_bytes().to_vec()))
                            .unwrap(),
                    )
                }
            };
            let policy = policy();
            let settings = KubernetesSettings { max_concurrent_creates, ..KubernetesSettings::new(&policy) };
            let client = Client::new(tower::service_fn(respond), "default");
            Cluster::new(client, &policy, settings, Arc::new(SystemEnv))
        }
    }

    fn policy() -> Arc<Policy> {
        let text = include_bytes!("../../fixtures/policies/default.yaml");
        Arc::new(Policy::parse(text, PriceOverrides::default()).unwrap())
    }

    fn job(number: usize) -> JobSpec {
        JobSpec {
            name: Some(format!("train-{number}")),
            tenant: Some(format!("tenant-{number}")),
            image: Some("registry.internal/embed:1.8.0".into()),
            command: vec!["true".into()],
            ..JobSpec::default()
        }
    }

    fn create_request(job: JobSpec) -> CreateRequest {
        let policy = policy();
        let mut gate = Gate::new(Arc::clone(&policy), SystemEnv.hash_seed());
        let id = JobId::from_random(SystemEnv.random());
        let decision = gate.submit(id, &job.into(), SystemEnv.now()).unwrap();
        CreateRequest { id, admitted: decision.admitted().unwrap().clone(), policy }
    }

    fn create_requests(count: usize) -> Vec<CreateRequest> {
        (0..count).map(|number| create_request(job(number))).collect()
    }

    #[tokio::test]
    async fn create_needs_only_uid_and_time_of_the_response() {
        let response = in_envelope(&[(1, nested(&[(5, string("u-1")), (8, time(1_800_000_000))]))]);
        let secret = ("TOKEN".to_owned(), spec::Secret::Value("hunter2".to_owned()));
        for secrets in [BTreeMap::new(), BTreeMap::from([secret])] {
            let has_secret = !secrets.is_empty();
            // The server records the requests after the one that creates the Job. These are the request for
            // the Secret and the patch that resumes the Job.
            let (received, response) = (Arc::new(Mutex::new(Vec::new())), response.clone());
            let shared = (Arc::clone(&received), response);
            let respond = move |request: Request<Body>| {
                let (received, response) = shared.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let is_job = head.method == Method::POST && head.uri.path().ends_with("/jobs");
                    if !is_job {
                        let body = body.collect_bytes().await.unwrap();
                        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                        received.lock().unwrap().push((head.method, body));
                    }
                    let body = if is_job { response } else { br#"{"metadata": {}}"#.to_vec() };
                    Ok::<_, Infallible>(Response::builder().status(201).body(Body::from(body)).unwrap())
                }
            };
            let (policy, request) = (policy(), create_request(JobSpec { secrets, ..job(0) }));
            let client = Client::new(tower::service_fn(respond), "default");
            let settings = KubernetesSettings::new(&policy);
            let cluster = Cluster::new(client, &policy, settings, Arc::new(SystemEnv));
            let snapshot = create(&cluster, &request).await.unwrap();
            // The snapshot has the current state, not the suspended state of the request.
            assert_eq!(snapshot.status.message, "no pod has been created yet");
            let created_at = Timestamp::from_seconds(1_800_000_000);
            let expected =
                JobSnapshot { status: snapshot.status.clone(), ..JobSnapshot::initial(&request, created_at) };
            assert_eq!(snapshot, expected);
            let received = received.lock().unwrap();
            if !has_secret {
                assert_eq!(*received, []);
                continue;
            }
            let [(Method::POST, secret), (Method::PATCH, start)] = received.as_slice() else {
                panic!("{received:?}")
            };
            assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "u-1");
            assert_eq!(start["spec"], json!({ "suspend": false }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn creates_run_in_order_up_to_the_limit() {
        for (limit, at_once) in [(0, 1), (1, 1), (2, 2), (5, 5), (6, 5)] {
            let (server, requests) = (Server::new(), create_requests(5));
            let cluster = server.cluster(limit);
            let creating = join_all(requests.iter().map(|order| create(&cluster, order)));
            let releasing = async {
                // Paused time advances only when all tasks wait.
                for released in 0..=5_usize {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let expected = ["0", "1", "2", "3", "4"].iter().take(at_once + released);
                    assert!(server.received().iter().eq(expected), "{limit}: {:?}", server.received());
                    server.response_permits.add_permits(1);
                }
            };
            let (created, ()) = tokio::join!(creating, releasing);
            assert!(
                created.iter().all(|told| matches!(told, Err(CreateError::Rejected { .. }))),
                "{created:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn create_without_a_permit_in_time_is_unavailable() {
        let (server, requests) = (Server::new(), create_requests(3));
        let cluster = server.cluster(1);
        let created = join_all(requests.iter().map(|order| create(&cluster, order))).await;
        assert!(matches!(created[0], Err(CreateError::Uncertain(_))), "{created:?}");
        let Err(CreateError::Unavailable(cause)) = &created[2] else { panic!("{created:?}") };
        assert!(cause.to_string().starts_with("creating a Job: still queued after 10 s"), "{cause}");
        assert!(!server.received().contains(&"2".to_owned()));
        // A later create gets a permit again.
        server.response_permits.add_permits(1);
        let result = create(&cluster, &requests[2]).await;
        assert!(matches!(result, Err(CreateError::Rejected { .. })), "{result:?}");
    }
}
