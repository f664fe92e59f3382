//! Tests of the store with Jobs, pods and events in different orders.

use super::*;
use crate::settings::KubernetesSettings;
use http::{Request, Response};
use kube::client::Body;
use runway_control::Surroundings;
use runway_core::Policy;
use runway_core::policy::RateOverrides;
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

fn refusal(namespace: &str, job: &str) -> Box<Event> {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{job}.1")},
        "involvedObject": {"kind": "Job", "namespace": namespace, "name": job},
        "reason": "FailedCreate", "message": "exceeded quota: runway",
    }))
    .unwrap()
}

/// Returns a store after its first list, which contained these jobs.
fn ready(jobs: &[JobId]) -> Store {
    let mut store = Store::default();
    store.pod(News::Init);
    store.pod(News::InitDone);
    store.job(News::Init);
    for id in jobs {
        store.job(News::InitApply(job(*id)));
    }
    assert!(matches!(store.job(News::InitDone)[..], [Told::Complete]));
    assert_eq!(store.observations().len(), jobs.len());
    store
}

fn reasons(told: &[Told]) -> Vec<Option<Reason>> {
    let reason = |told: &Told| match told {
        Told::Event(WatchEvent::Changed(seen)) => Some(seen.status.reason),
        _ => None,
    };
    told.iter().filter_map(reason).collect()
}

#[test]
fn an_event_may_come_before_its_job() {
    let mut store = ready(&[]);
    assert!(store.event(News::Apply(refusal("runway-jobs", &format!("train-{}", id(1))))).is_empty());
    let told = store.job(News::Apply(job(id(1))));
    assert_eq!(reasons(&told), [Some(Reason::PodsRejected)]);
    // A relist does not drop the event.
    store.event(News::Apply(refusal("runway-jobs", &format!("train-{}", id(2)))));
    store.observations();
    assert_eq!(reasons(&store.job(News::Apply(job(id(2))))), [Some(Reason::PodsRejected)]);
}

#[test]
fn an_event_is_that_of_the_job_at_its_place_alone() {
    let mut store = ready(&[id(1), id(2)]);
    let name = format!("train-{}", id(1));
    for (namespace, name) in [("elsewhere", name.as_str()), ("runway-jobs", "train"), ("runway-jobs", "a-b")]
    {
        assert!(store.event(News::Apply(refusal(namespace, name))).is_empty(), "{namespace} {name}");
    }
    assert!(store.event(News::Apply(refusal("runway-jobs", &format!("other-{}", id(2))))).is_empty());
    assert_eq!(
        reasons(&store.event(News::Apply(refusal("runway-jobs", &name)))),
        [Some(Reason::PodsRejected)]
    );
    // Names that do not end in an id are ignored.
    assert!(store.events.keys().all(|(_, name)| !["train", "a-b"].contains(&name.as_str())));
}

#[test]
fn the_events_of_jobs_that_never_come_are_forgotten_the_oldest_first() {
    let mut store = ready(&[]);
    let count = UNCLAIMED_KEPT as u64;
    for number in 0..=count {
        store.event(News::Apply(refusal("runway-jobs", &format!("train-{}", id(number)))));
    }
    assert_eq!((store.events.len(), store.unclaimed.len()), (UNCLAIMED_KEPT, UNCLAIMED_KEPT));
    assert_eq!(reasons(&store.job(News::Apply(job(id(0))))), [None]);
    assert_eq!(reasons(&store.job(News::Apply(job(id(1))))), [Some(Reason::PodsRejected)]);
    // Events with a known Job are not dropped.
    for number in count..3 * count {
        store.event(News::Apply(refusal("runway-jobs", &format!("train-{}", id(number)))));
    }
    assert!(store.events.contains_key(&("runway-jobs".to_owned(), format!("train-{}", id(1)))));
    assert!(!store.events.contains_key(&("runway-jobs".to_owned(), format!("train-{}", id(2)))));
    assert_eq!(store.events.len(), UNCLAIMED_KEPT + 1);
}

