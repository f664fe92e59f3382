//! Parses the output of `kubectl get job,pod,event -o json` and assigns the pods and events to their Jobs.
//!
//! A pod belongs to the Job that controls it. A pod without a controller belongs to the Job that its label
//! names. An event belongs to the Job of its object. If the object is a pod that no longer exists, the prefix
//! of the pod's name identifies the Job. A pod that belongs to no listed Job is classified
//! without a Job.

use super::{JobObjects, event};
use crate::status::kubernetes::time::instant;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Jobs with their pods and events, in the order of the list.
///
/// ```
/// use runway_core::status::{KubectlList, Phase, classify};
///
/// let list = KubectlList::from_json(serde_json::json!({"kind": "List", "items": [
///     {"kind": "Job", "metadata": {"name": "embed", "uid": "1"}},
///     {"kind": "Pod", "metadata": {"name": "embed-x2v4z", "ownerReferences": [
///         {"apiVersion": "batch/v1", "kind": "Job", "name": "embed", "uid": "1", "controller": true},
///     ]}, "status": {"phase": "Running"}},
/// ]}))?;
/// let (name, objects) = list.jobs().next().ok_or("no Job")?;
/// assert_eq!((name, classify(&objects).phase), ("embed", Phase::Running));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct KubectlList {
    jobs: Vec<ListedJob>,
    /// The pods that belong to no listed Job, with their events.
    pods: Vec<(Pod, Vec<Event>)>,
    skipped: Vec<KubectlListError>,
}

#[derive(Debug)]
struct ListedJob {
    job: Job,
    pods: Vec<Pod>,
    events: Vec<Event>,
}

/// An error in the output of `kubectl get -o json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubectlListError {
    /// The value is not an object, or it has no `kind`.
    #[error("{location} is not a Kubernetes object: it has no `kind`")]
    NotAnObject {
        /// The position of the value: `items[3]`, or `the input`.
        location: String,
    },
    /// The `items` of a list are not a list.
    #[error("the `items` of the {kind} are not a list")]
    ItemsNotAList {
        /// The kind of the list.
        kind: String,
    },
    /// An object is not valid for its kind.
    #[error("{location} is not a valid {kind}: {detail}")]
    Malformed {
        /// The position of the object: `items[3]`, or `the input`.
        location: String,
        /// The kind of the object.
        kind: &'static str,
        /// The error, without any value of the object, because the value can be a secret.
        detail: String,
    },
}

impl KubectlList {
    /// Parses a `List`, a `JobList`, a `PodList`, an `EventList`, or a single object. Objects of other kinds
    /// are ignored.
    ///
    /// # Errors
    /// [`KubectlListError`] if a value is not a Kubernetes object, `items` is not a list, or a Job is
    /// malformed. A malformed pod or event is [skipped](Self::skipped).
    pub fn from_json(json: Json) -> Result<Self, KubectlListError> {
        let mut objects = ParsedObjects::default();
        let kind = kind_of(&json)
            .ok_or_else(|| KubectlListError::NotAnObject { location: WHOLE_INPUT.to_owned() })?;
        match (kind.strip_suffix("List"), json) {
            (Some(item_kind), Json::Object(mut list)) => {
                let item_kind = item_kind.to_owned();
                let items = match list.remove("items") {
                    Some(Json::Array(items)) => items,
                    None | Some(Json::Null) => Vec::new(),
                    Some(_) => {
                        return Err(KubectlListError::ItemsNotAList { kind: format!("{item_kind}List") });
                    }
                };
                for (index, item) in items.into_iter().enumerate() {
                    // In a typed list such as `JobList`, the API server writes the kind only on the list.
                    let kind = kind_of(&item)
                        .or_else(|| (!item_kind.is_empty() && item.is_object()).then(|| item_kind.clone()));
                    objects.add(&format!("items[{index}]"), kind, item)?;
                }
            }
            (_, object) => objects.add(WHOLE_INPUT, Some(kind), object)?,
        }
        Ok(objects.group_by_job())
    }

