//! Tests of the store with Jobs, pods and events in different orders.

use super::*;
use crate::settings::KubernetesSettings;
use http::{Request, Response};
use kube::client::Body;
use runway_control::Env;
use runway_core::Policy;
use runway_core::policy::PriceOverrides;
use runway_core::status::Reason;
use runway_core::units::Timestamp;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;

fn id(number: u64) -> JobId {
    JobId::from_random(u128::from(number))
}

fn job(id: JobId) -> Box<Job> {
    let labels = json!({
        "app.kubernetes.io/managed-by": "runway", "app.kubernetes.io/name": "train",
        "runway.dev/id": id.as_str(), "runway.dev/tenant": "search",
    });
    serde_json::from_value(json!({
        "metadata": {"name": format!("train-{id}"), "namespace": "runway-jobs", "uid": "u", "labels": labels},
        "spec": {"activeDeadlineSeconds": 60, "template": {"spec": {"containers": []}}},
    }))
    .unwrap()
}

fn failed_create_event(namespace: &str, job: &str) -> Box<Event> {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{job}.1")},
        "involvedObject": {"kind": "Job", "namespace": namespace, "name": job},
        "reason": "FailedCreate", "message": "exceeded quota: runway",
    }))
    .unwrap()
}

/// Returns a store after its first list, which contained these jobs.
pub(super) fn store_after_first_list(jobs: &[JobId]) -> Store {
    let mut store = Store::default();
    store.on_pod(watcher::Event::Init);
    store.on_pod(watcher::Event::InitDone);
    store.on_job(watcher::Event::Init);
    for id in jobs {
        store.on_job(watcher::Event::InitApply(job(*id)));
    }
    assert!(matches!(store.on_job(watcher::Event::InitDone)[..], [StoreEvent::ListComplete]));
    assert_eq!(store.take_list().len(), jobs.len());
    store
}

fn reasons(store_events: &[StoreEvent]) -> Vec<Option<Reason>> {
    let reason = |told: &StoreEvent| match told {
        StoreEvent::Emit(WatchEvent::Updated(seen)) => Some(seen.status.reason),
        _ => None,
    };
    store_events.iter().filter_map(reason).collect()
}

#[test]
fn event_before_its_job_is_kept_for_it() {
    let mut store = store_after_first_list(&[]);
    assert!(
        store
            .on_event(watcher::Event::Apply(failed_create_event("runway-jobs", &format!("train-{}", id(1)))))
            .is_empty()
    );
    let store_events = store.on_job(watcher::Event::Apply(job(id(1))));
    assert_eq!(reasons(&store_events), [Some(Reason::PodsRejected)]);
    // Taking a list drops the events of removed Jobs, but not those of Jobs that are still unknown.
    store.on_event(watcher::Event::Apply(failed_create_event("runway-jobs", &format!("train-{}", id(2)))));
    store.take_list();
    assert_eq!(reasons(&store.on_job(watcher::Event::Apply(job(id(2))))), [Some(Reason::PodsRejected)]);
}

#[test]
fn event_matches_only_the_job_with_its_namespaced_name() {
    let mut store = store_after_first_list(&[id(1), id(2)]);
    let name = format!("train-{}", id(1));
    for (namespace, name) in [("elsewhere", name.as_str()), ("runway-jobs", "train"), ("runway-jobs", "a-b")]
    {
        assert!(
            store.on_event(watcher::Event::Apply(failed_create_event(namespace, name))).is_empty(),
            "{namespace} {name}"
        );
    }
    assert!(
        store
            .on_event(watcher::Event::Apply(failed_create_event("runway-jobs", &format!("other-{}", id(2)))))
            .is_empty()
    );
    assert_eq!(
        reasons(&store.on_event(watcher::Event::Apply(failed_create_event("runway-jobs", &name)))),
        [Some(Reason::PodsRejected)]
    );
    // Events of Jobs whose names do not end in an id are not stored.
    assert!(store.events.keys().all(|(_, name)| !["train", "a-b"].contains(&name.as_str())));
}

