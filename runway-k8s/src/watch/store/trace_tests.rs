//! Replays recorded changes of the objects of one job, as a cluster sent them, and checks the status after each.

use super::*;
use runway_core::status::{KubectlList, Phase, Reason, Status, classify};
use runway_core::units::{Seconds, Timestamp};
use serde_json::{Value as Json, json};

fn changes(trace: &str) -> Vec<Json> {
    let path = format!("{}/../fixtures/cluster/traces/{trace}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    source.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decode<T: serde::de::DeserializeOwned>(object: &Json) -> Box<T> {
    serde_json::from_value(object.clone()).unwrap()
}

/// Returns the statuses of the job after each change that the store reports.
fn replay(changes: &[Json]) -> Vec<Status> {
    let mut store = tests::store_after_first_list(&[]);
    let mut statuses = Vec::new();
    for change in changes {
        let (object, is_deletion) = (&change["object"], change["type"] == "DELETED");
        let store_events = match (object["kind"].as_str().unwrap(), is_deletion) {
            ("Job", false) => store.on_job(watcher::Event::Apply(decode(object))),
            ("Job", true) => store.on_job(watcher::Event::Delete(decode(object))),
            ("Pod", false) => store.on_pod(watcher::Event::Apply(decode(object))),
            ("Pod", true) => store.on_pod(watcher::Event::Delete(decode(object))),
            _ => store.on_event(watcher::Event::Apply(decode(object))),
        };
        for store_event in store_events {
            if let StoreEvent::Emit(WatchEvent::Updated(seen)) = store_event {
                statuses.push(seen.status);
            }
        }
    }
    statuses
}

/// Returns the status that `runway diagnose` would report for the objects that exist after the changes.
fn diagnose(changes: &[Json]) -> Status {
    let mut objects: Vec<&Json> = Vec::new();
    for change in changes {
        let name = &change["object"]["metadata"]["name"];
        let kind = &change["object"]["kind"];
        objects.retain(|object| object["metadata"]["name"] != *name || object["kind"] != *kind);
        if change["type"] != "DELETED" {
            objects.push(&change["object"]);
        }
    }
    let list = KubectlList::from_json(json!({"kind": "List", "items": objects})).unwrap();
    classify(&list.jobs().next().unwrap().1)
}

#[test]
fn missing_image_never_becomes_a_slow_job() {
    let changes = changes("image-missing-until-deadline");
    let statuses = replay(&changes);
    for status in &statuses {
        let hint = status.hint.as_deref().unwrap_or_default();
        assert!(status.exit_code.is_none() && !hint.contains("raise `timeout`"), "{status:#?}");
    }
    let last = statuses.last().unwrap();
    assert_eq!((last.phase, last.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
    assert!(
        last.message.starts_with("never ran") && last.message.contains("no such host"),
        "{}",
        last.message
    );
    let diagnosed = diagnose(&changes);
    assert_eq!((diagnosed.phase, diagnosed.reason), (last.phase, last.reason));
    assert!(diagnosed.message.contains("no such host"), "{}", diagnosed.message);
}

#[test]
fn deleted_pods_have_one_verdict_for_every_second_of_their_end() {
    let changes = changes("pod-deleted-by-hand-twice");
    let mut verdicts = BTreeSet::new();
    for seconds in 0..=5 {
        // The end of the containers moves, as far as the kubelet reports it.
        let moved: Vec<_> = changes.iter().map(|change| with_moved_end(change.clone(), seconds)).collect();
        let last = replay(&moved).pop().unwrap();
        assert_eq!((last.phase, last.reason, last.attempts), (Phase::Failed, Some(Reason::Disrupted), 2));
        assert!(!last.hint.unwrap().contains("the sender is not recorded"));
        verdicts.insert(last.message);
    }
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
}

fn with_moved_end(mut change: Json, seconds: u64) -> Json {
    let Some(containers) = change["object"]["status"]["containerStatuses"].as_array_mut() else {
        return change;
    };
    for container in containers {
        if let Some(end) = container["state"]["terminated"]["finishedAt"].as_str() {
            let end: Timestamp = end.parse().unwrap();
            let moved = end.saturating_add(Seconds::new(seconds));
            container["state"]["terminated"]["finishedAt"] = json!(moved.to_string());
        }
    }
    change
}

#[test]
fn drained_pods_count_as_attempts_and_not_as_retries() {
    let changes = changes("drained-exit-143-twice");
    for cut in 1..=changes.len() {
        let (Some(watched), diagnosed) = (replay(&changes[..cut]).pop(), diagnose_if_exists(&changes[..cut]))
        else {
            continue;
        };
        let Some(diagnosed) = diagnosed else { continue };
        let is_created = |change: &Json| change["object"]["kind"] == "Pod";
        if changes[..cut].iter().any(is_created) {
            assert!(!watched.message.contains("no pod has been created"), "{cut}: {}", watched.message);
        }
        // An event can be recorded after the pod that it names.
        let known = |status: &Status| status.attempts;
        assert!(known(&diagnosed) <= known(&watched), "{cut}: {diagnosed:#?} {watched:#?}");
    }
    let second = changes.iter().rposition(|change| change["object"]["metadata"]["resourceVersion"] == "1987");
    let statuses = replay(&changes[..=second.unwrap()]);
    let running = statuses.last().unwrap();
    assert!(running.message.starts_with("runs, attempt 2; retries used: 0 of 1"), "{}", running.message);
    assert_eq!(diagnose(&changes[..=second.unwrap()]).attempts, 2);
    assert_eq!(replay(&changes).last().unwrap().attempts, 3);
}

fn diagnose_if_exists(changes: &[Json]) -> Option<Status> {
    let is_deleted =
        changes.iter().any(|change| change["object"]["kind"] == "Job" && change["type"] == "DELETED");
    let has_job = changes.iter().any(|change| change["object"]["kind"] == "Job");
    (has_job && !is_deleted).then(|| diagnose(changes))
}

#[test]
fn lost_node_is_named_until_its_object_is_deleted() {
    let statuses = replay(&changes("node-lost-deadline"));
    let lost: Vec<_> = statuses.iter().filter(|status| !status.ends_by_itself).collect();
    assert!(lost.len() >= 3, "{statuses:#?}");
    for status in &lost {
        assert!(
            status.occupies_resources && status.message.contains("has not responded since"),
            "{status:#?}"
        );
        assert!(!status.hint.as_deref().unwrap_or_default().contains("raise `timeout`"), "{status:#?}");
    }
    let last = statuses.last().unwrap();
    assert!(last.message.starts_with("lost its node before its timeout"), "{}", last.message);
    assert!(!last.occupies_resources && last.ends_by_itself);
}

#[test]
fn suspension_by_another_client_keeps_the_first_start() {
    for trace in ["suspended-and-resumed", "suspended-and-resumed-1.34"] {
        let statuses = replay(&changes(trace));
        let started: BTreeSet<_> = statuses.iter().filter_map(|status| status.started_at).collect();
        let spread = started.last().unwrap().nanos_since(*started.first().unwrap());
        assert!(spread <= 1_000_000_000, "{trace}: {started:?}");
        let suspended =
            statuses.iter().filter(|status| status.message.contains("suspended by another client"));
        assert!(suspended.count() >= 2, "{trace}: {statuses:#?}");
        let resumed = statuses.iter().find(|status| status.message.starts_with("runs, attempt 2"));
        let resumed = resumed.unwrap_or_else(|| panic!("{trace}: {statuses:#?}"));
        assert!(resumed.message.contains("a new deadline"), "{trace}: {}", resumed.message);
        assert!(statuses.iter().all(|status| !status.hint.as_deref().unwrap_or_default().contains("secret")));
        assert_eq!(statuses.last().unwrap().phase, Phase::Succeeded);
    }
}

#[test]
fn rejected_pods_have_no_exit_code_in_any_state() {
    // The store ignores this Job, because its labels are not those of Runway.
    let changes = changes("rejected-by-taint");
    let statuses: Vec<_> =
        (1..=changes.len()).filter_map(|cut| diagnose_if_exists(&changes[..cut])).collect();
    assert!(statuses.iter().all(|status| status.exit_code.is_none()), "{statuses:#?}");
    let last = statuses.last().unwrap();
    assert!(
        last.message.contains("an earlier pod: rejected by its node (TaintToleration)"),
        "{}",
        last.message
    );
    assert_eq!(last.attempts, 3);
}