    /// Returns the name and the objects of each Job.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, JobObjects<'_>)> {
        self.jobs.iter().map(|ListedJob { job, pods, events }| {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            (name, JobObjects { job: Some(job), pods, events, ..JobObjects::default() })
        })
    }

    /// Returns the name and the objects of each pod that belongs to no listed Job.
    pub fn pods_without_job(&self) -> impl Iterator<Item = (&str, JobObjects<'_>)> {
        self.pods.iter().map(|(pod, events)| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            (name, JobObjects { pods: std::slice::from_ref(pod), events, ..JobObjects::default() })
        })
    }

    /// Returns the errors of pods and events that could not be parsed. These objects are not used as
    /// evidence.
    #[must_use]
    pub fn skipped(&self) -> &[KubectlListError] {
        &self.skipped
    }
}

const WHOLE_INPUT: &str = "the input";

fn kind_of(object: &Json) -> Option<String> {
    let kind = object.get("kind")?.as_str().filter(|kind| !kind.is_empty())?;
    // Other API groups also have a kind named Job.
    let group = object.get("apiVersion").and_then(Json::as_str).map(|version| version.split('/').next());
    let is_foreign = match kind {
        "Job" => group.is_some_and(|group| group != Some("batch")),
        "Pod" | "Event" => group.is_some_and(|group| group != Some("v1")),
        _ => false,
    };
    Some(if is_foreign { format!("foreign {kind}") } else { kind.to_owned() })
}

#[derive(Default)]
struct ParsedObjects {
    jobs: Vec<Job>,
    pods: Vec<Pod>,
    events: Vec<Event>,
    skipped: Vec<KubectlListError>,
}

impl ParsedObjects {
    fn add(&mut self, location: &str, kind: Option<String>, object: Json) -> Result<(), KubectlListError> {
        match kind.as_deref() {
            Some("Job") => self.jobs.push(decode(location, "Job", object)?),
            Some("Pod") => match decode(location, "Pod", object) {
                Ok(pod) => self.pods.push(pod),
                Err(error) => self.skipped.push(error),
            },
            Some("Event") => match decode(location, "Event", object) {
                Ok(event) => self.events.push(event),
                Err(error) => self.skipped.push(error),
            },
            Some(_) => {}
            None => return Err(KubectlListError::NotAnObject { location: location.to_owned() }),
        }
        Ok(())
    }

    fn group_by_job(self) -> KubectlList {
        let mut jobs: Vec<ListedJob> = Vec::new();
        let mut index = JobIndex::default();
        for job in self.jobs {
            if index.add(&job.metadata, jobs.len()) {
                jobs.push(ListedJob { job, pods: Vec::new(), events: Vec::new() });
            }
        }
        let mut pods = BTreeMap::new();
        let mut lone_pods: Vec<(Pod, Vec<Event>)> = Vec::new();
        let mut lone_pod_index = BTreeMap::new();
        for pod in self.pods {
            let Some(owner) = index.owner(&pod) else {
                lone_pod_index.insert(namespaced_name(&pod.metadata), lone_pods.len());
                lone_pods.push((pod, Vec::new()));
                continue;
            };
            let Some(listed) = jobs.get_mut(owner) else { continue };
            pods.insert(namespaced_name(&pod.metadata), (pod.metadata.uid.clone(), owner));
            listed.pods.push(pod);
        }
        let queue_entries = queue_entries(&self.events);
        for event in self.events {
            let about = &event.involved_object;
            let name = (or_empty(about.namespace.as_ref()), or_empty(about.name.as_ref()));
            let uid = about.uid.as_ref();
            let owner = match about.kind.as_deref() {
                Some("Job") => index.by_name.get(&name).copied().filter(|found| {
                    let job = jobs.get(*found).and_then(|listed| listed.job.metadata.uid.as_ref());
                    uids_match(uid, job)
                }),
                Some("Pod") => match pods.get(&name) {
                    Some((pod, owner)) => uids_match(uid, pod.as_ref()).then_some(*owner),
                    None => index.owner_by_pod_name(&name).filter(|found| {
                        let job = jobs.get(*found).map(|listed| &listed.job.metadata);
                        let created_at = job.and_then(|job| instant(job.creation_timestamp.as_ref()));
                        // An event before the creation of the Job belongs to an earlier Job of the same
                        // name.
                        event::event_time(&event).is_none_or(|at| created_at.is_none_or(|made| made <= at))
                    }),
                },
                Some("Workload") => queue_entries.get(&name).and_then(|job| index.by_name.get(job)).copied(),
                _ => None,
            };
            if let Some(listed) = owner.and_then(|owner| jobs.get_mut(owner)) {
                listed.events.push(event);
            } else if about.kind.as_deref() == Some("Pod")
                && let Some((pod, events)) = lone_pod_index.get(&name).and_then(|at| lone_pods.get_mut(*at))
                && uids_match(about.uid.as_ref(), pod.metadata.uid.as_ref())
            {
                events.push(event);
            }
        }
        KubectlList { jobs, pods: lone_pods, skipped: self.skipped }
    }
}

