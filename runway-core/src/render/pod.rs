//! Renders the pod of a job. The pod is stricter than the `restricted` profile requires: for example, its
//! root file system is read-only.

use super::{CONTAINER_NAME, seconds};
use crate::gate::AdmittedJob;
use crate::name::JobId;
use crate::policy::{GpuType, Policy};
use crate::units::GpuCount;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, LocalObjectReference,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretKeySelector,
    SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::fmt::Display;

/// The extended resource for GPUs without a type.
pub(crate) const DEFAULT_GPU_RESOURCE: &str = "nvidia.com/gpu";

pub(super) fn template(
    admitted: &AdmittedJob,
    id: JobId,
    policy: &Policy,
    secret: &str,
    labels: BTreeMap<String, String>,
) -> PodTemplateSpec {
    let run = policy.run_settings();
    let gpu_type = admitted.job().gpu_type.as_deref().and_then(|name| policy.gpu_types().get(name));
    let gpu_resource = gpu_type.map_or(DEFAULT_GPU_RESOURCE, |gpu| gpu.resource.as_str());
    let has_gpus = admitted.job().resources.gpu != GpuCount::ZERO;
    let pull_secrets = run.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    let selector = gpu_type.map(|GpuType { node_selector, .. }| node_selector.clone());
    let spec = PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(admitted, id, policy, secret, gpu_resource)],
        enable_service_links: Some(false),
        image_pull_secrets: (!run.image_pull_secrets.is_empty()).then(|| pull_secrets.collect()),
        node_selector: selector.filter(|selector| !selector.is_empty()),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(run.run_as_user.into()),
            run_as_group: Some(run.run_as_user.into()),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(seconds(run.termination_grace)),
        tolerations: has_gpus.then(|| vec![toleration(gpu_resource)]),
        volumes: Some(volumes(admitted)),
        ..PodSpec::default()
    };
    let metadata = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

fn container(
    admitted: &AdmittedJob,
    id: JobId,
    policy: &Policy,
    secret: &str,
    gpu_resource: &str,
) -> Container {
    let (job, spec) = (admitted.job(), admitted.spec());
    let escaped = |items: &[String]| {
        (!items.is_empty()).then(|| items.iter().map(|item| escape_dollars(item)).collect())
    };
    let amounts = amounts(admitted, gpu_resource);
    Container {
        name: CONTAINER_NAME.to_owned(),
        image: Some(job.image.to_string()),
        image_pull_policy: Some(policy.run_settings().image_pull_policy.as_str().to_owned()),
        command: escaped(&spec.command),
        args: escaped(&spec.args),
        working_dir: job.workdir.clone(),
        env: Some(variables(admitted, id, secret)),
        resources: Some(ResourceRequirements {
            limits: Some(amounts.clone()),
            requests: Some(amounts),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volumes(admitted).iter().map(mount).collect()),
        ..Container::default()
    }
}

/// Returns the amounts for both the requests and the limits.
fn amounts(admitted: &AdmittedJob, gpu_resource: &str) -> BTreeMap<String, Quantity> {
    let resources = admitted.job().resources;
    let mut amounts = BTreeMap::from([
        ("cpu".to_owned(), quantity(resources.cpu)),
        ("memory".to_owned(), quantity(resources.memory)),
        ("ephemeral-storage".to_owned(), quantity(resources.ephemeral_storage)),
    ]);
    if resources.gpu != GpuCount::ZERO {
        amounts.insert(gpu_resource.to_owned(), quantity(resources.gpu));
    }
    amounts
}

pub(crate) fn quantity(amount: impl Display) -> Quantity {
    Quantity(amount.to_string())
}

fn variables(admitted: &AdmittedJob, id: JobId, secret: &str) -> Vec<EnvVar> {
    let (job, spec) = (admitted.job(), admitted.spec());
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(escape_dollars(value)),
        value_from: None,
    };
    let mut variables =
        vec![variable("RUNWAY_JOB_ID", id.as_str()), variable("RUNWAY_TENANT", job.tenant.as_str())];
    let is_set = |name: &str| spec.env.contains_key(name) || spec.secrets.contains_key(name);
    if !is_set("HOME") {
        // The root file system is read-only, so a home directory in the image is read-only too. `/tmp` is
        // writable.
        variables.push(variable("HOME", "/tmp"));
    }
    if job.resources.gpu == GpuCount::ZERO {
        // Some GPU runtimes expose every device to a container that does not set this variable. The value
        // `void` hides all devices.
        variables.push(variable("NVIDIA_VISIBLE_DEVICES", "void"));
    }
    variables.extend(spec.env.iter().map(|(name, value)| variable(name, value)));
    variables.extend(spec.secrets.keys().map(|name| EnvVar {
        name: name.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: name.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }));
    variables
}

/// Doubles every `$`. The kubelet expands `$(X)` and replaces `$$` with `$`, so the process receives the text
/// as written.
fn escape_dollars(text: &str) -> String {
    text.replace('$', "$$")
}

#[allow(clippy::needless_update, reason = "the number of fields depends on the version of Kubernetes")]
fn volumes(admitted: &AdmittedJob) -> Vec<Volume> {
    let resources = admitted.job().resources;
    let empty_dir = |name: &str, medium: Option<&str>, size| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: Some(quantity(size)),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    };
    let tmp = empty_dir("tmp", None, resources.ephemeral_storage);
    // Kubernetes treats a size limit of zero as no limit, so such a volume is left out.
    let shm = resources.shm.filter(|shm| shm.units() > 0).map(|shm| empty_dir("shm", Some("Memory"), shm));
    std::iter::once(tmp).chain(shm).collect()
}

fn mount(volume: &Volume) -> VolumeMount {
    let path = if volume.name == "shm" { "/dev/shm" } else { "/tmp" };
    VolumeMount { name: volume.name.clone(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

fn toleration(resource: &str) -> Toleration {
    Toleration {
        key: Some(resource.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    }
}

#[cfg(test)]
mod tests {
    use super::escape_dollars;

    /// Expands a value as the kubelet does (`third_party/forked/golang/expansion`): `$$` becomes `$`, and
    /// `$(NAME)` is expanded.
    fn expand_as_kubelet(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match (c, rest.peek()) {
                ('$', Some('$')) => {
                    rest.next();
                    out.push('$');
                }
                ('$', Some('(')) => return "<expanded>".to_owned(),
                _ => out.push(c),
            }
        }
        out
    }

    proptest::proptest! {
        #[test]
        fn process_receives_text_unchanged(text in "[$()A-Z{} ]{0,40}") {
            proptest::prop_assert_eq!(expand_as_kubelet(&escape_dollars(&text)), text);
        }
    }
}
