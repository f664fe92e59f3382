//! Jobs and pods of the cluster as Runway sees them: what stands in their labels, annotations and fields.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use runway_control::Observation;
use runway_core::JobId;
use runway_core::name::JobName;
use runway_core::render::{label, object_name};
use runway_core::status::{Seen, classify};
use runway_core::units::{GpuCount, Seconds, Timestamp};
use std::str::FromStr;

/// Jobs and pods that Runway made.
pub(crate) fn selector() -> String {
    format!("{}={}", label::MANAGED_BY, label::RUNWAY)
}

/// Those of one job.
pub(crate) fn selector_of(id: JobId) -> String {
    format!("{}={},{}={id}", label::MANAGED_BY, label::RUNWAY, label::ID)
}

/// The annotation of a Job whose Secret is not there yet.
pub(crate) const INCOMPLETE: &str = "runway.dev/incomplete";

/// The label of a value, read.
pub(crate) fn label<T: FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    meta.labels.as_ref()?.get(key)?.parse().ok()
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The id of a Job of Runway's: one that bears the name which goes with its labels. A copy under another name is not.
pub(crate) fn id_of_job(job: &Job) -> Option<JobId> {
    id_of(&job.metadata, job.metadata.name.as_deref())
}

/// The id of the job that a pod belongs to.
pub(crate) fn id_of_pod(pod: &Pod) -> Option<JobId> {
    let labels = pod.metadata.labels.as_ref()?;
    let job = labels.get("batch.kubernetes.io/job-name");
    id_of(&pod.metadata, job.map(String::as_str))
}

/// The id that a Job of this name has, if it is one of Runway's: the last part of its name.
pub(crate) fn id_of_name(name: &str) -> Option<JobId> {
    name.rsplit_once('-')?.1.parse().ok()
}

fn id_of(meta: &ObjectMeta, job: Option<&str>) -> Option<JobId> {
    let (id, name) = (label::<JobId>(meta, label::ID)?, label::<JobName>(meta, label::NAME)?);
    (job? == object_name(&name, id)).then_some(id)
}

/// Whether it is Runway's, by its label.
pub(crate) fn is_runways(meta: &ObjectMeta) -> bool {
    label::<String>(meta, label::MANAGED_BY).as_deref() == Some(label::RUNWAY)
}

/// Whether its creation has not come to its end.
pub(crate) fn is_incomplete(job: &Job) -> bool {
    annotation(&job.metadata, INCOMPLETE).is_some()
}

pub(crate) fn timestamp(time: &Time) -> Option<Timestamp> {
    u64::try_from(time.0.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

fn created_at(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp.as_ref().and_then(timestamp).unwrap_or_default()
}

/// Kubernetes' own default.
const DEFAULT_GRACE: Seconds = Seconds::new(30);

/// What is seen of a job. `None` where its labels are not those that Runway writes.
pub(crate) fn observe(seen: &Seen<'_>) -> Option<Observation> {
    let pod = seen.pods.iter().chain(seen.gone_pods).next();
    let (id, meta, spec) = match (seen.job, pod) {
        (Some(job), _) => {
            let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            (id_of_job(job), &job.metadata, spec)
        }
        (None, Some(pod)) => (id_of_pod(pod), &pod.metadata, pod.spec.as_ref()),
        (None, None) => return None,
    };
    let deadline = seen.job.and_then(|job| job.spec.as_ref()?.active_deadline_seconds);
    let seconds = |seconds: i64| u64::try_from(seconds).ok().map(Seconds::new);
    Some(Observation {
        id: id?,
        name: label(meta, label::NAME)?,
        tenant: label(meta, label::TENANT)?,
        class: label(meta, label::CLASS),
        gpus: spec.map(gpus).unwrap_or_default(),
        timeout: deadline.and_then(seconds).unwrap_or_default(),
        grace: spec
            .and_then(|spec| spec.termination_grace_period_seconds)
            .and_then(seconds)
            .unwrap_or(DEFAULT_GRACE),
        created_at: created_at(meta),
        quote: annotation(meta, label::QUOTE).and_then(|quote| serde_json::from_str(quote).ok()),
        spec_digest: annotation(meta, label::SPEC_DIGEST).and_then(|digest| digest.parse().ok()),
        status: classify(seen),
    })
}

/// The GPUs of a pod. Runway asks for nothing else beside CPU, memory and ephemeral storage.
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

/// Whether a job has a Secret of its own.
pub(crate) fn has_secret(job: &Job) -> bool {
    let name = job.metadata.name.as_deref();
    let containers =
        job.spec.iter().flat_map(|spec| spec.template.spec.iter()).flat_map(|pod| &pod.containers);
    containers.flat_map(|container| container.env.iter().flatten()).any(|variable| {
        let secret = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        secret.is_some_and(|secret| Some(secret.name.as_str()) == name)
    })
}

/// Whether a Job has come to its end.
pub(crate) fn is_finished(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_whatever_else_is_asked_for() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({"containers": [
            {"name": "job", "resources": {"limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "1Gi", "amd.com/gpu": "3"}}},
        ]}))
        .unwrap();
        assert_eq!(gpus(&spec), GpuCount::new(3));
    }
}
