//! Creation of jobs: with Secrets, after a partial or repeated create, with foreign objects, and compared
//! with `find` and `list`.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use runway_control::backend::{
    Backend, BackendTiming, Cancelled, CreateError, JobRef, LogError, LogOptions, LogStream, Order,
    Unavailable, WatchEvent,
};
use runway_control::{Observation, SubmitError, Submitted, Surroundings, System};
use runway_core::capability::Capabilities;
use runway_core::render::{label, render};
use runway_core::status::{Phase, Reason};
use runway_core::units::Timestamp;
use runway_core::{Gate, HashSeed, JobId, JobSpec};
use runway_testing::cluster::{Harness, shell, until};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn with_secret(script: &str) -> JobSpec {
    let mut spec = shell("train", script);
    spec.env.insert("PLAIN".into(), "costs $5 and $(PLAIN) and $$".into());
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush $HOME $(X)".into()));
    spec
}

fn order(bed: &Harness, spec: JobSpec) -> Order {
    let mut gate = Gate::new(Arc::clone(&bed.policy), HashSeed(1, 2));
    let id = JobId::from_random(System.random());
    let decision = gate.submit(id, &spec.into(), Timestamp::from_seconds(1)).unwrap();
    Order { id, admitted: decision.admitted().unwrap().clone(), policy: Arc::clone(&bed.policy) }
}

/// Returns the number of pods that Jobs have created, counted by their events.
async fn pods_made(bed: &Harness) -> usize {
    let made = ListParams::default().fields("reason=SuccessfulCreate");
    bed.api::<Event>().list(&made).await.unwrap().items.len()
}

async fn secrets(bed: &Harness, id: JobId) -> Vec<Secret> {
    let mine = ListParams::default().labels(&format!("runway.dev/id={id}"));
    bed.api::<Secret>().list(&mine).await.unwrap().items
}

#[tokio::test]
async fn a_secret_gets_to_its_job_as_it_was_written_and_goes_when_that_ends() {
    let bed = Harness::make("secret").await;
    let script = "test \"$TOKEN\" = 'hu''sh $HOME $(X)' && test \"$PLAIN\" = 'costs $5 and $(PLAIN) and $$' || exit 9; sleep 3";
    let job = bed.submit(with_secret(script)).await;
    let made = secrets(&bed, job).await;
    assert_eq!(made.len(), 1);
    let owner = &made[0].metadata.owner_references.as_ref().unwrap()[0];
    let name = format!("train-{job}");
    let of_cluster = bed.api::<Job>().get(&name).await.unwrap();
    assert_eq!(Some(&owner.uid), of_cluster.metadata.uid.as_ref());
    assert_eq!((made[0].immutable, owner.kind.as_str()), (Some(true), "Job"));
    // The Job has everything that is needed after a restart, and no value of a secret.
    let annotations = of_cluster.metadata.annotations.clone().unwrap();
    assert!(!annotations.keys().any(|key| key.contains("incomplete")), "{annotations:?}");
    for key in [label::QUOTE, label::SPEC_DIGEST, label::POLICY_DIGEST] {
        assert!(annotations.contains_key(key), "{key}");
    }
    assert!(!serde_json::to_string(&of_cluster).unwrap().contains("hush"));
    let managers: Vec<_> =
        of_cluster.metadata.managed_fields.iter().flatten().map(|m| m.manager.clone()).collect();
    assert!(managers.contains(&Some("runway".to_owned())), "{managers:?}");
    bed.comes_to(job, Phase::Succeeded, None).await;
    until("its Secret to go", async || secrets(&bed, job).await.is_empty().then_some(())).await;
    assert!(bed.api::<Job>().get_opt(&name).await.unwrap().is_some(), "the Job is still there");
}

#[tokio::test]
async fn the_secret_of_a_cancelled_job_goes_with_it() {
    let bed = Harness::make("secret-cancel").await;
    let job = bed.submit(with_secret("sleep 1000")).await;
    bed.plane.cancel(job).await.unwrap();
    bed.until_nothing_is_left(job).await;
}

#[tokio::test]
async fn a_job_that_was_left_half_made_is_completed_by_the_same_order() {
    let bed = Harness::make("half").await;
    let order = order(&bed, with_secret("true"));
    // The process ended after the first step: the Job exists, but not its Secret.
    let mut job = render(&order.admitted, order.id, &order.policy).unwrap().job;
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert("runway.dev/incomplete".into(), "x".into());
    bed.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let seen = bed.backend.create(&order).await.unwrap();
    assert_eq!(seen.id, order.id);
    bed.comes_to(order.id, Phase::Succeeded, None).await;
    // A second create finds the complete job.
    let again = bed.backend.create(&order).await;
    assert!(matches!(&again, Err(CreateError::IdConflict(there)) if there.id == order.id), "{again:?}");
}

