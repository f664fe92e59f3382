//! Creates the objects of an admitted job: a Job and, if the job has secrets, a Secret.
//!
//! With secrets, this takes three steps. The Job comes first, suspended and marked as incomplete. The Secret comes second,
//! owned by the Job, so that Kubernetes deletes it with the Job. The third step removes the mark and resumes the Job. If one
//! step fails, another call for the same order continues there.
//!
//! The number of concurrent creates is limited, so that a burst waits here and not at the API server, which others need too.

use crate::cluster::Cluster;
use crate::failure::{CallEffect, CallError, retry, with_timeout};
use crate::object::{INCOMPLETE, is_incomplete, is_runways, observe, timestamp};
use crate::parameters::{delete_in_background, merge, patch, post};
use crate::protobuf::Made;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DeleteParams;
use runway_control::Observation;
use runway_control::backend::{CreateError, Order, Unavailable};
use runway_core::render::{Manifest, UnresolvedSecret, object_name, render};
use runway_core::status::{Seen, classify};
use serde_json::json;
use std::time::Duration;

/// An order of which the objects were not created, or may not have been.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    /// The job refers to a secret whose value is not known.
    #[error(transparent)]
    Unrendered(#[from] UnresolvedSecret),
    /// Other creates kept the API server busy for as long as this one could wait.
    #[error(
        "creating a Job: not its turn within {} s, since the API server is slow to create those before it",
        .after.as_secs()
    )]
    NoTurn { after: Duration },
    /// A Job with the name of this one exists, and Runway did not create it.
    #[error("there is a Job {name} that is not Runway's")]
    ForeignJob { name: String },
    /// The Job with the id of this one has another spec.
    #[error("another job has this id already")]
    Taken(Box<Observation>),
    /// A Job with this name existed a moment ago.
    #[error("the job of this name has just left")]
    ExistingJobGone,
    /// The incomplete Job of an earlier attempt is being deleted.
    #[error("the remains of an earlier attempt are being removed; try again in a moment")]
    ExistingJobLeaving,
    /// The Job exists, but could not be read.
    #[error(transparent)]
    ExistingJobUnread(CallError),
    /// The Job was created, but not its Secret. Deleting the Job failed too.
    #[error(transparent)]
    NotUndone(CallError),
    /// Another call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<OrderError> for CreateError {
    fn from(error: OrderError) -> Self {
        let message = error.to_string();
        match error {
            OrderError::Unrendered(_) | OrderError::ForeignJob { .. } => Self::Rejected { reason: message },
            OrderError::NoTurn { .. } | OrderError::ExistingJobLeaving => {
                Self::Unavailable(Unavailable::new(message))
            }
            OrderError::ExistingJobGone => Self::Uncertain(Unavailable::new(message)),
            OrderError::Taken(job) => Self::IdConflict(job),
            OrderError::NotUndone(error) => Self::Uncertain(error.into()),
            OrderError::ExistingJobUnread(error) => match error.effect() {
                CallEffect::Rejected => Self::Rejected { reason: error.cause.to_string() },
                // The Job exists, so the error must not say that nothing was created.
                CallEffect::NotDone | CallEffect::Unknown => Self::Uncertain(error.into()),
            },
            OrderError::Call(error) => match error.effect() {
                CallEffect::Rejected => Self::Rejected { reason: error.cause.to_string() },
                CallEffect::NotDone => Self::Unavailable(error.into()),
                CallEffect::Unknown => Self::Uncertain(error.into()),
            },
        }
    }
}

pub(crate) async fn create(cluster: &Cluster, order: &Order) -> Result<Observation, CreateError> {
    Ok(create_objects(cluster, order).await?)
}