#[test]
fn oldest_unmatched_events_are_dropped_above_the_limit() {
    let mut store = store_after_first_list(&[]);
    let count = MAX_UNMATCHED_NAMES as u64;
    for number in 0..=count {
        store.on_event(watcher::Event::Apply(failed_create_event(
            "runway-jobs",
            &format!("train-{}", id(number)),
        )));
    }
    assert_eq!(
        (store.events.len(), store.unmatched_events.len()),
        (MAX_UNMATCHED_NAMES, MAX_UNMATCHED_NAMES)
    );
    assert_eq!(reasons(&store.on_job(watcher::Event::Apply(job(id(0))))), [None]);
    assert_eq!(reasons(&store.on_job(watcher::Event::Apply(job(id(1))))), [Some(Reason::PodsRejected)]);
    // The events of a known Job are not dropped, even if more unknown names than the limit arrive later.
    for number in count..3 * count {
        store.on_event(watcher::Event::Apply(failed_create_event(
            "runway-jobs",
            &format!("train-{}", id(number)),
        )));
    }
    assert!(store.events.contains_key(&("runway-jobs".to_owned(), format!("train-{}", id(1)))));
    assert!(!store.events.contains_key(&("runway-jobs".to_owned(), format!("train-{}", id(2)))));
    assert_eq!(store.events.len(), MAX_UNMATCHED_NAMES + 1);
}

#[test]
fn listed_events_are_kept_without_limit_for_their_jobs() {
    let mut store = Store::default();
    let ids: Vec<_> = (0..1000).map(id).collect();
    store.on_event(watcher::Event::Init);
    for id in &ids {
        store.on_event(watcher::Event::InitApply(failed_create_event("runway-jobs", &format!("train-{id}"))));
    }
    store.on_event(watcher::Event::InitDone);
    store.on_pod(watcher::Event::Init);
    store.on_pod(watcher::Event::InitDone);
    store.on_job(watcher::Event::Init);
    ids.iter().for_each(|id| drop(store.on_job(watcher::Event::InitApply(job(*id)))));
    store.on_job(watcher::Event::InitDone);
    let seen = store.take_list();
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().all(|seen| seen.status.reason == Some(Reason::PodsRejected)));
}

/// Returns a Job whose name has this many characters.
fn long_job(id: JobId, length: usize) -> Box<Job> {
    let mut job = job(id);
    let name = "n".repeat(length - id.as_str().len() - 1);
    job.metadata.labels.as_mut().unwrap().insert("app.kubernetes.io/name".to_owned(), name.clone());
    job.metadata.name = Some(format!("{name}-{id}"));
    job
}

/// Returns the name that the API server gives to a pod of this Job: the Job's name and a dash, cut to 58
/// characters, and 5 random characters.
fn pod_name(job: &Job) -> String {
    let base = format!("{}-", job.metadata.name.as_deref().unwrap());
    format!("{}x2v4z", base.get(..58).unwrap_or(&base))
}

fn pod(job: &Job, state: serde_json::Value) -> Box<Pod> {
    let mut labels = job.metadata.labels.clone().unwrap();
    labels.insert("batch.kubernetes.io/job-name".to_owned(), job.metadata.name.clone().unwrap());
    serde_json::from_value(json!({
        "metadata": {
            "name": pod_name(job), "namespace": "runway-jobs", "uid": "p", "labels": labels,
            "ownerReferences": [owner(job.metadata.uid.as_deref().unwrap())],
        },
        "spec": {"containers": [{"name": "job", "image": "registry.invalid/none:1"}]},
        "status": {"phase": "Pending", "containerStatuses": [
            {"name": "job", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
        ]},
    }))
    .unwrap()
}

fn owner(uid: &str) -> serde_json::Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": uid, "controller": true})
}

fn image_pull_failing() -> serde_json::Value {
    json!({"waiting": {"reason": "ErrImagePull", "message": "lookup registry.invalid: no such host"}})
}

fn deleted(mut pod: Box<Pod>) -> Box<Pod> {
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2027-01-15T08:01:05Z")).unwrap();
    pod
}

fn deadline_exceeded(job: &Job) -> Box<Job> {
    let mut job = job.clone();
    let condition = json!({"type": "Failed", "status": "True", "reason": "DeadlineExceeded"});
    job.status = serde_json::from_value(json!({"conditions": [condition], "failed": 1})).unwrap();
    Box::new(job)
}

