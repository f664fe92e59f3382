//! Tests of creation: jobs with Secrets, partial and repeated creates, and Jobs of other clients. Also tests
//! that `find`, `list` and the watch agree.

use futures::future::BoxFuture;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use runway_control::backend::{Backend, CreateError, CreateRequest, Unavailable};
use runway_control::{JobSnapshot, SubmitError, Submitted, SystemEnv};
use runway_core::render::{label, render};
use runway_core::status::{Phase, Reason};
use runway_core::{JobId, JobSpec};
use runway_k8s::KubernetesBackend;
use runway_testing::backends::{BackendWrapper, WrappedBackend};
use runway_testing::cluster::{Harness, shell, wait_until};
use runway_testing::jobs;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn with_secret(script: &str) -> JobSpec {
    let mut spec = shell("train", script);
    spec.env.insert("PLAIN".into(), "costs $5 and $(PLAIN) and $$".into());
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush $HOME $(X)".into()));
    spec
}

fn create_request(harness: &Harness, spec: JobSpec) -> CreateRequest {
    jobs::create_request(&harness.policy, jobs::unique_id(), spec)
}

/// Creates the Job of a request without its Secret, as a process that ends after the first step.
async fn create_incomplete(jobs: &Api<Job>, request: &CreateRequest) {
    let mut job = render(&request.admitted, request.id, &request.policy).unwrap().job;
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert("runway.dev/incomplete".into(), "x".into());
    jobs.create(&PostParams::default(), &job).await.unwrap();
}

/// Returns the number of pods that Jobs have created, counted by their events.
async fn created_pod_count(harness: &Harness) -> usize {
    let created = ListParams::default().fields("reason=SuccessfulCreate");
    harness.api::<Event>().list(&created).await.unwrap().items.len()
}

async fn secrets(harness: &Harness, id: JobId) -> Vec<Secret> {
    let mine = ListParams::default().labels(&format!("runway.dev/id={id}"));
    harness.api::<Secret>().list(&mine).await.unwrap().items
}

#[tokio::test]
async fn secret_reaches_its_job_and_is_deleted_at_its_end() {
    let harness = Harness::new("secret").await;
    let script = "test \"$TOKEN\" = 'hu''sh $HOME $(X)' && test \"$PLAIN\" = 'costs $5 and $(PLAIN) and $$' || exit 9; sleep 3";
    let job = harness.submit(with_secret(script)).await;
    let created = secrets(&harness, job).await;
    assert_eq!(created.len(), 1);
    let owner = &created[0].metadata.owner_references.as_ref().unwrap()[0];
    let name = format!("train-{job}");
    let of_cluster = harness.api::<Job>().get(&name).await.unwrap();
    assert_eq!(Some(&owner.uid), of_cluster.metadata.uid.as_ref());
    assert_eq!((created[0].immutable, owner.kind.as_str()), (Some(true), "Job"));
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
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
    wait_until("its Secret to go", async || secrets(&harness, job).await.is_empty().then_some(())).await;
    assert!(harness.api::<Job>().get_opt(&name).await.unwrap().is_some(), "the Job is still there");
}

#[tokio::test]
async fn cancel_deletes_the_secret() {
    let harness = Harness::new("secret-cancel").await;
    let job = harness.submit(with_secret("sleep 1000")).await;
    harness.plane.cancel(job).await.unwrap();
    harness.wait_until_deleted(job).await;
}

#[tokio::test]
async fn repeated_create_completes_an_incomplete_job() {
    let harness = Harness::new("half").await;
    let request = create_request(&harness, with_secret("true"));
    create_incomplete(&harness.api(), &request).await;
    let seen = harness.backend.create(&request).await.unwrap();
    assert_eq!(seen.id, request.id);
    harness.wait_for_phase(request.id, Phase::Succeeded, None).await;
    // A second create finds the complete job.
    let again = harness.backend.create(&request).await;
    assert!(matches!(&again, Err(CreateError::IdConflict(there)) if there.id == request.id), "{again:?}");
}