#[tokio::test]
async fn a_secret_that_another_attempt_left_is_replaced() {
    let bed = Harness::make("replaced").await;
    let order = order(&bed, with_secret("test \"$TOKEN\" = 'hush $HOME $(X)'"));
    let mut old = render(&order.admitted, order.id, &order.policy).unwrap().secret.unwrap();
    old.data = Some([("TOKEN".to_owned(), k8s_openapi::ByteString(b"old".to_vec()))].into());
    bed.api::<Secret>().create(&PostParams::default(), &old).await.unwrap();
    bed.backend.create(&order).await.unwrap();
    bed.comes_to(order.id, Phase::Succeeded, None).await;
}

#[tokio::test]
async fn what_was_left_half_made_is_removed_at_the_next_start() {
    let bed = Harness::make("remains").await;
    let order = order(&bed, with_secret("true"));
    let mut job = render(&order.admitted, order.id, &order.policy).unwrap().job;
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert("runway.dev/incomplete".into(), "x".into());
    bed.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let again = bed.again().await;
    assert_eq!(again.plane.job(order.id), None, "the watch did not report the job");
    assert_eq!(again.plane.held(), []);
    let name = format!("train-{}", order.id);
    let jobs = bed.api::<Job>();
    until("it to go", async || jobs.get_opt(&name).await.unwrap().is_none().then_some(())).await;
}

#[tokio::test]
async fn a_creation_that_fails_half_way_is_undone() {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let bed = Harness::make("undone").await;
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"secrets": "0"}}});
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    let quotas = bed.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    until("the quota", async || quotas.get("none").await.unwrap().status.and_then(|s| s.hard).map(drop))
        .await;
    let key = "k".parse().unwrap();
    let told = bed.plane.submit(with_secret("true").into(), Some(&key)).await;
    let Err(SubmitError::Create { id, error: CreateError::Unavailable(cause) }) = told else {
        panic!("{told:?}")
    };
    assert!(cause.to_string().contains("quota"), "{cause}");
    let jobs = bed.api::<Job>();
    let name = format!("train-{id}");
    until("the Job to go", async || jobs.get_opt(&name).await.unwrap().is_none().then_some(())).await;
    until("its hold to go", async || bed.plane.held().is_empty().then_some(())).await;
    assert_eq!(bed.plane.job(id), None, "the watch did not report the job");
    // The Job stayed suspended, so it never had a pod.
    assert_eq!(pods_made(&bed).await, 0);
    // The key can be used again.
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    let again = bed.plane.submit(with_secret("true").into(), Some(&key)).await;
    assert!(matches!(again, Ok(Submitted::Created { .. })), "{again:?}");
    bed.comes_to(id, Phase::Succeeded, None).await;
}

/// A backend whose first `create` creates only the Job, and then reports that the response about its Secret
/// was lost.
struct Half {
    real: runway_k8s::KubernetesBackend,
    jobs: kube::Api<Job>,
    creations: AtomicU32,
}

impl Backend for Half {
    fn capabilities(&self) -> Capabilities {
        self.real.capabilities()
    }

    fn timing(&self) -> BackendTiming {
        self.real.timing()
    }

    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        Box::pin(async move {
            if self.creations.fetch_add(1, Ordering::SeqCst) > 0 {
                return self.real.create(order).await;
            }
            let mut job = render(&order.admitted, order.id, &order.policy).unwrap().job;
            let annotations = job.metadata.annotations.get_or_insert_default();
            annotations.insert("runway.dev/incomplete".into(), "x".into());
            self.jobs.create(&PostParams::default(), &job).await.unwrap();
            Err(CreateError::Uncertain(Unavailable::new("creating a Secret: no response")))
        })
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        self.real.find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        self.real.list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.real.watch()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        self.real.cancel(job)
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.real.logs(job, options)
    }
}