/// Returns the Job of each entry in a queue of Kueue. Kueue reports the name of the entry, a `Workload`, in an
/// event of the Job.
fn queue_entries(events: &[Event]) -> BTreeMap<NamespacedName, NamespacedName> {
    let created = events.iter().filter(|event| event.reason.as_deref() == Some("CreatedWorkload"));
    created
        .filter_map(|event| {
            let about = &event.involved_object;
            let (_, entry) = event.message.as_deref()?.rsplit_once('/')?;
            let namespace = or_empty(about.namespace.as_ref());
            Some(((namespace.clone(), entry.to_owned()), (namespace, or_empty(about.name.as_ref()))))
        })
        .collect()
}

fn decode<T: DeserializeOwned>(
    location: &str,
    kind: &'static str,
    object: Json,
) -> Result<T, KubectlListError> {
    serde_json::from_value(object).map_err(|error| {
        let message = error.to_string();
        // The text before `expected` can repeat the value, which can be a secret.
        let detail = match message.rfind("expected ").and_then(|at| message.get(at..)) {
            Some(expected) if message.starts_with("invalid ") => expected.to_owned(),
            _ => "one of its values is invalid".to_owned(),
        };
        KubectlListError::Malformed { location: location.to_owned(), kind, detail }
    })
}

/// A namespace and a name.
type NamespacedName = (String, String);

