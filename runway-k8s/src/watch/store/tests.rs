//! Events and Jobs, in whatever order the watches bring them.

use super::*;
use runway_core::status::Reason;
use serde_json::json;

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

/// A store that has told of its first listing, in which there were these.
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
    // It stays when everything is listed again meanwhile.
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
    // Names that end in no id are nobody's here.
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
    // What has found its Job stays with it.
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
