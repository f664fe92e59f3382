//! Renders an admitted job as Kubernetes objects: a Job with one pod and one container, and a Secret if
//! needed.
//!
//! The pod satisfies the `restricted` profile of the Pod Security Standards. Requests equal limits, so the
//! cluster reserves exactly the priced resources. The deadline is set on the Job and not on the pod, because
//! only the Job's deadline covers all retries.

mod pod;

pub(crate) use pod::{DEFAULT_GPU_RESOURCE, quantity};

use crate::gate::AdmittedJob;
use crate::name::{JobId, JobName};
use crate::policy::Policy;
use crate::spec::Secret as SpecSecret;
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::fmt;

/// The labels and annotations by which Runway identifies and describes its objects.
pub mod label {
    /// Label of every object that Runway creates, with the value [`RUNWAY`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`].
    pub const RUNWAY: &str = "runway";
    /// Label: the job's name.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Label: the job's id.
    pub const ID: &str = "runway.dev/id";
    /// Label: the job's tenant.
    pub const TENANT: &str = "runway.dev/tenant";
    /// Label: the job's class.
    pub const CLASS: &str = "runway.dev/class";
    /// Label: the job's network. The NetworkPolicies select pods by this label.
    pub const NETWORK: &str = "runway.dev/network";
    /// Annotation: the quote as JSON.
    pub const QUOTE: &str = "runway.dev/quote";
    /// Annotation: the digest of the spec, without the values of secrets.
    pub const SPEC_DIGEST: &str = "runway.dev/spec-digest";
    /// Annotation: the digest of the policy that admitted the job.
    pub const POLICY_DIGEST: &str = "runway.dev/policy-digest";
    /// Annotation: the time of the cancellation, in RFC 3339. Runway sets it before it deletes the Job. It
    /// distinguishes a cancellation from a deletion by another client.
    pub const CANCELLED: &str = "runway.dev/cancelled-at";
    /// Annotation: the creation of the job is not complete, because its Secret may not exist yet. Runway
    /// suspends such a Job. A suspension without this annotation comes from another client.
    pub const INCOMPLETE: &str = "runway.dev/incomplete";
}

/// The Kubernetes objects of one job.
///
/// If there is a Secret, the Job is suspended. Create the Job, create the Secret with an owner reference to
/// the Job's uid, then set `suspend` to false. If a step fails, delete the Job.
#[derive(Clone, PartialEq)]
pub struct Manifest {
    /// The Job.
    pub job: Job,
    /// The Job's Secret, if the job has secrets.
    pub secret: Option<Secret>,
}

impl fmt::Debug for Manifest {
    /// Prints only the names, because both objects contain values that may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("job", &self.job.metadata.name)
            .field("secret", &self.secret.as_ref().map(|secret| &secret.metadata.name))
            .finish()
    }
}

/// The name of the job's container.
pub const CONTAINER_NAME: &str = "job";

/// The placeholder for the value of a secret in redacted output.
pub const REDACTED: &str = "<redacted>";

/// The error for a secret without a value: the spec contains only the name of the environment variable with
/// the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret `{name}` has no value: the environment variable `{from_env}` was not read")]
pub struct UnresolvedSecret {
    /// The name of the secret.
    pub name: String,
    /// The environment variable that contains the value.
    pub from_env: String,
}

/// Renders the Kubernetes objects of an admitted job.
///
/// # Errors
/// [`UnresolvedSecret`] if the spec names an environment variable in place of a secret's value.
pub fn render(admitted: &AdmittedJob, id: JobId, policy: &Policy) -> Result<Manifest, UnresolvedSecret> {
    let mut data = BTreeMap::new();
    for (name, secret) in &admitted.spec().secrets {
        match secret {
            SpecSecret::Value(value) => {
                data.insert(name.clone(), ByteString(value.clone().into_bytes()));
            }
            SpecSecret::FromEnv(from_env) => {
                return Err(UnresolvedSecret { name: name.clone(), from_env: from_env.clone() });
            }
        }
    }
    let secret = |metadata| Secret { metadata, data: Some(data), immutable: Some(true), ..Secret::default() };
    Ok(manifest(admitted, id, policy, secret))
}