fn pod_event(job: &Job, reason: &str, message: &str) -> Box<Event> {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{}.{reason}", pod_name(job))},
        "involvedObject": {
            "kind": "Pod", "namespace": "runway-jobs", "name": pod_name(job), "fieldPath": "spec.containers{job}",
        },
        "reason": reason, "message": message, "lastTimestamp": "2027-01-15T08:00:05Z",
    }))
    .unwrap()
}

fn message(store_events: &[StoreEvent]) -> String {
    let message = |told: &StoreEvent| match told {
        StoreEvent::Emit(WatchEvent::Updated(seen)) => Some(seen.status.message.clone()),
        _ => None,
    };
    store_events.iter().filter_map(message).next_back().unwrap_or_default()
}

#[test]
fn cause_is_kept_after_the_pod_is_deleted() {
    let mut store = store_after_first_list(&[]);
    let job = job(id(1));
    store.on_job(watcher::Event::Apply(job.clone()));
    store.on_pod(watcher::Event::Apply(pod(&job, image_pull_failing())));
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    store.on_pod(watcher::Event::Apply(deleted(pod(&job, creating))));
    let lost = json!({"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}});
    let mut last = deleted(pod(&job, lost));
    last.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    store.on_pod(watcher::Event::Apply(last.clone()));
    let status_message = message(&store.on_job(watcher::Event::Apply(deadline_exceeded(&job))));
    assert!(
        status_message.starts_with("never ran within its timeout of 1m")
            && status_message.contains("no such host"),
        "{status_message}"
    );
    // The cause is kept after the pod was removed.
    store.on_pod(watcher::Event::Delete(last));
    let seen = store.take_list().pop().unwrap().status;
    assert_eq!((seen.message, seen.exit_code), (status_message, None));
    // Another Job with this name has other pods, so the store drops the earlier states of the old pods.
    let mut other = job.clone();
    other.metadata.uid = Some("u-2".to_owned());
    store.on_job(watcher::Event::Apply(other));
    assert_eq!(store.jobs[&id(1)].earlier_pods, []);
}

#[test]
fn pod_event_matches_its_job_by_name() {
    // A pod's name contains at most 58 characters of the Job's name. If the Job's name is longer, the cut is
    // within the id.
    for length in [20, 56, 57, 58, 59, 62, 63] {
        let job = long_job(id(1), length);
        let failed = pod_event(&job, "Failed", "Failed to pull image \"x\": no such host");
        assert!(pod_name(&job).len() <= 63);
        // After a restart the pod is gone. The event arrives before or after the Job.
        for event_first in [true, false] {
            let mut store = store_after_first_list(&[]);
            let mut status_message = String::new();
            for is_event in [event_first, !event_first] {
                status_message = message(&match is_event {
                    true => store.on_event(watcher::Event::Apply(failed.clone())),
                    false => store.on_job(watcher::Event::Apply(deadline_exceeded(&job))),
                });
            }
            assert!(
                status_message.starts_with("never ran") && status_message.contains("no such host"),
                "{length}: {status_message}"
            );
        }
    }
}

#[test]
fn started_event_is_dropped_once_the_pod_shows_the_start() {
    let mut store = store_after_first_list(&[]);
    let job = job(id(1));
    store.on_job(watcher::Event::Apply(job.clone()));
    store.on_pod(watcher::Event::Apply(pod(&job, image_pull_failing())));
    let started = pod_event(&job, "Started", "Container started");
    let kept = |store: &Store| store.events.values().map(Vec::len).sum::<usize>();
    store.on_event(watcher::Event::Apply(started.clone()));
    assert_eq!(kept(&store), 1);
    let running = pod(&job, json!({"running": {"startedAt": "2027-01-15T08:00:05Z"}}));
    store.on_pod(watcher::Event::Apply(running));
    assert_eq!(kept(&store), 0);
    store.on_event(watcher::Event::Apply(started));
    assert_eq!(kept(&store), 0);
    // Other events are kept up to a limit. Events that explain no failure are not kept.
    for number in 0..2 * MAX_EVENTS_PER_JOB {
        let mut failed = pod_event(&job, "Failed", "Error: no");
        failed.metadata.name = Some(number.to_string());
        store.on_event(watcher::Event::Apply(failed));
        store.on_event(watcher::Event::Apply(pod_event(&job, "Unhealthy", "")));
    }
    assert_eq!(kept(&store), MAX_EVENTS_PER_JOB);
}

fn list_pods(store: &mut Store) -> Vec<StoreEvent> {
    store.on_pod(watcher::Event::Init);
    store.on_pod(watcher::Event::InitDone)
}

fn list_jobs(store: &mut Store, jobs: impl IntoIterator<Item = Box<Job>>) -> Vec<StoreEvent> {
    assert!(matches!(store.on_job(watcher::Event::Init)[..], [StoreEvent::Emit(WatchEvent::ListStarted)]));
    for job in jobs {
        assert!(store.on_job(watcher::Event::InitApply(job)).is_empty());
    }
    store.on_job(watcher::Event::InitDone)
}

#[test]
fn first_list_is_reported_once_jobs_and_pods_are_listed() {
    // The pods are listed first.
    let mut store = Store::default();
    assert!(list_pods(&mut store).is_empty());
    assert_eq!(store.progress, Progress::AwaitingJobs);
    assert!(list_pods(&mut store).is_empty());
    assert!(matches!(list_jobs(&mut store, [job(id(1))])[..], [StoreEvent::ListComplete]));
    assert_eq!(store.progress, Progress::Listed);
    assert_eq!(store.take_list().len(), 1);
    assert_eq!(store.progress, Progress::Following);
    // The Jobs are listed first, and twice.
    let mut store = Store::default();
    assert!(list_jobs(&mut store, [job(id(1))]).is_empty());
    assert!(list_jobs(&mut store, [job(id(1)), job(id(2))]).is_empty());
    assert_eq!(store.progress, Progress::AwaitingPods);
    assert!(matches!(list_pods(&mut store)[..], [StoreEvent::ListComplete]));
    assert_eq!(store.take_list().len(), 2);
}

#[test]
fn relist_before_the_first_list_waits_for_new_jobs() {
    let mut store = Store::default();
    assert!(list_jobs(&mut store, [job(id(1))]).is_empty());
    store.reset_for_relist();
    assert!(list_pods(&mut store).is_empty(), "the relist of Jobs is not complete");
    // The pods were listed before the second relist, so only the list of Jobs is missing.
    store.reset_for_relist();
    assert_eq!(store.progress, Progress::AwaitingJobs);
    assert!(matches!(list_jobs(&mut store, [job(id(2))])[..], [StoreEvent::ListComplete]));
}

#[test]
fn relist_drops_partial_lists() {
    let mut store = store_after_first_list(&[id(1)]);
    store.on_job(watcher::Event::Init);
    store.on_job(watcher::Event::InitApply(job(id(2))));
    store.reset_for_relist();
    assert_eq!(store.progress, Progress::Following);
    assert!(matches!(list_jobs(&mut store, [job(id(1))])[..], [StoreEvent::ListComplete]));
    assert_eq!(store.take_list().len(), 1);
    // A new list of Jobs also drops a partial list that was never completed.
    store.on_job(watcher::Event::Init);
    store.on_job(watcher::Event::InitApply(job(id(2))));
    assert!(matches!(list_jobs(&mut store, [job(id(1))])[..], [StoreEvent::ListComplete]));
    assert_eq!(store.take_list().len(), 1);
}

#[test]
fn changes_are_reported_only_after_the_first_lists() {
    let mut store = Store::default();
    assert!(store.on_job(watcher::Event::Apply(job(id(1)))).is_empty());
    list_jobs(&mut store, [job(id(1))]);
    assert!(store.on_job(watcher::Event::Apply(job(id(2)))).is_empty());
    list_pods(&mut store);
    assert_eq!(reasons(&store.on_job(watcher::Event::Apply(job(id(3))))), [None]);
    assert_eq!(store.take_list().len(), 3);
    // Later lists of pods report the changes that they contain.
    let mut failing = pod(&job(id(1)), image_pull_failing());
    failing.metadata.name = Some("another".to_owned());
    store.on_pod(watcher::Event::Init);
    store.on_pod(watcher::Event::InitApply(failing));
    assert_eq!(reasons(&store.on_pod(watcher::Event::InitDone)), [Some(Reason::ImagePull)]);
}

/// Returns the Job of another tenant or namespace.
fn moved(mut job: Box<Job>, tenant: &str, namespace: &str) -> Box<Job> {
    job.metadata.labels.as_mut().unwrap().insert("runway.dev/tenant".to_owned(), tenant.to_owned());
    job.metadata.namespace = Some(namespace.to_owned());
    job.metadata.uid = Some(format!("{namespace}/{}", job.metadata.name.as_deref().unwrap()));
    job
}

/// Returns a pod in the namespace of its Job.
fn moved_pod(job: &Job) -> Box<Pod> {
    let mut pod = pod(job, image_pull_failing());
    pod.metadata.namespace = job.metadata.namespace.clone();
    pod
}

#[test]
fn job_outside_of_its_tenants_namespace_is_ignored() {
    let mut store = store_after_first_list(&[id(1)]);
    let foreign = |number| moved(job(id(number)), "search", "elsewhere");
    // Job 1 is a Job of Runway with the same id. It must stay.
    for update in [
        watcher::Event::Apply(foreign(1)),
        watcher::Event::Apply(foreign(2)),
        watcher::Event::Apply(foreign(2)),
        watcher::Event::Delete(foreign(1)),
    ] {
        assert!(store.on_job(update).is_empty());
    }
    assert_eq!(store.take_ignored(), 2, "each object is counted once");
    assert!(matches!(list_jobs(&mut store, [job(id(1)), foreign(2)])[..], [StoreEvent::ListComplete]));
    assert_eq!((store.take_list().len(), store.take_ignored()), (1, 0));
    let mut pod = pod(&job(id(1)), image_pull_failing());
    pod.metadata.namespace = Some("elsewhere".to_owned());
    assert!(store.on_pod(watcher::Event::Apply(pod)).is_empty());
    assert_eq!(store.take_ignored(), 1);
}

#[test]
fn older_of_two_jobs_with_the_same_id_counts() {
    let run = RunSettings { namespace: "runway-{tenant}".to_owned(), ..RunSettings::default() };
    let created = |tenant: &str, minute: u8| {
        let mut job = moved(job(id(1)), tenant, &format!("runway-{tenant}"));
        let created = json!(format!("2027-01-15T08:{minute:02}:00Z"));
        job.metadata.creation_timestamp = serde_json::from_value(created).unwrap();
        job
    };
    let (older, newer) = (created("vision", 0), created("search", 1));
    for jobs in [[older.clone(), newer.clone()], [newer.clone(), older.clone()]] {
        let mut store = Store::new(run.clone());
        list_pods(&mut store);
        assert!(matches!(list_jobs(&mut store, jobs)[..], [StoreEvent::ListComplete]));
        let listed = store.take_list();
        assert_eq!(listed.iter().map(|seen| seen.tenant.as_str()).collect::<Vec<_>>(), ["vision"]);
        // The pod is removed before the next list, which must not drop it.
        let pod = moved_pod(&older);
        store.on_pod(watcher::Event::Apply(pod.clone()));
        store.on_pod(watcher::Event::Delete(pod));
        list_jobs(&mut store, [newer.clone(), older.clone()]);
        assert_eq!(store.take_list().iter().map(|seen| seen.status.attempts).collect::<Vec<_>>(), [1]);
        assert!(store.on_job(watcher::Event::Apply(newer.clone())).is_empty());
        assert!(store.on_job(watcher::Event::Delete(newer.clone())).is_empty());
        assert_eq!(store.take_ignored(), 1);
        let removed = store.on_job(watcher::Event::Delete(older.clone()));
        assert!(matches!(removed[..], [StoreEvent::Emit(WatchEvent::Removed(_))]));
    }
}

#[test]
fn pod_that_its_job_does_not_own_changes_nothing() {
    let mut store = store_after_first_list(&[id(1)]);
    let job = job(id(1));
    for (name, owners) in [("copy", json!([])), ("other", json!([owner("another")]))] {
        let mut pod = pod(&job, image_pull_failing());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(name.to_owned());
        pod.metadata.owner_references = serde_json::from_value(owners).unwrap();
        assert!(store.on_pod(watcher::Event::Apply(pod.clone())).is_empty());
        assert!(store.on_pod(watcher::Event::Apply(pod)).is_empty());
    }
    assert_eq!(store.take_ignored(), 2);
    // The pods are active, but they do not keep the job.
    let removed = store.on_job(watcher::Event::Delete(job));
    assert!(matches!(removed[..], [StoreEvent::Emit(WatchEvent::Removed(_))]));
    // The pods can also arrive before the Job.
    let mut store = Store::default();
    let mut foreign = pod(&self::job(id(1)), image_pull_failing());
    foreign.metadata.owner_references = serde_json::from_value(json!([owner("another")])).unwrap();
    store.on_pod(watcher::Event::Init);
    store.on_pod(watcher::Event::InitApply(foreign));
    store.on_pod(watcher::Event::InitDone);
    list_jobs(&mut store, [self::job(id(1))]);
    let [seen] = &store.take_list()[..] else { panic!("one job") };
    assert_eq!((seen.status.reason, seen.status.attempts, store.take_ignored()), (None, 0, 1));
}

#[test]
fn orphaned_pod_still_belongs_to_its_job() {
    let mut store = store_after_first_list(&[id(1)]);
    let job = job(id(1));
    store.on_pod(watcher::Event::Apply(pod(&job, image_pull_failing())));
    // Kubernetes removes the owner of the pod, and then the Job.
    let mut orphan = pod(&job, image_pull_failing());
    orphan.metadata.owner_references = None;
    store.on_pod(watcher::Event::Apply(orphan.clone()));
    assert!(store.on_job(watcher::Event::Delete(job)).is_empty());
    let removed = store.on_pod(watcher::Event::Delete(orphan.clone()));
    assert!(matches!(removed[..], [.., StoreEvent::Emit(WatchEvent::Removed(_))]));
    // After a restart, a label shows that a Job created the pod. A pod without this label is not counted.
    for label in [Some("batch.kubernetes.io/controller-uid"), None] {
        let mut orphan = orphan.clone();
        orphan.metadata.labels.as_mut().unwrap().extend(label.map(|key| (key.to_owned(), "u".to_owned())));
        let mut store = Store::default();
        store.on_pod(watcher::Event::Init);
        store.on_pod(watcher::Event::InitApply(orphan));
        store.on_pod(watcher::Event::InitDone);
        list_jobs(&mut store, []);
        assert_eq!(store.take_list().len(), usize::from(label.is_some()), "{label:?}");
    }
}

/// A clock that always shows 8:10.
struct TenPastEight;

impl Env for TenPastEight {
    fn now(&self) -> Timestamp {
        "2027-01-15T08:10:00Z".parse().unwrap()
    }

    fn random(&self) -> u128 {
        0
    }
}

/// Returns a cluster whose API server is never called.
fn cluster() -> Cluster {
    let refuse = async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()));
    let text = include_bytes!("../../../../fixtures/policies/default.yaml");
    let policy = Policy::parse(text, PriceOverrides::default()).unwrap();
    let client = kube::Client::new(tower::service_fn(refuse), "default");
    Cluster::new(client, &policy, KubernetesSettings::new(&policy), Arc::new(TenPastEight))
}

