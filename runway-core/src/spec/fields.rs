//! The fields of a job, each declared once.
//!
//! The reader, the JSON Schema, the suggestions for unknown fields, the digest, the recorded inputs of a decision and the
//! normalised form all follow from the two tables here. To add a field, add it to [`JobSpec`] or [`ResourceSpec`] and
//! declare it in the table.

use super::{JobSpec, MAX_PATH_BYTES, ResourceSpec, Secret, Written};
use crate::job::{Job, Resources};
use crate::name::{JobName, Tenant};
use crate::policy::{Network, Policy};
use crate::shape::{absolute_path, duration, label, one_of, quantity, texts, variables};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// One field of `S`, and of its normalised form `N`.
pub(super) struct Field<S: 'static, N: 'static> {
    /// Its name in a document.
    pub(super) name: &'static str,
    /// Its type, and its place in `S`.
    pub(super) value: FieldType<S>,
    /// Its description in the JSON Schema.
    pub(super) doc: &'static str,
    /// The JSON Schema of its value, without the description.
    pub(super) schema: fn(&Policy) -> Json,
    /// Whether the schema requires it.
    pub(super) required: bool,
    pub(super) recorded: Recorded,
    pub(super) secrecy: Secrecy,
    pub(super) digest: InDigest,
    /// Whether the text of a number or truth value is valid here once it is put in quotes.
    pub(super) quotable: fn(&str) -> bool,
    /// Its form in the normalised job, if it has one.
    pub(super) normalised: Option<Normalised<N>>,
}

type JobField = Field<JobSpec, Job>;
type ResourceField = Field<ResourceSpec, Resources>;

/// When a field is part of a digest and of the recorded inputs of a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Always: as `null`, or as an empty list or mapping, if the job does not set it. This is for the fields of the first
    /// version only, whose digests and decisions exist.
    Always,
    /// If the job sets it. A new field with this mark changes no existing digest or decision.
    IfPresent,
}

/// Whether messages and records may show the values of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    /// Messages never show the values. A record has their lengths only.
    Secret,
}

/// What of a field the digest covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InDigest {
    Values,
    /// The names of a mapping: the digest does not depend on the values.
    Names,
}

/// The type of a field, and the access to its value.
pub(super) enum FieldType<S: 'static> {
    Text(Access<S, Option<String>>),
    Texts(Access<S, Vec<String>>),
    Amount(Access<S, Option<Written>>),
    Variables(Access<S, BTreeMap<String, String>>),
    Secrets(Access<S, BTreeMap<String, Secret>>),
    Resources(Access<S, ResourceSpec>),
}

/// The access to a value of type `T` in `S`.
pub(super) struct Access<S: 'static, T: 'static> {
    pub(super) get: fn(&S) -> &T,
    pub(super) get_mut: fn(&mut S) -> &mut T,
}

/// The form of a field in the normalised job.
pub(super) struct Normalised<N: 'static> {
    pub(super) key: &'static str,
    /// Returns the value; `None` leaves the field out.
    pub(super) value: for<'a> fn(&'a N) -> Option<NormalValue<'a>>,
    /// Fields are in the order of the table, except those that are last.
    pub(super) is_last: bool,
}

/// A value of the normalised job.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(super) enum NormalValue<'a> {
    Null,
    Text(&'a str),
    Number(u64),
    Resources(&'a Resources),
}

impl<S, N> Field<S, N> {
    /// A public field that a job may leave out.
    const fn new(
        name: &'static str,
        value: FieldType<S>,
        schema: fn(&Policy) -> Json,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            value,
            doc,
            schema,
            required: false,
            recorded: Recorded::IfPresent,
            secrecy: Secrecy::Public,
            digest: InDigest::Values,
            quotable: |_| false,
            normalised: None,
        }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = recorded;
        self
    }

    const fn secret(mut self, digest: InDigest) -> Self {
        self.secrecy = Secrecy::Secret;
        self.digest = digest;
        self
    }

    const fn quotable(mut self, accepts: fn(&str) -> bool) -> Self {
        self.quotable = accepts;
        self
    }

    const fn normalised(
        mut self,
        key: &'static str,
        value: for<'a> fn(&'a N) -> Option<NormalValue<'a>>,
    ) -> Self {
        self.normalised = Some(Normalised { key, value, is_last: false });
        self
    }

    const fn normalised_last(
        mut self,
        key: &'static str,
        value: for<'a> fn(&'a N) -> Option<NormalValue<'a>>,
    ) -> Self {
        self.normalised = Some(Normalised { key, value, is_last: true });
        self
    }
}

/// The type of a field and its place in the struct.
macro_rules! at {
    ($kind:ident, $field:ident) => {
        FieldType::$kind(Access { get: |spec| &spec.$field, get_mut: |spec| &mut spec.$field })
    };
}

use NormalValue::{Null, Number, Text};
use Recorded::Always;