/// Renders the Kubernetes objects of an admitted job, with [`REDACTED`] in place of each secret's value.
#[must_use]
pub fn render_redacted(admitted: &AdmittedJob, id: JobId, policy: &Policy) -> Manifest {
    let names = admitted.spec().secrets.keys();
    let data = names.map(|name| (name.clone(), REDACTED.to_owned())).collect();
    let secret =
        |metadata| Secret { metadata, string_data: Some(data), immutable: Some(true), ..Secret::default() };
    manifest(admitted, id, policy, secret)
}

fn manifest(
    admitted: &AdmittedJob,
    id: JobId,
    policy: &Policy,
    secret: impl FnOnce(ObjectMeta) -> Secret,
) -> Manifest {
    let name = object_name(&admitted.job().name, id);
    let has_secrets = !admitted.spec().secrets.is_empty();
    let labels = labels(admitted, id);
    let meta = |annotations| ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(policy.run_settings().namespace_of(&admitted.job().tenant)),
        labels: Some(labels.clone()),
        annotations,
        ..ObjectMeta::default()
    };
    let job = Job {
        metadata: meta(Some(annotations(admitted, policy))),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(seconds(admitted.job().timeout)),
            backoff_limit: Some(i32::try_from(admitted.job().retries).unwrap_or(i32::MAX)),
            completions: Some(1),
            parallelism: Some(1),
            pod_failure_policy: Some(pod_failure_policy()),
            suspend: has_secrets.then_some(true),
            template: pod::template(admitted, id, policy, &name, labels.clone()),
            ttl_seconds_after_finished: Some(
                i32::try_from(policy.run_settings().ttl_after_finished.get()).unwrap_or(i32::MAX),
            ),
            ..JobSpec::default()
        }),
        status: None,
    };
    Manifest { job, secret: has_secrets.then(|| secret(meta(None))) }
}

/// Returns the name of the Job and its Secret: the job's name, a hyphen and the id. It has at most 50 + 1 +
/// 12 characters, so it is never truncated.
#[must_use]
pub fn object_name(name: &JobName, id: JobId) -> String {
    format!("{name}-{id}")
}

fn labels(admitted: &AdmittedJob, id: JobId) -> BTreeMap<String, String> {
    let job = admitted.job();
    let class = job.class.as_ref().map(|class| (label::CLASS, class.to_string()));
    [
        (label::MANAGED_BY, label::RUNWAY.to_owned()),
        (label::NAME, job.name.to_string()),
        (label::ID, id.to_string()),
        (label::TENANT, job.tenant.to_string()),
        (label::NETWORK, job.network.to_string()),
    ]
    .into_iter()
    .chain(class)
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn annotations(admitted: &AdmittedJob, policy: &Policy) -> BTreeMap<String, String> {
    [
        (label::QUOTE, serde_json::to_string(admitted.quote()).unwrap_or_default()),
        (label::SPEC_DIGEST, admitted.spec_digest().to_string()),
        (label::POLICY_DIGEST, policy.digest().to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Returns the pod failure policy of the Job. A pod that is drained or preempted does not use up a retry.
fn pod_failure_policy() -> PodFailurePolicy {
    #[allow(
        clippy::useless_conversion,
        reason = "whether it is an `Option` depends on the version of Kubernetes"
    )]
    let status = "True".to_owned().into();
    let disrupted = PodFailurePolicyOnPodConditionsPattern { type_: "DisruptionTarget".to_owned(), status };
    let rule = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![disrupted]),
    };
    PodFailurePolicy { rules: vec![rule] }
}

fn seconds(duration: crate::units::Seconds) -> i64 {
    i64::try_from(duration.get()).unwrap_or(i64::MAX)
}
