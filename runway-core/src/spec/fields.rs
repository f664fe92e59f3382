//! The fields of a job. Each field is declared once.
//!
//! These consumers read the two tables of this module: the parser, the JSON Schema, the suggestions for
//! unknown fields, the digest, the recorded inputs of a decision, and the normalised form. To add a field,
//! add it to [`JobSpec`] or [`ResourceSpec`], and declare it in the table.

use super::field::{Access, DigestPart, Field, FieldType, NormalisedValue, Recorded, Secrecy};
use super::{JobSpec, MAX_PATH_BYTES, ResourceSpec};
use crate::job::{Job, Resources};
use crate::name::{JobName, Tenant};
use crate::policy::Network;
use crate::schema_parts::{absolute_path, duration, label, one_of, quantity, strings, variables};
use serde_json::json;

type JobField = Field<JobSpec, Job>;
type ResourceField = Field<ResourceSpec, Resources>;

/// Builds a `FieldType` with accessors to the struct field of this name.
macro_rules! at {
    ($kind:ident, $field:ident) => {
        FieldType::$kind(Access { get: |spec| &spec.$field, get_mut: |spec| &mut spec.$field })
    };
}

use NormalisedValue::{Null, Number, Str};
use Recorded::Always;

/// The fields of a job, in their documented order.
pub(super) const JOB: &[JobField] = &[
    JobField::new(
        "name",
        at!(String, name),
        |_| label(JobName::MAX_LENGTH),
        "Name of the job: a DNS label of at most 50 characters.",
    )
    .required()
    .recorded(Always)
    .quotable(|text| JobName::check(text).is_ok())
    .normalised("name", |job| Some(Str(job.name.as_str()))),
    JobField::new(
        "tenant",
        at!(String, tenant),
        |_| label(Tenant::MAX_LENGTH),
        "Tenant that submits the job and pays for it. May also come from `--tenant` or `X-Tenant-ID`.",
    )
    .recorded(Always)
    .normalised("tenant", |job| Some(Str(job.tenant.as_str()))),
    JobField::new(
        "class",
        at!(String, class),
        |policy| one_of(policy.classes().map(|class| class.as_str())),
        "Policy class of the job.",
    )
    .recorded(Always)
    .normalised("class", |job| Some(job.class.as_ref().map_or(Null, |class| Str(class.as_str())))),
    JobField::new(
        "image",
        at!(String, image),
        |_| json!({"type": "string", "minLength": 1}),
        "Container image: `[host[:port]/]path[:tag][@digest]`.",
    )
    .required()
    .recorded(Always)
    .normalised("image", |job| Some(Str(job.image.as_str()))),
    JobField::new(
        "command",
        at!(Strings, command),
        |_| strings(),
        "Command, in place of the image's entry point. Each item is shorter than 128 KiB.",
    )
    .recorded(Always)
    .quotable(|_| true),
    JobField::new(
        "args",
        at!(Strings, args),
        |_| strings(),
        "Arguments, in place of the image's arguments. Each item is shorter than 128 KiB.",
    )
    .recorded(Always)
    .quotable(|_| true),
    JobField::new(
        "workdir",
        at!(String, workdir),
        |_| absolute_path(MAX_PATH_BYTES - 1),
        "Working directory of the command: an absolute path without `.` and `..`, such as `/workspace`.",
    )
    .normalised("workdir", |job| job.workdir.as_deref().map(Str)),
    JobField::new(
        "env",
        at!(Variables, env),
        |_| variables(&json!({"type": "string"})),
        "Environment variables of the process. At most 256, including `secrets`.",
    )
    .recorded(Always)
    .secret(DigestPart::Values),
    JobField::new(
        "secrets",
        at!(Secrets, secrets),
        |_| variables(&crate::schema_parts::secret_source()),
        "Secret environment variables of the process. A file names the source of a value, never the value.",
    )
    .recorded(Always)
    .secret(DigestPart::Names),
    JobField::new(
        "resources",
        at!(Resources, resources),
        |policy| super::schema::object_schema(RESOURCES, policy),
        "Requested resources. A missing field has the policy's default.",
    )
    .recorded(Always)
    .normalised("resources", |job| Some(NormalisedValue::Resources(&job.resources))),
    JobField::new(
        "gpu_type",
        at!(String, gpu_type),
        |policy| one_of(policy.gpu_types().keys().map(String::as_str)),
        "GPU type. Required if `resources.gpu` is above 0 and the policy has no default type.",
    )
    .recorded(Always),
    JobField::new(
        "timeout",
        at!(Amount, timeout),
        |_| duration(),
        "Time limit of the whole job with all retries: `90s`, `15m`, `1h30m`, or whole seconds.",
    )
    .recorded(Always)
    .normalised("timeout_seconds", |job| Some(Number(job.timeout.get()))),
    JobField::new(
        "retries",
        at!(Amount, retries),
        |_| quantity(),
        "Number of retries after a failed attempt. All attempts share one timeout.",
    )
    .recorded(Always)
    .normalised("retries", |job| Some(Number(job.retries.into()))),
    JobField::new(
        "network",
        at!(String, network),
        |_| one_of(Network::ALL.map(Network::as_str)),
        "Network of the job. It must be one that the class allows.",
    )
    .recorded(Always)
    .normalised("network", |job| Some(Str(job.network.as_str()))),
];

