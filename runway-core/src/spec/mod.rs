//! The job spec: the job as its author wrote it, before any check.

mod field;
mod fields;
mod normalised;
mod parse;
mod raw_scalar;
mod record;
mod schema;

pub use fields::{FIELDS, RESOURCE_FIELDS};
pub use parse::{ParsedSpec, SecretLiterals, redacted_spans};
pub use raw_scalar::RawScalar;

use std::collections::BTreeMap;
use std::fmt;

/// Maximum number of variables in a job: `env` and `secrets` together.
pub const MAX_VARIABLES: usize = 256;

/// Exclusive limit on the bytes of an argument, and of a variable with its name and `=`.
///
/// This is Linux's `MAX_ARG_STRLEN` (`include/uapi/linux/binfmts.h`: 32 pages of 4 KiB), which includes the
/// closing NUL byte.
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024;

/// Exclusive limit on the bytes of a working directory.
///
/// This is Linux's `PATH_MAX` (`include/uapi/linux/limits.h`), which includes the closing NUL byte.
pub const MAX_PATH_BYTES: usize = 4096;

/// A job as its author wrote it. Its values are not checked. The [`Gate`](crate::Gate) checks them and admits
/// or refuses the job.
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
    /// The tenant that submits the job and pays for it.
    pub tenant: Option<String>,
    /// The policy class of the job.
    pub class: Option<String>,
    /// The container image.
    pub image: Option<String>,
    /// The command. It replaces the image's entry point.
    pub command: Vec<String>,
    /// The arguments. They replace the image's arguments.
    pub args: Vec<String>,
    /// The working directory of the command.
    pub workdir: Option<String>,
    /// The environment variables of the process.
    pub env: BTreeMap<String, String>,
    /// The secret environment variables of the process.
    pub secrets: BTreeMap<String, Secret>,
    /// The requested resources.
    pub resources: ResourceSpec,
    /// The GPU type.
    pub gpu_type: Option<String>,
    /// The time limit of the whole job. It includes waiting, image pulls and all retries.
    pub timeout: Option<RawScalar>,
    /// The number of retries after a failed attempt.
    pub retries: Option<RawScalar>,
    /// The network that the job may use.
    pub network: Option<String>,
}

/// The resources that a job requests, as its author wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSpec {
    /// CPU cores.
    pub cpu: Option<RawScalar>,
    /// Memory in bytes.
    pub memory: Option<RawScalar>,
    /// Number of whole GPUs.
    pub gpu: Option<RawScalar>,
    /// Scratch space and logs, in bytes.
    pub ephemeral_storage: Option<RawScalar>,
    /// Shared memory in bytes. It counts towards `memory`.
    pub shm: Option<RawScalar>,
}

/// The source of a secret's value. `Debug` never prints the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The environment variable with this name, read by the program that submits the job.
    FromEnv(String),
    /// The value itself.
    Value(String),
}

impl Secret {
    /// Returns the length of the value in bytes, or 0 if the value is not known yet.
    const fn byte_len(&self) -> usize {
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
    /// Returns the number of variables in `env` and `secrets`.
    pub(crate) fn variable_count(&self) -> usize {
        self.env.len() + self.secrets.len()
    }
}

/// Returns the JSON Schema of a job under this policy, without a title.
pub(crate) fn schema(policy: &crate::policy::Policy) -> serde_json::Value {
    schema::object_schema(fields::JOB, policy)
}