/// Returns a Job without its Secret, created at 8:00 plus this number of minutes.
fn incomplete(id: JobId, minute: u8) -> Box<Job> {
    let mut job = job(id);
    job.metadata.annotations = Some([("runway.dev/incomplete".to_owned(), String::new())].into());
    let created = json!(format!("2027-01-15T08:{minute:02}:00Z"));
    job.metadata.creation_timestamp = serde_json::from_value(created).unwrap();
    job
}

#[tokio::test]
async fn young_incomplete_jobs_are_abandoned_only_at_startup() {
    let (cluster, mut store) = (cluster(), Store::default());
    list_pods(&mut store);
    list_jobs(&mut store, [incomplete(id(1), 9), incomplete(id(2), 5), job(id(3))]);
    let creating = cluster.mark_in_flight(id(1));
    assert_eq!(store.take_abandoned(&cluster), [*incomplete(id(2), 5)], "the other Job is in flight");
    drop(creating);
    assert_eq!(store.take_abandoned(&cluster), [*incomplete(id(1), 9)]);
    assert_eq!(store.take_list().len(), 1);
    // In later lists, another process may still be creating a young Job. Job 1 is one minute old and stays.
    // Job 2 is five minutes old, which exceeds `abandoned_after`.
    list_jobs(&mut store, [incomplete(id(1), 9), incomplete(id(2), 5), job(id(3))]);
    assert_eq!(store.take_abandoned(&cluster), [*incomplete(id(2), 5)]);
}