/// The fields under `resources`.
pub(super) const RESOURCES: &[ResourceField] = &[
    ResourceField::new("cpu", at!(Amount, cpu), |_| quantity(), "Cores, in steps of `1m`: `2`, `500m`.")
        .recorded(Always)
        .normalised("cpu_millis", |resources| Some(Number(resources.cpu.units()))),
    ResourceField::new("memory", at!(Amount, memory), |_| quantity(), "Memory in bytes: `4Gi`, `500M`.")
        .recorded(Always)
        .normalised("memory_bytes", |resources| Some(Number(resources.memory.units()))),
    ResourceField::new("gpu", at!(Amount, gpu), |_| quantity(), "Number of whole GPUs.")
        .recorded(Always)
        .normalised_last("gpu", |resources| Some(Number(resources.gpu.units()))),
    ResourceField::new(
        "ephemeral_storage",
        at!(Amount, ephemeral_storage),
        |_| quantity(),
        "Scratch space (`/tmp`) and logs, in bytes: `10Gi`.",
    )
    .recorded(Always)
    .normalised("ephemeral_storage_bytes", |resources| Some(Number(resources.ephemeral_storage.units()))),
    ResourceField::new(
        "shm",
        at!(Amount, shm),
        |_| quantity(),
        "Shared memory (`/dev/shm`) in bytes. It counts towards `memory`.",
    )
    .recorded(Always),
];

/// The names of a job's fields, in their documented order.
pub const FIELDS: &[&str] = &names::<{ JOB.len() }, _, _>(JOB);

/// The names of the fields under `resources`.
pub const RESOURCE_FIELDS: &[&str] = &names::<{ RESOURCES.len() }, _, _>(RESOURCES);

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
const fn names<const N: usize, S, T>(fields: &[Field<S, T>]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = fields[i].name;
        i += 1;
    }
    names
}

/// Returns `true` if the value at this JSON pointer may be a secret. Messages must not show such a value.
pub(super) fn is_secret_path(path: &str) -> bool {
    let name = path.split('/').nth(1);
    name.is_some_and(|name| JOB.iter().any(|field| field.name == name && field.secrecy == Secrecy::Secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new field with `Recorded::Always` would be in the digest of every job, even of a job that does not
    /// set it. All existing digests would change. So only the fields of the first version may be always
    /// recorded.
    #[test]
    fn only_first_version_fields_are_always_recorded() {
        let first = [
            "name",
            "tenant",
            "class",
            "image",
            "command",
            "args",
            "env",
            "secrets",
            "resources",
            "gpu_type",
            "timeout",
            "retries",
            "network",
            "cpu",
            "memory",
            "gpu",
            "ephemeral_storage",
            "shm",
        ];
        let job = JOB.iter().filter(|field| field.recorded == Always).map(|field| field.name);
        let resources = RESOURCES.iter().filter(|field| field.recorded == Always).map(|field| field.name);
        assert_eq!(job.chain(resources).collect::<Vec<_>>(), first);
    }

    #[test]
    fn only_env_and_secrets_are_secret() {
        let secret = JOB.iter().filter(|field| field.secrecy == Secrecy::Secret).map(|field| field.name);
        assert_eq!(secret.collect::<Vec<_>>(), ["env", "secrets"]);
        for (path, is_secret) in [
            ("", false),
            ("/env", true),
            ("/secrets/A", true),
            ("/environment", false),
            ("/resources/env", false),
        ] {
            assert_eq!(is_secret_path(path), is_secret, "{path}");
        }
    }
}
