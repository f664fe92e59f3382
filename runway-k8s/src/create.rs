//! Creates the objects of an admitted job: a Job and, if the job has secrets, a Secret.
//!
//! With secrets, this takes three steps. The Job comes first, suspended and marked as incomplete. The Secret comes second,
//! owned by the Job, so that Kubernetes deletes it with the Job. The third step removes the mark and resumes the Job. If one
//! step fails, another call for the same order continues there.
//!
//! The number of concurrent creates is limited, so that a burst waits here and not at the API server, which others need too.

use crate::backend::{Inner, merge};
use crate::failure::{Failure, again, within};
use crate::object::{INCOMPLETE, is_incomplete, is_runways, observe, timestamp};
use crate::protobuf::Made;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PatchParams, PostParams, Preconditions};
use runway_control::Observation;
use runway_control::backend::{CreateError, Order, Unavailable};
use runway_core::render::{Manifest, object_name, render};
use runway_core::status::{Seen, classify};
use serde_json::json;

/// Who Runway is in `managedFields`.
pub(crate) const FIELD_MANAGER: &str = "runway";

pub(crate) fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(crate) fn patch() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

pub(crate) async fn create(inner: &Inner, order: &Order) -> Result<Observation, CreateError> {
    let _turn = inner.turn().await?;
    let _creating = inner.creating(order.id);
    let rendered = render(&order.admitted, order.id, &order.policy);
    let Manifest { mut job, secret } =
        rendered.map_err(|error| CreateError::Rejected { reason: error.to_string() })?;
    if secret.is_some() {
        let annotations = job.metadata.annotations.get_or_insert_default();
        annotations.insert(INCOMPLETE.to_owned(), "its Secret is not there yet".to_owned());
    }
    let jobs = inner.objects::<Job>(&order.admitted.job().tenant);
    let made = within(inner.settings.call_timeout, "creating a Job", jobs.create(&post(), &job)).await;
    let made = match made {
        Ok(made) => made,
        Err(failure) if failure.is_already_there() => {
            let found = there_already(inner, order).await?;
            let taken = observe(&Seen { job: Some(&found), ..Seen::default() });
            let Some(taken) = taken.filter(|taken| taken.id == order.id) else {
                return Err(not_runways(order));
            };
            let is_ours = taken.spec_digest == Some(order.admitted.spec_digest());
            if secret.is_none() || !is_ours || !is_incomplete(&found) {
                return Err(CreateError::IdConflict(Box::new(taken)));
            }
            Made { uid: found.metadata.uid, created: found.metadata.creation_timestamp }
        }
        Err(failure) => return Err(failure.into()),
    };
    if let Some(secret) = secret {
        match complete(inner, order, &made, secret).await {
            Ok(()) => {}
            // It may be there all the same; the same order again goes on from here.
            Err(failure @ Failure::Uncertain(_)) => return Err(failure.into()),
            Err(failure) => {
                undo(inner, order, made).await?;
                return Err(failure.into());
            }
        }
    }
    // Whatever held it back is done with.
    if let Some(spec) = &mut job.spec {
        spec.suspend = None;
    }
    let status = classify(&Seen { job: Some(&job), ..Seen::default() });
    let created_at = made.created.as_ref().and_then(timestamp).unwrap_or_default();
    Ok(Observation { status, ..Observation::created(order, created_at) })
}

fn not_runways(order: &Order) -> CreateError {
    let name = object_name(&order.admitted.job().name, order.id);
    CreateError::Rejected { reason: format!("there is a Job {name} that is not Runway's") }
}

/// The Job of this name that is there.
async fn there_already(inner: &Inner, order: &Order) -> Result<Job, CreateError> {
    let job = order.job();
    let found = inner.job(&job).await.map_err(|failure| match failure {
        // It is there, so it cannot be said that nothing was made.
        Failure::Unreachable(cause) => Failure::Uncertain(cause),
        failure => failure,
    })?;
    let Some(found) = found else {
        return Err(CreateError::Uncertain(Unavailable::new("the job of this name has just left")));
    };
    if !is_runways(&found.metadata) {
        return Err(not_runways(order));
    }
    if is_incomplete(&found) && found.metadata.deletion_timestamp.is_some() {
        let cause =
            Unavailable::new("the remains of an earlier attempt are being removed; try again in a moment");
        return Err(CreateError::Unavailable(cause));
    }
    Ok(found)
}