#[test]
fn events_are_listed_in_any_number_before_their_jobs_are() {
    let mut store = Store::default();
    let ids: Vec<_> = (0..1000).map(id).collect();
    store.event(News::Init);
    for id in &ids {
        store.event(News::InitApply(refusal("runway-jobs", &format!("train-{id}"))));
    }
    store.event(News::InitDone);
    store.pod(News::Init);
    store.pod(News::InitDone);
    store.job(News::Init);
    ids.iter().for_each(|id| drop(store.job(News::InitApply(job(*id)))));
    store.job(News::InitDone);
    let seen = store.observations();
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
        "metadata": {"name": pod_name(job), "namespace": "runway-jobs", "uid": "p", "labels": labels},
        "spec": {"containers": [{"name": "job", "image": "registry.invalid/none:1"}]},
        "status": {"phase": "Pending", "containerStatuses": [
            {"name": "job", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
        ]},
    }))
    .unwrap()
}

fn held_up() -> serde_json::Value {
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

fn message(told: &[Told]) -> String {
    let message = |told: &Told| match told {
        Told::Event(WatchEvent::Changed(seen)) => Some(seen.status.message.clone()),
        _ => None,
    };
    told.iter().filter_map(message).next_back().unwrap_or_default()
}

#[test]
fn cause_outlives_the_states_of_a_deleted_pod() {
    let mut store = ready(&[]);
    let job = job(id(1));
    store.job(News::Apply(job.clone()));
    store.pod(News::Apply(pod(&job, held_up())));
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    store.pod(News::Apply(deleted(pod(&job, creating))));
    let lost = json!({"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}});
    let mut last = deleted(pod(&job, lost));
    last.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    store.pod(News::Apply(last.clone()));
    let told = message(&store.job(News::Apply(deadline_exceeded(&job))));
    assert!(
        told.starts_with("never ran within its timeout of 1m") && told.contains("no such host"),
        "{told}"
    );
    // The cause is kept after the pod was removed.
    store.pod(News::Delete(last));
    let seen = store.observations().pop().unwrap().status;
    assert_eq!((seen.message, seen.exit_code), (told, None));
    // Another Job with this name has other pods.
    let mut other = job.clone();
    other.metadata.uid = Some("u-2".to_owned());
    store.job(News::Apply(other));
    assert_eq!(store.jobs[&id(1)].earlier_pods, []);
}

#[test]
fn events_of_pods_reach_their_job_by_its_name() {
    // A pod's name contains at most 58 characters of the Job's name. If the Job's name is longer, the cut is
    // within the id.
    for length in [20, 56, 57, 58, 59, 62, 63] {
        let job = long_job(id(1), length);
        let failed = pod_event(&job, "Failed", "Failed to pull image \"x\": no such host");
        assert!(pod_name(&job).len() <= 63);
        // After a restart the pod is gone. The event arrives before or after the Job.
        for event_first in [true, false] {
            let mut store = ready(&[]);
            let mut told = String::new();
            for is_event in [event_first, !event_first] {
                told = message(&match is_event {
                    true => store.event(News::Apply(failed.clone())),
                    false => store.job(News::Apply(deadline_exceeded(&job))),
                });
            }
            assert!(told.starts_with("never ran") && told.contains("no such host"), "{length}: {told}");
        }
    }
}

#[test]
fn start_of_a_pod_is_kept_only_until_its_state_says_so() {
    let mut store = ready(&[]);
    let job = job(id(1));
    store.job(News::Apply(job.clone()));
    store.pod(News::Apply(pod(&job, held_up())));
    let started = pod_event(&job, "Started", "Container started");
    let kept = |store: &Store| store.events.values().map(Vec::len).sum::<usize>();
    store.event(News::Apply(started.clone()));
    assert_eq!(kept(&store), 1);
    let running = pod(&job, json!({"running": {"startedAt": "2027-01-15T08:00:05Z"}}));
    store.pod(News::Apply(running));
    assert_eq!(kept(&store), 0);
    store.event(News::Apply(started));
    assert_eq!(kept(&store), 0);
    // Other events are kept up to a limit. Events that explain no failure are not kept.
    for number in 0..2 * EVENTS_KEPT {
        let mut failed = pod_event(&job, "Failed", "Error: no");
        failed.metadata.name = Some(number.to_string());
        store.event(News::Apply(failed));
        store.event(News::Apply(pod_event(&job, "Unhealthy", "")));
    }
    assert_eq!(kept(&store), EVENTS_KEPT);
}

fn list_pods(store: &mut Store) -> Vec<Told> {
    store.pod(News::Init);
    store.pod(News::InitDone)
}

fn list_jobs(store: &mut Store, jobs: impl IntoIterator<Item = Box<Job>>) -> Vec<Told> {
    assert!(matches!(store.job(News::Init)[..], [Told::Event(WatchEvent::ListingBegan)]));
    for job in jobs {
        assert!(store.job(News::InitApply(job)).is_empty());
    }
    store.job(News::InitDone)
}

#[test]
fn first_list_is_reported_once_jobs_and_pods_are_listed() {
    // The pods are listed first.
    let mut store = Store::default();
    assert!(list_pods(&mut store).is_empty());
    assert_eq!(store.progress, Progress::AwaitingJobs);
    assert!(list_pods(&mut store).is_empty());
    assert!(matches!(list_jobs(&mut store, [job(id(1))])[..], [Told::Complete]));
    assert_eq!(store.progress, Progress::Listed);
    assert_eq!(store.observations().len(), 1);
    assert_eq!(store.progress, Progress::Following);
    // The Jobs are listed first, and twice.
    let mut store = Store::default();
    assert!(list_jobs(&mut store, [job(id(1))]).is_empty());
    assert!(list_jobs(&mut store, [job(id(1)), job(id(2))]).is_empty());
    assert_eq!(store.progress, Progress::AwaitingPods);
    assert!(matches!(list_pods(&mut store)[..], [Told::Complete]));
    assert_eq!(store.observations().len(), 2);
}

#[test]
fn relist_before_the_first_list_waits_for_new_jobs() {
    let mut store = Store::default();
    assert!(list_jobs(&mut store, [job(id(1))]).is_empty());
    store.begin_again();
    assert!(list_pods(&mut store).is_empty(), "the relist of Jobs is not complete");
    // The known pods are sufficient.
    store.begin_again();
    assert_eq!(store.progress, Progress::AwaitingJobs);
    assert!(matches!(list_jobs(&mut store, [job(id(2))])[..], [Told::Complete]));
}

#[test]
fn relist_drops_partial_lists() {
    let mut store = ready(&[id(1)]);
    store.job(News::Init);
    store.job(News::InitApply(job(id(2))));
    store.begin_again();
    assert_eq!(store.progress, Progress::Following);
    assert!(matches!(list_jobs(&mut store, [job(id(1))])[..], [Told::Complete]));
    assert_eq!(store.observations().len(), 1);
    // A second list also drops the partial one.
    store.job(News::Init);
    store.job(News::InitApply(job(id(2))));
    assert!(matches!(list_jobs(&mut store, [job(id(1))])[..], [Told::Complete]));
    assert_eq!(store.observations().len(), 1);
}

#[test]
fn changes_are_reported_only_after_the_first_lists() {
    let mut store = Store::default();
    assert!(store.job(News::Apply(job(id(1)))).is_empty());
    list_jobs(&mut store, [job(id(1))]);
    assert!(store.job(News::Apply(job(id(2)))).is_empty());
    list_pods(&mut store);
    assert_eq!(reasons(&store.job(News::Apply(job(id(3))))), [None]);
    assert_eq!(store.observations().len(), 3);
    // Later lists of pods report the changes that they contain.
    let mut failing = pod(&job(id(1)), held_up());
    failing.metadata.name = Some("another".to_owned());
    store.pod(News::Init);
    store.pod(News::InitApply(failing));
    assert_eq!(reasons(&store.pod(News::InitDone)), [Some(Reason::ImagePull)]);
}

/// A clock that always shows 8:10.
struct TenPastEight;

impl Surroundings for TenPastEight {
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
    let policy = Policy::parse(text, RateOverrides::default()).unwrap();
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
async fn young_incomplete_jobs_are_abandoned_only_at_first() {
    let (cluster, mut store) = (cluster(), Store::default());
    list_pods(&mut store);
    list_jobs(&mut store, [incomplete(id(1), 9), incomplete(id(2), 5), job(id(3))]);
    let creating = cluster.creating(id(1));
    assert_eq!(store.take_abandoned(&cluster), [*incomplete(id(2), 5)], "the other Job is in flight");
    drop(creating);
    assert_eq!(store.take_abandoned(&cluster), [*incomplete(id(1), 9)]);
    assert_eq!(store.observations().len(), 1);
    // In later lists, another process may still be creating a young Job.
    list_jobs(&mut store, [incomplete(id(1), 9), incomplete(id(2), 5), job(id(3))]);
    assert_eq!(store.take_abandoned(&cluster), [*incomplete(id(2), 5)]);
}