fn or_empty(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn namespaced_name(metadata: &ObjectMeta) -> NamespacedName {
    (or_empty(metadata.namespace.as_ref()), or_empty(metadata.name.as_ref()))
}

/// Returns whether two uids can belong to the same object. A missing uid matches any uid.
fn uids_match(one: Option<&String>, other: Option<&String>) -> bool {
    one.is_none_or(|one| other.is_none_or(|other| one == other))
}

/// The position of each Job in the list, by its uid, its name, and the name prefix of its pods.
#[derive(Default)]
struct JobIndex {
    by_uid: BTreeMap<String, usize>,
    by_name: BTreeMap<NamespacedName, usize>,
    /// The key is the namespace and the prefix of the pods' names.
    by_prefix: BTreeMap<NamespacedName, usize>,
}

/// The API server truncates the prefix of a pod's name to this length and appends five random characters.
const MAX_PREFIX_CHARS: usize = 58;
const SUFFIX_CHARS: usize = 5;

impl JobIndex {
    /// Adds a Job. Returns `false` if the Job is already listed.
    fn add(&mut self, job: &ObjectMeta, index: usize) -> bool {
        let name = namespaced_name(job);
        let listed = match &job.uid {
            Some(uid) => self.by_uid.insert(uid.clone(), index),
            None => self.by_name.get(&name).copied(),
        };
        if let Some(listed) = listed {
            self.by_uid.extend(job.uid.clone().map(|uid| (uid, listed)));
            return false;
        }
        let prefix: String = name.1.chars().chain(['-']).take(MAX_PREFIX_CHARS).collect();
        self.by_prefix.insert((name.0.clone(), prefix), index);
        self.by_name.insert(name, index);
        true
    }

    fn owner(&self, pod: &Pod) -> Option<usize> {
        let metadata = &pod.metadata;
        let namespace = || or_empty(metadata.namespace.as_ref());
        let mut owners = metadata.owner_references.iter().flatten();
        if let Some(owner) = owners.find(|owner| owner.controller == Some(true)) {
            if owner.kind != "Job" {
                return None;
            }
            if !owner.uid.is_empty() && !self.by_uid.is_empty() {
                return self.by_uid.get(&owner.uid).copied();
            }
            return self.by_name.get(&(namespace(), owner.name.clone())).copied();
        }
        let labels = metadata.labels.as_ref()?;
        let name = labels.get("batch.kubernetes.io/job-name").or_else(|| labels.get("job-name"))?;
        self.by_name.get(&(namespace(), name.clone())).copied()
    }

    /// Returns the position of the Job to which a pod belongs according to the pod's name.
    fn owner_by_pod_name(&self, (namespace, pod): &NamespacedName) -> Option<usize> {
        let (prefix, suffix) = pod.split_at_checked(pod.len().checked_sub(SUFFIX_CHARS)?)?;
        let is_random = suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let found = self.by_prefix.get(&(namespace.clone(), prefix.to_owned()));
        if is_random { found.copied() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(name: &str, uid: &str) -> Json {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "n", "uid": uid, "creationTimestamp": "2026-11-21T08:00:00Z"}})
    }

    fn pod(name: &str, owner: Json) -> Json {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n", "uid": name, "ownerReferences": [owner]}})
    }

    fn controller(kind: &str, name: &str, uid: &str) -> Json {
        json!({"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
    }

    fn event(kind: &str, name: &str, uid: Json, namespace: &str) -> Json {
        let about = json!({"kind": kind, "name": name, "namespace": namespace, "uid": uid});
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": about, "lastTimestamp": "2026-11-21T08:00:01Z"})
    }

    /// Returns the name of each Job, with the number of its pods and of its events.
    fn job_counts(items: Vec<Json>) -> Vec<(String, usize, usize)> {
        let listing = KubectlList::from_json(json!({"kind": "List", "items": items})).unwrap();
        assert_eq!(listing.skipped(), []);
        listing.jobs().map(|(name, seen)| (name.to_owned(), seen.pods.len(), seen.events.len())).collect()
    }

    #[test]
    fn pod_is_assigned_to_its_controller_job() {
        let mut labelled = pod("b-2", Json::Null);
        labelled["metadata"]["ownerReferences"] = Json::Null;
        for (label, name) in [("job-name", "b"), ("batch.kubernetes.io/job-name", "b"), ("job-name", "z")] {
            let mut labelled = labelled.clone();
            labelled["metadata"]["labels"] = json!({label: name});
            let count = usize::from(name == "b");
            assert_eq!(job_counts(vec![labelled, job("b", "1")]), [("b".to_owned(), count, 0)]);
        }
        let items = vec![
            pod("a-1", controller("Job", "a", "1")),
            job("b", "2"),
            job("a", "1"),
            pod("a-2", controller("Job", "a", "1")),
            // The next three pods do not belong to the Job. Their owners are an earlier Job of the same
            // name, a ReplicaSet, and an owner that is not the controller.
            pod("a-3", controller("Job", "a", "0")),
            pod("a-4", controller("ReplicaSet", "a", "1")),
            pod("a-5", json!({"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "1"})),
            job("a", "1"),
        ];
        assert_eq!(job_counts(items), [("b".to_owned(), 0, 0), ("a".to_owned(), 2, 0)]);
    }

    #[test]
    fn event_is_assigned_to_the_job_of_its_object() {
        let long = "l".repeat(60);
        let items = vec![
            job("a", "1"),
            job("a-b", "2"),
            job(&long, "3"),
            pod("a-xxxxx", controller("Job", "a", "1")),
            event("Job", "a", json!("1"), "n"),
            event("Job", "a", Json::Null, "n"),
            event("Job", "a", json!("0"), "n"),
            event("Job", "a", json!("1"), "other"),
            event("Pod", "a-xxxxx", json!("a-xxxxx"), "n"),
            event("Pod", "a-xxxxx", json!("earlier"), "n"),
            // The pods of the next events are not in the list. Only their names can identify the Job.
            event("Pod", "a-yyyyy", json!("y"), "n"),
            event("Pod", "a-b-zzzzz", json!("z"), "n"),
            event("Pod", &format!("{}zzzzz", "l".repeat(58)), json!("z"), "n"),
            event("Pod", "a-b", json!("z"), "n"),
            event("Pod", "é", json!("z"), "n"),
            event("Node", "a", json!("1"), "n"),
        ];
        assert_eq!(job_counts(items), [("a".to_owned(), 1, 4), ("a-b".to_owned(), 0, 1), (long, 0, 1)]);
        let mut earlier = event("Pod", "a-yyyyy", json!("y"), "n");
        earlier["lastTimestamp"] = json!("2026-11-21T07:59:59Z");
        assert_eq!(job_counts(vec![job("a", "1"), earlier]), [("a".to_owned(), 0, 0)]);
    }

    #[test]
    fn pod_without_listed_job_keeps_its_own_events() {
        let items = vec![
            pod("b-1", Json::Null),
            pod("gone-xxxxx", controller("Job", "gone", "9")),
            pod("a-xxxxx", controller("Job", "a", "1")),
            event("Pod", "b-1", json!("b-1"), "n"),
            event("Pod", "b-1", json!("another"), "n"),
            event("Pod", "gone-xxxxx", Json::Null, "n"),
            event("Pod", "a-xxxxx", Json::Null, "n"),
            job("a", "1"),
        ];
        let mut items = items;
        items[0]["metadata"]["ownerReferences"] = Json::Null;
        let list = KubectlList::from_json(json!({"kind": "List", "items": items})).unwrap();
        let pods: Vec<_> = list.pods_without_job().map(|(name, seen)| (name, seen.events.len())).collect();
        assert_eq!(pods, [("b-1", 1), ("gone-xxxxx", 1)]);
    }

    #[test]
    fn queue_events_are_assigned_to_the_job_of_the_workload() {
        let mut created = event("Job", "a", json!("1"), "n");
        created["reason"] = json!("CreatedWorkload");
        created["message"] = json!("Created Workload: n/job-a-x1y2z");
        let items = vec![
            job("a", "1"),
            created,
            event("Workload", "job-a-x1y2z", json!("w"), "n"),
            event("Workload", "job-b-x1y2z", json!("w"), "n"),
        ];
        assert_eq!(job_counts(items), [("a".to_owned(), 0, 2)]);
    }

    #[test]
    fn typed_lists_and_single_objects_are_parsed() {
        let read = |json| KubectlList::from_json(json).map(|listing| listing.jobs().count());
        let mut bare = job("a", "1");
        bare.as_object_mut().unwrap().remove("kind");
        assert_eq!(read(json!({"kind": "JobList", "items": [bare]})), Ok(1));
        assert_eq!(read(job("a", "1")), Ok(1));
        for empty in
            [json!({"kind": "List"}), json!({"kind": "PodList", "items": null}), json!({"kind": "Secret"})]
        {
            assert_eq!(read(empty), Ok(0));
        }
        // The Job of Volcano has another API group, so it is ignored.
        assert_eq!(read(json!({"kind": "Job", "apiVersion": "batch.volcano.sh/v1alpha1", "spec": 1})), Ok(0));
    }

    #[test]
    fn malformed_object_error_hides_values() {
        let error_message = |json| KubectlList::from_json(json).unwrap_err().to_string();
        for none in [json!(null), json!([]), json!({}), json!({"kind": 7}), json!("x")] {
            assert_eq!(error_message(none), "the input is not a Kubernetes object: it has no `kind`");
        }
        assert_eq!(
            error_message(json!({"kind": "List", "items": [job("a", "1"), 3]})),
            "items[1] is not a Kubernetes object: it has no `kind`"
        );
        assert_eq!(
            error_message(json!({"kind": "List", "items": {}})),
            "the `items` of the List are not a list"
        );
        let mut wrong = job("a", "1");
        wrong["spec"] = json!({"template": {"spec": {"containers": [{"name": "x", "env": [{"name": "P", "value": 123_456}]}]}}});
        let message = error_message(json!({"kind": "List", "items": [wrong]}));
        assert!(
            message.starts_with("items[0] is not a valid Job: expected ") && !message.contains("123456"),
            "{message}"
        );
        let mut wrong = job("a", "1");
        wrong["metadata"]["creationTimestamp"] = json!("hunter2");
        assert!(!error_message(wrong).contains("hunter2"));
        let mut wrong = pod("p", Json::Null);
        wrong["status"] = json!("hunter2");
        let listing =
            KubectlList::from_json(json!({"kind": "List", "items": [wrong, job("a", "1")]})).unwrap();
        assert_eq!((listing.skipped().len(), listing.jobs().count()), (1, 1));
        assert!(!listing.skipped()[0].to_string().contains("hunter2"));
    }
}
