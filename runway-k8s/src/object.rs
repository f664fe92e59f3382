//! Converts Jobs and pods to the types of Runway, from their labels, annotations and fields.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use runway_control::JobSnapshot;
use runway_core::name::JobName;
use runway_core::policy::RunSettings;
use runway_core::render::{label, object_name};
use runway_core::status::{JobObjects, classify};
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{JobId, Tenant};
use std::str::FromStr;

/// Returns the label selector for all Jobs and pods of Runway.
pub(crate) fn runway_selector() -> String {
    format!("{}={}", label::MANAGED_BY, label::RUNWAY)
}

/// Returns the label selector for the Job and the pods of one job.
pub(crate) fn job_selector(id: JobId) -> String {
    format!("{}={},{}={id}", label::MANAGED_BY, label::RUNWAY, label::ID)
}

/// Returns a parsed label. `None` if the label is missing or invalid.
pub(crate) fn label<T: FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    meta.labels.as_ref()?.get(key)?.parse().ok()
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Returns the id of a Job that Runway created. `None` if the labels are missing or invalid, or if the Job's
/// name does not match them, as in a copy with another name.
pub(crate) fn id_of_job(job: &Job) -> Option<JobId> {
    id_of(&job.metadata, job.metadata.name.as_deref())
}

/// Returns the id of the job that a pod belongs to. `None` if the labels of the pod are missing or invalid.
pub(crate) fn id_of_pod(pod: &Pod) -> Option<JobId> {
    let labels = pod.metadata.labels.as_ref()?;
    let job = labels.get("batch.kubernetes.io/job-name");
    id_of(&pod.metadata, job.map(String::as_str))
}

/// Returns the id at the end of a Job's name. `None` if the name does not end in an id.
pub(crate) fn id_of_name(name: &str) -> Option<JobId> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// Returns `true` if the object is in the namespace of the tenant that its labels name.
pub(crate) fn is_in_tenant_namespace(meta: &ObjectMeta, run: &RunSettings) -> bool {
    let tenant = label::<Tenant>(meta, label::TENANT);
    tenant.is_some_and(|tenant| meta.namespace.as_deref() == Some(run.namespace_of(&tenant).as_str()))
}

/// Returns `true` if the pod belongs to the Job: the Job is its controller.
///
/// If the Job does not exist, the pod belongs to the job of its labels if any Job created it. The Job may no
/// longer own such a pod, for example after `kubectl delete --cascade=orphan`.
pub(crate) fn belongs_to(pod: &Pod, job: Option<&Job>) -> bool {
    let controller = controller_uid(pod);
    match job {
        Some(job) => {
            pod.metadata.namespace == job.metadata.namespace
                && controller.is_some()
                && controller == job.metadata.uid.as_deref()
        }
        None => controller.is_some() || label::<String>(&pod.metadata, CONTROLLER_UID).is_some(),
    }
}

/// The label of a pod with the uid of the Job that created it. The Job controller sets it.
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// Returns the uid of the Job that is the controller of the pod.
fn controller_uid(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let job = owners.iter().find(|owner| owner.kind == "Job" && owner.controller == Some(true))?;
    Some(job.uid.as_str())
}

fn id_of(meta: &ObjectMeta, job: Option<&str>) -> Option<JobId> {
    let (id, name) = (label::<JobId>(meta, label::ID)?, label::<JobName>(meta, label::NAME)?);
    (job? == object_name(&name, id)).then_some(id)
}

/// Returns `true` if the label says that Runway manages the object.
pub(crate) fn is_managed_by_runway(meta: &ObjectMeta) -> bool {
    label::<String>(meta, label::MANAGED_BY).as_deref() == Some(label::RUNWAY)
}

/// Returns `true` if the creation of the Job is not complete.
pub(crate) fn is_incomplete(job: &Job) -> bool {
    annotation(&job.metadata, label::INCOMPLETE).is_some()
}

pub(crate) fn timestamp(time: &Time) -> Option<Timestamp> {
    u64::try_from(time.0.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

fn created_at(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp.as_ref().and_then(timestamp).unwrap_or_default()
}

/// The default termination grace period of Kubernetes.
const DEFAULT_TERMINATION_GRACE: Seconds = Seconds::new(30);

/// Converts the objects of a job to a snapshot. `None` if there is neither a Job nor a pod, or if the labels
/// are not valid labels of Runway.
pub(crate) fn to_snapshot(objects: &JobObjects<'_>) -> Option<JobSnapshot> {
    let pod = objects.pods.iter().chain(objects.gone_pods).next();
    let (id, meta, spec) = match (objects.job, pod) {
        (Some(job), _) => {
            let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            (id_of_job(job), &job.metadata, spec)
        }
        (None, Some(pod)) => (id_of_pod(pod), &pod.metadata, pod.spec.as_ref()),
        (None, None) => return None,
    };
    let deadline = objects.job.and_then(|job| job.spec.as_ref()?.active_deadline_seconds);
    let seconds = |seconds: i64| u64::try_from(seconds).ok().map(Seconds::new);
    Some(JobSnapshot {
        id: id?,
        name: label(meta, label::NAME)?,
        tenant: label(meta, label::TENANT)?,
        class: label(meta, label::CLASS),
        gpus: spec.map(gpus).unwrap_or_default(),
        timeout: deadline.and_then(seconds).unwrap_or_default(),
        grace: spec
            .and_then(|spec| spec.termination_grace_period_seconds)
            .and_then(seconds)
            .unwrap_or(DEFAULT_TERMINATION_GRACE),
        created_at: created_at(meta),
        quote: annotation(meta, label::QUOTE).and_then(|quote| serde_json::from_str(quote).ok()),
        spec_digest: annotation(meta, label::SPEC_DIGEST).and_then(|digest| digest.parse().ok()),
        status: classify(objects),
    })
}

/// Returns the number of GPUs of a pod. Every resource except CPU, memory and ephemeral storage counts as
/// GPUs, because Runway requests no others.
fn gpus(spec: &PodSpec) -> GpuCount {
    let amounts = spec
        .containers
        .iter()
        .filter_map(|container| container.resources.as_ref()?.limits.as_ref())
        .flatten()
        .filter(|(name, _)| !matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage"));
    amounts
        .filter_map(|(_, amount)| amount.0.parse::<GpuCount>().ok())
        .fold(GpuCount::ZERO, |sum, gpus| GpuCount::new(sum.units().saturating_add(gpus.units())))
}

/// Returns `true` if the Job uses a Secret with its own name.
pub(crate) fn has_secret(job: &Job) -> bool {
    let name = job.metadata.name.as_deref();
    let containers =
        job.spec.iter().flat_map(|spec| spec.template.spec.iter()).flat_map(|pod| &pod.containers);
    containers.flat_map(|container| container.env.iter().flatten()).any(|variable| {
        let secret = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        secret.is_some_and(|secret| Some(secret.name.as_str()) == name)
    })
}

/// Returns `true` if the Job is complete or has failed.
pub(crate) fn is_finished(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extended_resource_counts_as_gpus() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({"containers": [
            {"name": "job", "resources": {"limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "1Gi", "amd.com/gpu": "3"}}},
        ]}))
        .unwrap();
        assert_eq!(gpus(&spec), GpuCount::new(3));
    }
}