/// Gives an incomplete Job its Secret, and lets it start.
async fn complete(inner: &Inner, order: &Order, job: &Made, mut secret: Secret) -> Result<(), Failure> {
    let (name, timeout) = (object_name(&order.admitted.job().name, order.id), inner.settings.call_timeout);
    let tenant = &order.admitted.job().tenant;
    secret.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: name.clone(),
        uid: job.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    let secrets = inner.api::<Secret>(tenant);
    let mut created = within(timeout, "creating a Secret", secrets.create(&post(), &secret)).await;
    if created.as_ref().is_err_and(Failure::is_already_there) {
        // From an attempt that was not answered, or from a Job that is gone: it cannot be read, so it is replaced.
        within(timeout, "deleting a Secret", secrets.delete(&name, &DeleteParams::default())).await?;
        created = within(timeout, "creating a Secret", secrets.create(&post(), &secret)).await;
    }
    created?;
    let ready = json!({"metadata": {"annotations": {INCOMPLETE: null}}, "spec": {"suspend": false}});
    let jobs = inner.api::<Job>(tenant);
    within(timeout, "starting a Job", jobs.patch(&name, &patch(), &merge(&ready))).await?;
    Ok(())
}

/// Deletes a Job that could not be completed.
async fn undo(inner: &Inner, order: &Order, job: Made) -> Result<(), CreateError> {
    let api = inner.api::<Job>(&order.admitted.job().tenant);
    let name = object_name(&order.admitted.job().name, order.id);
    let parameters = delete_in_background(job.uid);
    match again(inner.settings.call_timeout, "undoing a Job", || api.delete(&name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_not_found() => Ok(()),
        Err(failure) => Err(CreateError::Uncertain(failure.into_unavailable("undoing a Job"))),
    }
}

/// Deletes the very Job of this uid, and what it owns after it.
pub(crate) fn delete_in_background(uid: Option<String>) -> DeleteParams {
    DeleteParams::background().preconditions(this_one(uid))
}

/// The very Job of this uid, and not a later one of the same name.
pub(crate) const fn this_one(uid: Option<String>) -> Preconditions {
    Preconditions { uid, resource_version: None }
}

impl From<Failure> for CreateError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { code, message, .. } => {
                Self::Rejected { reason: format!("the API server answers {code}: {message}") }
            }
            Failure::Unreachable(cause) => Self::Unavailable(cause),
            Failure::Uncertain(cause) => Self::Uncertain(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::protobuf::written::{nested, packed, text, time};
    use crate::{KubernetesBackend, KubernetesSettings};
    use futures::future::join_all;
    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use runway_control::backend::{Backend, CreateError, Order};
    use runway_control::{Observation, Surroundings, System};
    use runway_core::policy::RateOverrides;
    use runway_core::spec::Secret;
    use runway_core::units::Timestamp;
    use runway_core::{Gate, JobId, JobSpec, Policy};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use tokio::sync::Semaphore;

    /// A server that refuses each Job once it may.
    struct Server {
        /// The names of the Jobs, in the order of their coming.
        asked: Mutex<Vec<String>>,
        may_answer: Semaphore,
    }

    impl Server {
        fn new() -> Arc<Self> {
            Arc::new(Self { asked: Mutex::default(), may_answer: Semaphore::new(0) })
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }

        fn backend(self: &Arc<Self>, creations: usize) -> KubernetesBackend {
            let server = Arc::clone(self);
            let answer = move |request: Request<Body>| {
                let server = Arc::clone(&server);
                async move {
                    let body = request.into_body().collect_bytes().await.unwrap();
                    let text = String::from_utf8_lossy(&body);
                    let name = text.split("train-").nth(1).unwrap().chars().next().unwrap();
                    server.asked.lock().unwrap().push(name.to_string());
                    server.may_answer.acquire().await.unwrap().forget();
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
            let settings = KubernetesSettings { creations, ..KubernetesSettings::new(&policy) };
            let client = Client::new(tower::service_fn(answer), "default");
            KubernetesBackend::new(client, &policy, settings, Arc::new(System))
        }
    }

    fn policy() -> Arc<Policy> {
        let text = include_bytes!("../../fixtures/policies/default.yaml");
        Arc::new(Policy::parse(text, RateOverrides::default()).unwrap())
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

    fn order(spec: JobSpec) -> Order {
        let policy = policy();
        let mut gate = Gate::new(Arc::clone(&policy), System.hash_seed());
        let id = JobId::from_random(System.random());
        let decision = gate.submit(id, &spec.into(), System.now()).unwrap();
        Order { id, admitted: decision.admitted().unwrap().clone(), policy }
    }

    fn orders(count: usize) -> Vec<Order> {
        (0..count).map(|number| order(job(number))).collect()
    }

    #[tokio::test]
    async fn of_the_answer_the_uid_and_the_time_are_enough() {
        let made = packed(&[(1, nested(&[(5, text("u-1")), (8, time(1_800_000_000))]))]);
        let secret = ("TOKEN".to_owned(), Secret::Value("hunter2".to_owned()));
        for secrets in [BTreeMap::new(), BTreeMap::from([secret])] {
            let has_secret = !secrets.is_empty();
            // What comes after the Job: its Secret, and the order to start.
            let (asked, made) = (Arc::new(Mutex::new(Vec::new())), made.clone());
            let answers = (Arc::clone(&asked), made);
            let answer = move |request: Request<Body>| {
                let (asked, made) = answers.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let is_job = head.method == Method::POST && head.uri.path().ends_with("/jobs");
                    if !is_job {
                        let body = body.collect_bytes().await.unwrap();
                        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                        asked.lock().unwrap().push((head.method, body));
                    }
                    let body = if is_job { made } else { br#"{"metadata": {}}"#.to_vec() };
                    Ok::<_, Infallible>(Response::builder().status(201).body(Body::from(body)).unwrap())
                }
            };
            let (policy, order) = (policy(), order(JobSpec { secrets, ..job(0) }));
            let client = Client::new(tower::service_fn(answer), "default");
            let settings = KubernetesSettings::new(&policy);
            let backend = KubernetesBackend::new(client, &policy, settings, Arc::new(System));
            let seen = backend.create(&order).await.unwrap();
            // It is told of as it is now, and not as it was sent: suspended until its Secret was there.
            assert_eq!(seen.status.message, "no pod has been made for it yet");
            let created_at = Timestamp::from_seconds(1_800_000_000);
            let known =
                Observation { status: seen.status.clone(), ..Observation::created(&order, created_at) };
            assert_eq!(seen, known);
            let asked = asked.lock().unwrap();
            if !has_secret {
                assert_eq!(*asked, []);
                continue;
            }
            let [(Method::POST, secret), (Method::PATCH, start)] = asked.as_slice() else {
                panic!("{asked:?}")
            };
            assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "u-1");
            assert_eq!(start["spec"], json!({ "suspend": false }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_created_at_a_time_in_the_order_of_their_coming() {
        for (creations, at_once) in [(0, 1), (1, 1), (2, 2), (5, 5), (6, 5)] {
            let (server, orders) = (Server::new(), orders(5));
            let backend = server.backend(creations);
            let creating = join_all(orders.iter().map(|order| backend.create(order)));
            let releasing = async {
                // Nothing is left to do but to wait when virtual time goes on.
                for released in 0..=5_usize {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    let expected = ["0", "1", "2", "3", "4"].iter().take(at_once + released);
                    assert!(server.asked().iter().eq(expected), "{creations}: {:?}", server.asked());
                    server.may_answer.add_permits(1);
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
    async fn who_does_not_get_a_turn_in_time_is_told_that_nothing_was_made() {
        let (server, orders) = (Server::new(), orders(3));
        let backend = server.backend(1);
        let created = join_all(orders.iter().map(|order| backend.create(order))).await;
        assert!(matches!(created[0], Err(CreateError::Uncertain(_))), "{created:?}");
        let Err(CreateError::Unavailable(cause)) = &created[2] else { panic!("{created:?}") };
        assert!(cause.to_string().starts_with("creating a Job: not its turn within 10 s"), "{cause}");
        assert!(!server.asked().contains(&"2".to_owned()));
        // Whoever comes later finds room again.
        server.may_answer.add_permits(1);
        let later = backend.create(&orders[2]).await;
        assert!(matches!(later, Err(CreateError::Rejected { .. })), "{later:?}");
    }
}