#[tokio::test]
async fn secret_of_an_earlier_create_is_replaced() {
    let harness = Harness::new("replaced").await;
    let request = create_request(&harness, with_secret("test \"$TOKEN\" = 'hush $HOME $(X)'"));
    let mut old = render(&request.admitted, request.id, &request.policy).unwrap().secret.unwrap();
    old.data = Some([("TOKEN".to_owned(), k8s_openapi::ByteString(b"old".to_vec()))].into());
    harness.api::<Secret>().create(&PostParams::default(), &old).await.unwrap();
    harness.backend.create(&request).await.unwrap();
    harness.wait_for_phase(request.id, Phase::Succeeded, None).await;
}

#[tokio::test]
async fn incomplete_job_is_deleted_at_startup() {
    let harness = Harness::new("remains").await;
    let request = create_request(&harness, with_secret("true"));
    create_incomplete(&harness.api(), &request).await;
    let again = harness.restart().await;
    assert_eq!(again.plane.job(request.id), None, "the watch did not report the job");
    assert_eq!(again.plane.held_job_ids(), []);
    let name = format!("train-{}", request.id);
    let jobs = harness.api::<Job>();
    wait_until("it to go", async || jobs.get_opt(&name).await.unwrap().is_none().then_some(())).await;
}

#[tokio::test]
async fn failed_secret_create_rolls_back_the_job() {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let harness = Harness::new("undone").await;
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"secrets": "0"}}});
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    let quotas = harness.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    wait_until("the quota", async || quotas.get("none").await.unwrap().status.and_then(|s| s.hard).map(drop))
        .await;
    let key = "k".parse().unwrap();
    let result = harness.plane.submit(with_secret("true").into(), Some(&key)).await;
    let Err(SubmitError::Create { id, error: CreateError::Unavailable(cause) }) = result else {
        panic!("{result:?}")
    };
    assert!(cause.to_string().contains("quota"), "{cause}");
    let jobs = harness.api::<Job>();
    let name = format!("train-{id}");
    wait_until("the Job to go", async || jobs.get_opt(&name).await.unwrap().is_none().then_some(())).await;
    wait_until("its hold to go", async || harness.plane.held_job_ids().is_empty().then_some(())).await;
    assert_eq!(harness.plane.job(id), None, "the watch did not report the job");
    // The Job stayed suspended, so it never had a pod.
    assert_eq!(created_pod_count(&harness).await, 0);
    // After the failure, a submission with the same key creates the job.
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    let again = harness.plane.submit(with_secret("true").into(), Some(&key)).await;
    assert!(matches!(again, Ok(Submitted::Created { .. })), "{again:?}");
    harness.wait_for_phase(id, Phase::Succeeded, None).await;
}

/// A backend whose first `create` creates only the Job, and then reports that the response about its Secret
/// was lost.
struct HalfCreate {
    inner: KubernetesBackend,
    jobs: Api<Job>,
    creations: AtomicU32,
}

impl BackendWrapper for HalfCreate {
    type Inner = KubernetesBackend;

    fn inner(&self) -> &KubernetesBackend {
        &self.inner
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        Box::pin(async move {
            if self.creations.fetch_add(1, Ordering::SeqCst) > 0 {
                return self.inner.create(request).await;
            }
            create_incomplete(&self.jobs, request).await;
            Err(CreateError::Uncertain(Unavailable::new("creating a Secret: no response")))
        })
    }
}

#[tokio::test]
async fn uncertain_secret_create_is_retried() {
    let harness = Harness::new("unanswered").await;
    let backend = WrappedBackend(HalfCreate {
        inner: harness.backend.clone(),
        jobs: harness.api(),
        creations: AtomicU32::new(0),
    });
    let (policy, settings) = (Arc::clone(&harness.policy), runway_control::Settings::default());
    let plane = runway_control::ControlPlane::new(Arc::new(backend), policy, Arc::new(SystemEnv), settings);
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    let job = plane.submit(with_secret("true").into(), None).await.unwrap().job().snapshot.id;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
    wait_until("its hold to go", async || plane.held_job_ids().is_empty().then_some(())).await;
}

