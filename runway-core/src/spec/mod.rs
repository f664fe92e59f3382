//! A job as it was written, before anybody judged it.

mod read;
mod written;

pub use read::{FIELDS, RESOURCE_FIELDS, Reading, SecretLiterals, hidden_spans};
pub use written::Written;

use crate::digest::Digest;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;

/// The most variables a job may have, `env` and `secrets` together.
pub const MAX_VARIABLES: usize = 256;

/// An argument, or a variable with its name and `=`, must be shorter than this: `MAX_ARG_STRLEN` of Linux, which
/// counts the closing NUL (`include/uapi/linux/binfmts.h`: 32 pages of 4 KiB).
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024;

/// A job as it was written. It may be anything; only the [`Gate`](crate::Gate) makes it an admitted one.
///
/// ```
/// use runway_core::JobSpec;
///
/// let spec = JobSpec {
///     name: Some("embed-docs".into()),
///     tenant: Some("search".into()),
///     image: Some("registry.internal/embed:1.8.0".into()),
///     timeout: Some("15m".into()),
///     ..JobSpec::default()
/// };
/// assert!(spec.command.is_empty());
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JobSpec {
    /// The job's name.
    pub name: Option<String>,
    /// Who submits it and pays for it.
    pub tenant: Option<String>,
    /// The class of the policy it runs under.
    pub class: Option<String>,
    /// The container image.
    pub image: Option<String>,
    /// Replaces the image's entry point.
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    pub args: Vec<String>,
    /// Variables of the process.
    pub env: BTreeMap<String, String>,
    /// Secret variables of the process.
    pub secrets: BTreeMap<String, Secret>,
    /// What it asks for.
    pub resources: ResourceSpec,
    /// The kind of GPU.
    pub gpu_type: Option<String>,
    /// How long it may take, from its start to its end, retries included.
    pub timeout: Option<Written>,
    /// How often a failed attempt is repeated.
    pub retries: Option<Written>,
    /// What it may connect to.
    pub network: Option<String>,
}

/// The resources that a job asks for, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSpec {
    /// Cores.
    pub cpu: Option<Written>,
    /// Bytes of memory.
    pub memory: Option<Written>,
    /// Whole GPUs.
    pub gpu: Option<Written>,
    /// Bytes of scratch space and logs.
    pub ephemeral_storage: Option<Written>,
    /// Bytes of shared memory, within `memory`.
    pub shm: Option<Written>,
}

/// Where the value of a secret comes from. Printing it shows no value.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The environment variable of this name, where the job is submitted.
    FromEnv(String),
    /// The value itself.
    Value(String),
}

impl Secret {
    /// The bytes of the value that are known here.
    const fn bytes(&self) -> usize {
        match self {
            Self::FromEnv(_) => 0,
            Self::Value(value) => value.len(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromEnv(name) => f.debug_tuple("FromEnv").field(name).finish(),
            Self::Value(_) => f.write_str("Value(<redacted>)"),
        }
    }
}

impl JobSpec {
    /// The spec as JSON, with `env` and `secrets` as the two functions make them.
    fn to_json(&self, env: impl Fn(&str) -> Json, secret: impl Fn(&Secret) -> Json) -> Json {
        let ResourceSpec { cpu, memory, gpu, ephemeral_storage, shm } = &self.resources;
        let env: BTreeMap<_, _> = self.env.iter().map(|(name, value)| (name, env(value))).collect();
        let secrets: BTreeMap<_, _> =
            self.secrets.iter().map(|(name, value)| (name, secret(value))).collect();
        // Keys stand sorted, so that the text is the same whether or not `serde_json` keeps the order of insertion.
        json!({
            "args": self.args,
            "class": self.class,
            "command": self.command,
            "env": env,
            "gpu_type": self.gpu_type,
            "image": self.image,
            "name": self.name,
            "network": self.network,
            "resources": {
                "cpu": cpu,
                "ephemeral_storage": ephemeral_storage,
                "gpu": gpu,
                "memory": memory,
                "shm": shm,
            },
            "retries": self.retries,
            "secrets": secrets,
            "tenant": self.tenant,
            "timeout": self.timeout,
        })
    }

