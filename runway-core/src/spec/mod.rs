//! A job as it was written, before anybody judged it.

mod field;
mod fields;
mod normal;
mod read;
mod record;
mod schema;
mod written;

pub use fields::{FIELDS, RESOURCE_FIELDS};
pub use read::{Reading, SecretLiterals, hidden_spans};
pub use written::Written;

use std::collections::BTreeMap;
use std::fmt;

/// The most variables a job may have, `env` and `secrets` together.
pub const MAX_VARIABLES: usize = 256;

/// An argument, or a variable with its name and `=`, must be shorter than this: `MAX_ARG_STRLEN` of Linux, which
/// counts the closing NUL (`include/uapi/linux/binfmts.h`: 32 pages of 4 KiB).
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024;

/// A working directory must be shorter than this: `PATH_MAX` of Linux, which counts the closing NUL
/// (`include/uapi/linux/limits.h`).
pub const MAX_PATH_BYTES: usize = 4096;

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
    /// The working directory of the command.
    pub workdir: Option<String>,
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
    /// How many variables there are.
    pub(crate) fn variables(&self) -> usize {
        self.env.len() + self.secrets.len()
    }
}

/// Returns the JSON Schema of a job under a policy, without its title.
pub(crate) fn schema(policy: &crate::policy::Policy) -> serde_json::Value {
    schema::fields(fields::JOB, policy)
}