/// The fields of a job, in the order in which people write them.
pub(super) const JOB: &[JobField] = &[
    JobField::new(
        "name",
        at!(Text, name),
        |_| label(JobName::MAX_LENGTH),
        "The job's name: a DNS label of at most 50 characters.",
    )
    .required()
    .recorded(Always)
    .quotable(|text| JobName::check(text).is_ok())
    .normalised("name", |job| Some(Text(job.name.as_str()))),
    JobField::new(
        "tenant",
        at!(Text, tenant),
        |_| label(Tenant::MAX_LENGTH),
        "Who submits it and pays for it. May also come from `--tenant` or `X-Tenant-ID`.",
    )
    .recorded(Always)
    .normalised("tenant", |job| Some(Text(job.tenant.as_str()))),
    JobField::new(
        "class",
        at!(Text, class),
        |policy| one_of(policy.classes().map(|class| class.as_str())),
        "The class of the policy it runs under.",
    )
    .recorded(Always)
    .normalised("class", |job| Some(job.class.as_ref().map_or(Null, |class| Text(class.as_str())))),
    JobField::new(
        "image",
        at!(Text, image),
        |_| json!({"type": "string", "minLength": 1}),
        "The container image: `[host[:port]/]path[:tag][@digest]`.",
    )
    .required()
    .recorded(Always)
    .normalised("image", |job| Some(Text(job.image.as_str()))),
    JobField::new(
        "command",
        at!(Texts, command),
        |_| texts(),
        "Replaces the image's entry point. Each item is shorter than 128 KiB.",
    )
    .recorded(Always)
    .quotable(|_| true),
    JobField::new(
        "args",
        at!(Texts, args),
        |_| texts(),
        "Replaces the image's arguments. Each item is shorter than 128 KiB.",
    )
    .recorded(Always)
    .quotable(|_| true),
    JobField::new(
        "workdir",
        at!(Text, workdir),
        |_| absolute_path(MAX_PATH_BYTES - 1),
        "The working directory of the command: an absolute path without `.` and `..`, such as `/workspace`.",
    )
    .normalised("workdir", |job| job.workdir.as_deref().map(Text)),
    JobField::new(
        "env",
        at!(Variables, env),
        |_| variables(&json!({"type": "string"})),
        "Variables of the process; at most 256, `secrets` included.",
    )
    .recorded(Always)
    .secret(InDigest::Values),
    JobField::new(
        "secrets",
        at!(Secrets, secrets),
        |_| variables(&crate::shape::secret_source()),
        "Secret variables of the process. A file names where the value comes from, never the value.",
    )
    .recorded(Always)
    .secret(InDigest::Names),
    JobField::new(
        "resources",
        at!(Resources, resources),
        super::schema::resources,
        "What it asks for; what is left out has the policy's default.",
    )
    .recorded(Always)
    .normalised("resources", |job| Some(NormalValue::Resources(&job.resources))),
    JobField::new(
        "gpu_type",
        at!(Text, gpu_type),
        |policy| one_of(policy.gpu_types().keys().map(String::as_str)),
        "The kind of GPU; needed where `resources.gpu` is above 0.",
    )
    .recorded(Always),
    JobField::new(
        "timeout",
        at!(Amount, timeout),
        |_| duration(),
        "How long it may take, retries included: `90s`, `15m`, `1h30m`, or whole seconds.",
    )
    .recorded(Always)
    .normalised("timeout_seconds", |job| Some(Number(job.timeout.get()))),
    JobField::new(
        "retries",
        at!(Amount, retries),
        |_| quantity(),
        "How often a failed attempt is repeated, within the one timeout.",
    )
    .recorded(Always)
    .normalised("retries", |job| Some(Number(job.retries.into()))),
    JobField::new(
        "network",
        at!(Text, network),
        |_| one_of(Network::ALL.map(Network::as_str)),
        "What it may connect to, as far as its class allows.",
    )
    .recorded(Always)
    .normalised("network", |job| Some(Text(job.network.as_str()))),
];

/// The fields under `resources`.
pub(super) const RESOURCES: &[ResourceField] = &[
    ResourceField::new("cpu", at!(Amount, cpu), |_| quantity(), "Cores, to a thousandth: `2`, `500m`.")
        .recorded(Always)
        .normalised("cpu_millis", |resources| Some(Number(resources.cpu.units()))),
    ResourceField::new("memory", at!(Amount, memory), |_| quantity(), "Bytes of memory: `4Gi`, `500M`.")
        .recorded(Always)
        .normalised("memory_bytes", |resources| Some(Number(resources.memory.units()))),
    ResourceField::new("gpu", at!(Amount, gpu), |_| quantity(), "Whole GPUs.")
        .recorded(Always)
        .normalised_last("gpu", |resources| Some(Number(resources.gpu.units()))),
    ResourceField::new(
        "ephemeral_storage",
        at!(Amount, ephemeral_storage),
        |_| quantity(),
        "Bytes of scratch space (`/tmp`) and logs: `10Gi`.",
    )
    .recorded(Always)
    .normalised("ephemeral_storage_bytes", |resources| Some(Number(resources.ephemeral_storage.units()))),
    ResourceField::new(
        "shm",
        at!(Amount, shm),
        |_| quantity(),
        "Bytes of shared memory (`/dev/shm`), within `memory`.",
    )
    .recorded(Always),
];

/// The names of the fields of a job, in the order in which people write them.
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

/// Returns whether messages must not show what is at this JSON pointer, because it may be a secret.
pub(super) fn is_secret_path(path: &str) -> bool {
    let name = path.split('/').nth(1);
    name.is_some_and(|name| JOB.iter().any(|field| field.name == name && field.secrecy == Secrecy::Secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that is recorded always would change the digest of every job without it.
    #[test]
    fn only_fields_of_the_first_version_are_always_recorded() {
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
    fn only_variables_are_secret() {
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