#[tokio::test]
async fn copy_of_a_job_does_not_change_its_record() {
    let harness = Harness::new("copy").await;
    let id = harness.submit(with_secret("sleep 1000")).await;
    harness.wait_for_phase(id, Phase::Running, None).await;
    let jobs = harness.api::<Job>();
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
    wait_until("the copy to end", async || {
        jobs.get("train-debug").await.unwrap().status.and_then(|s| s.succeeded)
    })
    .await;
    jobs.delete("train-debug", &DeleteParams::background()).await.unwrap();
    wait_until("the copy to go", async || jobs.get_opt("train-debug").await.unwrap().is_none().then_some(()))
        .await;
    // The watch reports this job after the events of the copy, so those events have been processed by then.
    let later = harness.submit(shell("later", "true")).await;
    harness.wait_for_phase(later, Phase::Succeeded, None).await;
    let record = harness.plane.job(id).unwrap();
    assert_eq!((record.snapshot.status.phase, record.gone), (Phase::Running, false));
    assert_eq!((harness.plane.held_job_ids(), secrets(&harness, id).await.len()), (vec![id], 1));
}

#[tokio::test]
async fn create_is_rejected_if_a_foreign_job_has_the_name() {
    let harness = Harness::new("foreign").await;
    let request = create_request(&harness, shell("train", "true"));
    let mut job = render(&request.admitted, request.id, &request.policy).unwrap().job;
    job.metadata.labels = Some([("app".to_owned(), "x".to_owned())].into());
    harness.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let result = harness.backend.create(&request).await;
    assert!(
        matches!(&result, Err(CreateError::Rejected { reason }) if reason.contains("not created by Runway")),
        "{result:?}"
    );
}

#[tokio::test]
async fn create_in_a_missing_namespace_is_unavailable() {
    let harness = Harness::new("elsewhere").await;
    let policy = runway_testing::cluster::policy("no-such-namespace", |policy| policy);
    let request = CreateRequest { policy, ..create_request(&harness, shell("train", "true")) };
    let settings = runway_k8s::KubernetesSettings::new(&request.policy);
    let env = Arc::new(SystemEnv);
    let admin = harness.admin.clone();
    let backend = KubernetesBackend::new(admin, &request.policy, settings, env);
    let result = backend.create(&request).await;
    assert!(
        matches!(&result, Err(CreateError::Unavailable(cause)) if cause.message.contains("no-such-namespace")),
        "{result:?}"
    );
}

#[tokio::test]
async fn key_replays_its_job_after_a_restart() {
    let harness = Harness::new("key").await;
    let key = "nightly-7".parse().unwrap();
    let spec = || shell("train", "sleep 2; exit 4");
    let first = harness.plane.submit(spec().into(), Some(&key)).await.unwrap();
    let again = harness.restart().await;
    let second = again.plane.submit(spec().into(), Some(&key)).await.unwrap();
    assert!(matches!(second, Submitted::Replayed { .. }));
    assert_eq!(first.job().snapshot.id, second.job().snapshot.id);
    assert_eq!(first.job().snapshot.quote, second.job().snapshot.quote);
    let other = again.plane.submit(shell("train", "true").into(), Some(&key)).await;
    assert!(matches!(other, Err(SubmitError::KeyReused { .. })), "{other:?}");
    harness.wait_for_phase(first.job().snapshot.id, Phase::Failed, Some(Reason::NonZeroExit)).await;
}