    /// A digest of everything but the values of secrets: the same job has the same digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(&self.to_json(|value| value.into(), |_| Json::Null))
    }

    /// What was written, with the values of `env` and `secrets` replaced by their outlines.
    pub(crate) fn outline(&self) -> Json {
        self.to_json(
            |value| json!(ValueOutline::of(value)),
            |secret| match secret {
                Secret::FromEnv(name) => json!({"from_env": name}),
                Secret::Value(value) => json!(ValueOutline::of(value)),
            },
        )
    }

    /// A spec that is judged just as the one the outline was taken of: its values have the same lengths.
    pub(crate) fn from_outline(outline: SpecOutline) -> Self {
        let SpecOutline { env, secrets, .. } = outline;
        Self {
            name: outline.name,
            tenant: outline.tenant,
            class: outline.class,
            image: outline.image,
            command: outline.command,
            args: outline.args,
            env: env.into_iter().map(|(name, value)| (name, value.stand_in())).collect(),
            secrets: secrets
                .into_iter()
                .map(|(name, secret)| match secret {
                    SecretOutline::FromEnv { from_env } => (name, Secret::FromEnv(from_env)),
                    SecretOutline::Value(value) => (name, Secret::Value(value.stand_in())),
                })
                .collect(),
            resources: ResourceSpec {
                cpu: outline.resources.cpu,
                memory: outline.resources.memory,
                gpu: outline.resources.gpu,
                ephemeral_storage: outline.resources.ephemeral_storage,
                shm: outline.resources.shm,
            },
            gpu_type: outline.gpu_type,
            timeout: outline.timeout,
            retries: outline.retries,
            network: outline.network,
        }
    }

    /// How many variables there are.
    pub(crate) fn variables(&self) -> usize {
        self.env.len() + self.secrets.len()
    }

    /// The bytes of all texts, as a bound on what is kept and sent on.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.name, &self.tenant, &self.class, &self.image, &self.gpu_type, &self.network];
        let texts = texts.into_iter().flatten().map(String::len);
        let lists = self.command.iter().chain(&self.args).map(String::len);
        let env = self.env.iter().map(|(name, value)| name.len() + value.len());
        let secrets = self.secrets.iter().map(|(name, value)| name.len() + value.bytes());
        texts.chain(lists).chain(env).chain(secrets).fold(0, usize::saturating_add)
    }
}

impl fmt::Debug for JobSpec {
    /// Without the values of `env` and `secrets`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobSpec({})", self.outline())
    }
}

/// What a decision needs to know of a value that may be secret.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct ValueOutline {
    bytes: usize,
    nul: bool,
}

impl ValueOutline {
    fn of(value: &str) -> Self {
        // Beyond what is ever taken, how much makes no difference.
        let bytes = value.len().min(crate::document::MAX_DOCUMENT_BYTES + 1);
        Self { bytes, nul: value.contains('\0') }
    }

    /// Some value with this outline.
    fn stand_in(self) -> String {
        let bytes = self.bytes.min(crate::document::MAX_DOCUMENT_BYTES + 1);
        if self.nul { "\0".repeat(bytes) } else { "x".repeat(bytes) }
    }
}

/// A spec whose values are outlines, as a decision's basis keeps it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct SpecOutline {
    name: Option<String>,
    tenant: Option<String>,
    class: Option<String>,
    image: Option<String>,
    command: Vec<String>,
    args: Vec<String>,
    env: BTreeMap<String, ValueOutline>,
    secrets: BTreeMap<String, SecretOutline>,
    resources: ResourceOutline,
    gpu_type: Option<String>,
    timeout: Option<Written>,
    retries: Option<Written>,
    network: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
struct ResourceOutline {
    cpu: Option<Written>,
    memory: Option<Written>,
    gpu: Option<Written>,
    ephemeral_storage: Option<Written>,
    shm: Option<Written>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum SecretOutline {
    FromEnv { from_env: String },
    Value(ValueOutline),
}