async fn create_objects(cluster: &Cluster, order: &Order) -> Result<Observation, OrderError> {
    let timeout = cluster.settings.call_timeout;
    let _turn = cluster.turn().await.ok_or(OrderError::NoTurn { after: timeout })?;
    let _creating = cluster.creating(order.id);
    let Manifest { mut job, secret } = render(&order.admitted, order.id, &order.policy)?;
    if secret.is_some() {
        let annotations = job.metadata.annotations.get_or_insert_default();
        annotations.insert(INCOMPLETE.to_owned(), "its Secret is not there yet".to_owned());
    }
    let jobs = cluster.objects::<Job>(&order.admitted.job().tenant);
    let made = match with_timeout(timeout, "creating a Job", jobs.create(&post(), &job)).await {
        Ok(made) => made,
        Err(error) if error.is_already_there() => {
            let found = there_already(cluster, order).await?;
            let taken = observe(&Seen { job: Some(&found), ..Seen::default() });
            let Some(taken) = taken.filter(|taken| taken.id == order.id) else {
                return Err(not_runways(order));
            };
            let is_ours = taken.spec_digest == Some(order.admitted.spec_digest());
            if secret.is_none() || !is_ours || !is_incomplete(&found) {
                return Err(OrderError::Taken(Box::new(taken)));
            }
            Made { uid: found.metadata.uid, created: found.metadata.creation_timestamp }
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(secret) = secret
        && let Err(error) = complete(cluster, order, &made, secret).await
    {
        // After an unknown effect the Secret may exist; the same order continues from there.
        if error.effect() != CallEffect::Unknown {
            undo(cluster, order, made).await?;
        }
        return Err(error.into());
    }
    // Whatever held it back is done with.
    if let Some(spec) = &mut job.spec {
        spec.suspend = None;
    }
    let status = classify(&Seen { job: Some(&job), ..Seen::default() });
    let created_at = made.created.as_ref().and_then(timestamp).unwrap_or_default();
    Ok(Observation { status, ..Observation::created(order, created_at) })
}

fn not_runways(order: &Order) -> OrderError {
    OrderError::ForeignJob { name: object_name(&order.admitted.job().name, order.id) }
}

/// The Job of this name that is there.
async fn there_already(cluster: &Cluster, order: &Order) -> Result<Job, OrderError> {
    let found = cluster.job(&order.job()).await.map_err(OrderError::ExistingJobUnread)?;
    let found = found.ok_or(OrderError::ExistingJobGone)?;
    if !is_runways(&found.metadata) {
        return Err(not_runways(order));
    }
    if is_incomplete(&found) && found.metadata.deletion_timestamp.is_some() {
        return Err(OrderError::ExistingJobLeaving);
    }
    Ok(found)
}

/// Gives an incomplete Job its Secret, and lets it start.
async fn complete(cluster: &Cluster, order: &Order, job: &Made, mut secret: Secret) -> Result<(), CallError> {
    let (name, timeout) = (object_name(&order.admitted.job().name, order.id), cluster.settings.call_timeout);
    let tenant = &order.admitted.job().tenant;
    secret.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: name.clone(),
        uid: job.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    let secrets = cluster.api::<Secret>(tenant);
    let mut created = with_timeout(timeout, "creating a Secret", secrets.create(&post(), &secret)).await;
    if created.as_ref().is_err_and(CallError::is_already_there) {
        // From an attempt that was not answered, or from a Job that is gone: it cannot be read, so it is replaced.
        with_timeout(timeout, "deleting a Secret", secrets.delete(&name, &DeleteParams::default())).await?;
        created = with_timeout(timeout, "creating a Secret", secrets.create(&post(), &secret)).await;
    }
    created?;
    let ready = json!({"metadata": {"annotations": {INCOMPLETE: null}}, "spec": {"suspend": false}});
    let jobs = cluster.api::<Job>(tenant);
    with_timeout(timeout, "starting a Job", jobs.patch(&name, &patch(), &merge(&ready))).await?;
    Ok(())
}

/// Deletes a Job that could not be completed.
async fn undo(cluster: &Cluster, order: &Order, job: Made) -> Result<(), OrderError> {
    let api = cluster.api::<Job>(&order.admitted.job().tenant);
    let name = object_name(&order.admitted.job().name, order.id);
    let parameters = delete_in_background(job.uid);
    match retry(cluster.settings.call_timeout, "undoing a Job", || api.delete(&name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(OrderError::NotUndone(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::written::{nested, packed, text, time};
    use crate::settings::KubernetesSettings;
    use futures::future::join_all;
    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use runway_control::{Surroundings, System};
    use runway_core::policy::RateOverrides;
    use runway_core::spec;
    use runway_core::units::Timestamp;
    use runway_core::{Gate, JobId, JobSpec, Policy};
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

        fn cluster(self: &Arc<Self>, creations: usize) -> Cluster {
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
            Cluster::new(client, &policy, settings, Arc::new(System))
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

    fn order(job: JobSpec) -> Order {
        let policy = policy();
        let mut gate = Gate::new(Arc::clone(&policy), System.hash_seed());
        let id = JobId::from_random(System.random());
        let decision = gate.submit(id, &job.into(), System.now()).unwrap();
        Order { id, admitted: decision.admitted().unwrap().clone(), policy }
    }

    fn orders(count: usize) -> Vec<Order> {
        (0..count).map(|number| order(job(number))).collect()
    }

    #[tokio::test]
    async fn of_the_answer_the_uid_and_the_time_are_enough() {
        let made = packed(&[(1, nested(&[(5, text("u-1")), (8, time(1_800_000_000))]))]);
        let secret = ("TOKEN".to_owned(), spec::Secret::Value("hunter2".to_owned()));
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
            let cluster = Cluster::new(client, &policy, settings, Arc::new(System));
            let seen = create(&cluster, &order).await.unwrap();
            // It is told of as it is now, and not as it was sent: suspended until its Secret was there.
            assert_eq!(seen.status.message, "no pod has been created yet");
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
            let cluster = server.cluster(creations);
            let creating = join_all(orders.iter().map(|order| create(&cluster, order)));
            let releasing = async {
                // Nothing is left to do but to wait when virtual time goes on.
                for released in 0..=5_usize {
                    tokio::time::sleep(Duration::from_secs(1)).await;
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
        let cluster = server.cluster(1);
        let created = join_all(orders.iter().map(|order| create(&cluster, order))).await;
        assert!(matches!(created[0], Err(CreateError::Uncertain(_))), "{created:?}");
        let Err(CreateError::Unavailable(cause)) = &created[2] else { panic!("{created:?}") };
        assert!(cause.to_string().starts_with("creating a Job: not its turn within 10 s"), "{cause}");
        assert!(!server.asked().contains(&"2".to_owned()));
        // Whoever comes later finds room again.
        server.may_answer.add_permits(1);
        let later = create(&cluster, &orders[2]).await;
        assert!(matches!(later, Err(CreateError::Rejected { .. })), "{later:?}");
    }
}
