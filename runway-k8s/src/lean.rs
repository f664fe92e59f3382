//! Objects without what makes most of the work of reading them.

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An object that is written whole and read without its `managedFields`: they take three quarters of the time of reading
/// a Job, and say nothing of what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Lean<K>(pub K);

/// An object as it is read.
#[derive(Deserialize)]
struct Read<Spec, Status> {
    metadata: Meta,
    spec: Option<Spec>,
    status: Option<Status>,
}

/// What is read of an object's metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: meta.owner_references,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Lean<Job> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { metadata, spec, status } = Read::<JobSpec, JobStatus>::deserialize(deserializer)?;
        Ok(Self(Job { metadata: metadata.into(), spec, status }))
    }
}

impl<'de> Deserialize<'de> for Lean<Pod> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { metadata, spec, status } = Read::<PodSpec, PodStatus>::deserialize(deserializer)?;
        Ok(Self(Pod { metadata: metadata.into(), spec, status }))
    }
}

impl<K: Serialize> Serialize for Lean<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<K: Resource> Resource for Lean<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, from_value, json};

    #[test]
    fn all_but_the_managed_fields_is_read() {
        let mut job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": "embed-docs-abc", "namespace": "runway-jobs", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-11-21T08:00:00Z", "deletionTimestamp": "2026-11-21T09:00:00Z",
                "deletionGracePeriodSeconds": 5, "labels": {"runway.dev/id": "abc"},
                "annotations": {"runway.dev/quote": "{}"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "y"}],
            },
            "spec": {"backoffLimit": 2, "template": {"spec": {"containers": [{"name": "job"}]}}},
            "status": {"active": 1},
        });
        let whole: Job = from_value(job.clone()).unwrap();
        job["metadata"]["managedFields"] = json!([{"manager": "runway", "fieldsV1": {"f:spec": {}}}]);
        let Lean(read) = from_value::<Lean<Job>>(job).unwrap();
        assert_eq!(read, whole);
    }

    #[test]
    fn it_is_written_as_it_is() {
        let job = Job {
            metadata: ObjectMeta { name: Some("x".into()), ..ObjectMeta::default() },
            ..Job::default()
        };
        let written: Json = serde_json::to_value(Lean(job.clone())).unwrap();
        assert_eq!(written, serde_json::to_value(job).unwrap());
    }
}