#[tokio::test]
async fn a_job_whose_secret_was_not_answered_for_is_completed() {
    let bed = Harness::make("unanswered").await;
    let half = Half { real: bed.backend.clone(), jobs: bed.api(), creations: AtomicU32::new(0) };
    let (policy, settings) = (Arc::clone(&bed.policy), runway_control::Settings::default());
    let plane = runway_control::ControlPlane::new(Arc::new(half), policy, Arc::new(System), settings);
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    let job = plane.submit(with_secret("true").into(), None).await.unwrap().job().seen.id;
    bed.comes_to(job, Phase::Succeeded, None).await;
    until("its hold to go", async || plane.held().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_copy_of_a_job_is_not_the_job() {
    let bed = Harness::make("copy").await;
    let id = bed.submit(with_secret("sleep 1000")).await;
    bed.comes_to(id, Phase::Running, None).await;
    let jobs = bed.api::<Job>();
    let original = jobs.get(&format!("train-{id}")).await.unwrap();
    let of_controller = |key: &str| key.contains("job-name") || key.contains("controller-uid");
    let mut copy = original.clone();
    copy.metadata = Default::default();
    copy.metadata.name = Some("train-debug".into());
    copy.metadata.labels = original.metadata.labels.clone().map(|mut labels| {
        labels.retain(|key, _| !of_controller(key));
        labels
    });
    copy.status = None;
    let spec = copy.spec.as_mut().unwrap();
    spec.selector = None;
    spec.template.metadata.as_mut().unwrap().labels.as_mut().unwrap().retain(|key, _| !of_controller(key));
    let container = &mut spec.template.spec.as_mut().unwrap().containers[0];
    (container.command, container.args) = (Some(vec!["true".into()]), None);
    jobs.create(&PostParams::default(), &copy).await.unwrap();
    until("the copy to end", async || {
        jobs.get("train-debug").await.unwrap().status.and_then(|s| s.succeeded)
    })
    .await;
    jobs.delete("train-debug", &DeleteParams::background()).await.unwrap();
    until("the copy to go", async || jobs.get_opt("train-debug").await.unwrap().is_none().then_some(()))
        .await;
    // The watch reports this job after the events of the copy.
    let later = bed.submit(shell("later", "true")).await;
    bed.comes_to(later, Phase::Succeeded, None).await;
    let record = bed.plane.job(id).unwrap();
    assert_eq!((record.seen.status.phase, record.gone), (Phase::Running, false));
    assert_eq!((bed.plane.held(), secrets(&bed, id).await.len()), (vec![id], 1));
}

#[tokio::test]
async fn a_job_of_this_name_that_is_not_runways_is_left_alone() {
    let bed = Harness::make("foreign").await;
    let order = order(&bed, shell("train", "true"));
    let mut job = render(&order.admitted, order.id, &order.policy).unwrap().job;
    job.metadata.labels = Some([("app".to_owned(), "x".to_owned())].into());
    bed.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let told = bed.backend.create(&order).await;
    assert!(
        matches!(&told, Err(CreateError::Rejected { reason }) if reason.contains("not created by Runway")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_told_plainly() {
    let bed = Harness::make("elsewhere").await;
    let policy = runway_testing::cluster::policy("no-such-namespace", |policy| policy);
    let order = Order { policy, ..order(&bed, shell("train", "true")) };
    let settings = runway_k8s::KubernetesSettings::new(&order.policy);
    let surroundings = Arc::new(System);
    let admin = bed.admin.clone();
    let backend = runway_k8s::KubernetesBackend::new(admin, &order.policy, settings, surroundings);
    let told = backend.create(&order).await;
    assert!(
        matches!(&told, Err(CreateError::Rejected { reason }) if reason.contains("no-such-namespace")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_key_makes_one_job_over_restarts_and_is_found_in_the_cluster() {
    let bed = Harness::make("key").await;
    let key = "nightly-7".parse().unwrap();
    let spec = || shell("train", "sleep 2; exit 4");
    let first = bed.plane.submit(spec().into(), Some(&key)).await.unwrap();
    let again = bed.again().await;
    let second = again.plane.submit(spec().into(), Some(&key)).await.unwrap();
    assert!(matches!(second, Submitted::Replayed { .. }));
    assert_eq!(first.job().seen.id, second.job().seen.id);
    assert_eq!(first.job().seen.quote, second.job().seen.quote);
    let other = again.plane.submit(shell("train", "true").into(), Some(&key)).await;
    assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
    bed.comes_to(first.job().seen.id, Phase::Failed, Some(Reason::NonZeroExit)).await;
}

#[tokio::test]
async fn jobs_are_found_and_listed_as_the_watch_tells_of_them() {
    let bed = Harness::make("listed").await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(bed.submit(shell(&format!("job-{number}"), "exit 2")).await);
    }
    for id in &ids {
        bed.comes_to(*id, Phase::Failed, Some(Reason::NonZeroExit)).await;
    }
    ids.sort_unstable();
    // Two jobs per page.
    let mut settings = runway_k8s::KubernetesSettings::new(&bed.policy);
    settings.page_size = 2;
    let client = runway_testing::cluster::runway().await;
    let paged = runway_k8s::KubernetesBackend::new(client, &bed.policy, settings, Arc::new(System));
    let listed = paged.list().await.unwrap();
    assert_eq!(listed.iter().map(|seen| seen.id).collect::<Vec<_>>(), ids);
    for seen in listed {
        let watched = &bed.plane.job(seen.id).unwrap().seen;
        assert_eq!(watched, &seen);
        assert_eq!(paged.find(&seen.job()).await.unwrap().as_ref(), Some(watched));
    }
    let mut stranger = bed.plane.job(ids[0]).unwrap().seen.job();
    stranger.id = JobId::from_random(1);
    assert_eq!(paged.find(&stranger).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_with_broken_marks_is_left_alone() {
    let bed = Harness::make("broken").await;
    let good = bed.submit(shell("train", "sleep 1000")).await;
    let name = format!("train-{good}");
    let jobs = bed.api::<Job>();
    // Another client has replaced the quote and the digest with invalid values. The job still runs and is
    // still counted.
    let spoilt = json!({"metadata": {"annotations": {label::QUOTE: "{", label::SPEC_DIGEST: "sha256:x"}}});
    jobs.patch(&name, &PatchParams::default(), &Patch::Merge(&spoilt)).await.unwrap();
    let bad = json!({"metadata": {"name": "no-id", "labels": {label::MANAGED_BY: label::RUNWAY}}, "spec": {"template":
        {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": runway_testing::cluster::image()}]}}}});
    jobs.create(&PostParams::default(), &serde_json::from_value(bad).unwrap()).await.unwrap();
    let again = bed.again().await;
    assert_eq!(again.plane.held(), [good]);
    assert_eq!(again.plane.job(good).unwrap().seen.quote, None);
    jobs.delete("no-id", &DeleteParams::background()).await.unwrap();
}

/// Returns a Job without the fields that differ between two creations. `suspend` is among them, because
/// Kubernetes may have changed it.
fn without_its_own(job: &Job) -> serde_json::Value {
    let mut job = serde_json::to_value(job).unwrap();
    for pointer in ["/spec/selector", "/spec/suspend", "/metadata", "/status"] {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        job.pointer_mut(parent).and_then(serde_json::Value::as_object_mut).unwrap().remove(last);
    }
    let labels = job.pointer_mut("/spec/template/metadata/labels").unwrap().as_object_mut().unwrap();
    labels.retain(|key, _| !key.contains("controller-uid"));
    job
}

#[tokio::test]
async fn a_job_is_the_same_whether_it_is_sent_as_protobuf_or_as_json() {
    let rich = |policy: String| {
        let run = "ttl_after_finished: 600s, image_pull_secrets: [registry], image_pull_policy: Always";
        policy.replace("ttl_after_finished: 600s", run)
            + "gpu_types: {a100: {usd_per_gpu_second: '0.001', node_selector: {example.com/gpu: a100}}}\n"
    };
    let (bed, other) = (Harness::with("sent", rich).await, Harness::with("sent-json", rich).await);
    let mut spec = with_secret("exit 0");
    spec.args = vec!["a".to_owned(), String::new(), "$(ä)".to_owned()];
    spec.resources.gpu = Some(1.into());
    spec.resources.shm = Some("8Mi".into());
    spec.gpu_type = Some("a100".to_owned());
    spec.retries = Some(2.into());
    let order = order(&bed, spec);
    bed.backend.create(&order).await.unwrap();
    let mut job = render(&order.admitted, order.id, &order.policy).unwrap().job;
    job.metadata.namespace = Some(other.namespace.clone());
    let as_json = other.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let sent = bed.api::<Job>().get(as_json.metadata.name.as_deref().unwrap()).await.unwrap();
    assert_eq!(without_its_own(&sent), without_its_own(&as_json));
    assert_eq!(sent.metadata.labels, as_json.metadata.labels);
    assert_eq!(sent.metadata.annotations, as_json.metadata.annotations);
}