#[tokio::test]
async fn find_and_list_agree_with_the_watch() {
    let harness = Harness::new("listed").await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(harness.submit(shell(&format!("job-{number}"), "exit 2")).await);
    }
    for id in &ids {
        harness.wait_for_phase(*id, Phase::Failed, Some(Reason::NonZeroExit)).await;
    }
    ids.sort_unstable();
    // Each page of a list has two jobs, so the lists take several pages.
    let mut settings = runway_k8s::KubernetesSettings::new(&harness.policy);
    settings.page_size = 2;
    let client = runway_testing::cluster::runway_client().await;
    let paged = KubernetesBackend::new(client, &harness.policy, settings, Arc::new(SystemEnv));
    let listed = paged.list().await.unwrap();
    assert_eq!(listed.iter().map(|seen| seen.id).collect::<Vec<_>>(), ids);
    for seen in listed {
        let watched = &harness.plane.job(seen.id).unwrap().snapshot;
        assert_eq!(watched, &seen);
        assert_eq!(paged.find(&seen.job_ref()).await.unwrap().as_ref(), Some(watched));
    }
    let mut stranger = harness.plane.job(ids[0]).unwrap().snapshot.job_ref();
    stranger.id = JobId::from_random(1);
    assert_eq!(paged.find(&stranger).await.unwrap(), None);
}

#[tokio::test]
async fn job_with_invalid_annotations_is_still_counted() {
    let harness = Harness::new("broken").await;
    let good = harness.submit(shell("train", "sleep 1000")).await;
    let name = format!("train-{good}");
    let jobs = harness.api::<Job>();
    // Another client has replaced the quote and the digest with invalid values. The job still runs and is
    // still counted.
    let invalid = json!({"metadata": {"annotations": {label::QUOTE: "{", label::SPEC_DIGEST: "sha256:x"}}});
    jobs.patch(&name, &PatchParams::default(), &Patch::Merge(&invalid)).await.unwrap();
    let bad = json!({"metadata": {"name": "no-id", "labels": {label::MANAGED_BY: label::RUNWAY}}, "spec": {"template":
        {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": runway_testing::cluster::image()}]}}}});
    jobs.create(&PostParams::default(), &serde_json::from_value(bad).unwrap()).await.unwrap();
    let again = harness.restart().await;
    assert_eq!(again.plane.held_job_ids(), [good]);
    assert_eq!(again.plane.job(good).unwrap().snapshot.quote, None);
    jobs.delete("no-id", &DeleteParams::background()).await.unwrap();
}

/// Returns a Job without the fields that differ between the two Jobs. `suspend` is among them, because only
/// the backend resumes its Job.
fn comparable_spec(job: &Job) -> serde_json::Value {
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
async fn protobuf_and_json_create_the_same_job() {
    let rich = |policy: String| {
        let run = "ttl_after_finished: 600s, image_pull_secrets: [registry], image_pull_policy: Always";
        policy.replace("ttl_after_finished: 600s", run)
            + "gpu_types: {a100: {usd_per_gpu_second: '0.001', node_selector: {example.com/gpu: a100}}}\n"
    };
    let (harness, other) =
        (Harness::with_policy("sent", rich).await, Harness::with_policy("sent-json", rich).await);
    let mut spec = with_secret("exit 0");
    spec.args = vec!["a".to_owned(), String::new(), "$(ä)".to_owned()];
    spec.resources.gpu = Some(1.into());
    spec.resources.shm = Some("8Mi".into());
    spec.gpu_type = Some("a100".to_owned());
    spec.retries = Some(2.into());
    let request = create_request(&harness, spec);
    harness.backend.create(&request).await.unwrap();
    let mut job = render(&request.admitted, request.id, &request.policy).unwrap().job;
    job.metadata.namespace = Some(other.namespace.clone());
    let as_json = other.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let sent = harness.api::<Job>().get(as_json.metadata.name.as_deref().unwrap()).await.unwrap();
    assert_eq!(comparable_spec(&sent), comparable_spec(&as_json));
    assert_eq!(sent.metadata.labels, as_json.metadata.labels);
    assert_eq!(sent.metadata.annotations, as_json.metadata.annotations);
}
