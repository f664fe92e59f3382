//! The stable codes of all violations, each with an explanation.

use std::{fmt, str::FromStr};

macro_rules! codes {
    ($($variant:ident = $name:literal: $text:literal)*) => {
        /// The code of a violation. The names are stable, so programs can depend on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $text] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name in kebab case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The meaning of the code and the fix, in one paragraph.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

codes! {
    Syntax = "syntax": "The document is not YAML 1.2 (JSON included), or uses a part of it that is not accepted: keys that stand twice, keys that are lists, mappings or aliases, and tags such as `!name`. The message says what was met at which line and column. The line itself is not shown, since it may hold a secret. Frequent causes are tabs for indentation, a missing closing quote or bracket, and text that begins with `@`, `*`, `&` or a backtick and needs quotes."
    UnknownField = "unknown-field": "There is no field of this name here. Runway does not pass over what it does not know: a misspelt `timeout` would otherwise run with the default, and nobody would notice. The message names the nearest known field. Rename the field or take it out."
    WrongType = "wrong-type": "The value has another type than the field: a list where text is expected, say, or a bare number among the arguments. YAML reads `3`, `true` and `null` as numbers, truth values and nothing; in quotes they are text."
    MissingField = "missing-field": "A field that every job needs is not there: `name`, `image`, or the tenant, which comes from the field `tenant`, the option `--tenant`, or the header `X-Tenant-ID`. Resources and the timeout are needed only where the policy sets no default. In a policy, `version`, `limits` and `rates` are needed."
    InvalidName = "invalid-name": "The name does not have the form of a DNS label (RFC 1123): lower-case letters, digits and `-`, with a letter or digit at both ends. A job's name has at most 50 characters, so that with its id it still fits the 63 of a Kubernetes name."
    InvalidTenant = "invalid-tenant": "The tenant does not have the form of a DNS label (RFC 1123) of at most 63 characters: lower-case letters, digits and `-`, with a letter or digit at both ends. So it can be a Kubernetes label as it is."
    TenantMismatch = "tenant-mismatch": "The job names one tenant, and the option `--tenant` or the header `X-Tenant-ID` another. Runway does not guess which is meant, since one of the two would pay. Leave one of them out."
    UnknownTenant = "unknown-tenant": "The policy lists its tenants and denies all others (`unknown_tenants: deny`), and this one is not among them. The platform's operators add tenants to the policy. Other tenants' names are not shown."
    UnknownClass = "unknown-class": "The policy has no class of this name. A class is a set of bounds for one kind of work, such as short CPU jobs or GPU jobs. The violation lists the classes there are."
    UnknownGpuType = "unknown-gpu-type": "The policy has no GPU type of this name. The type decides the price and the nodes, so it must be one that the policy lists."
    GpuTypeRequired = "gpu-type-required": "The job asks for GPUs, and the policy knows types of them, each with its own price; so the job must name one in `gpu_type`. A policy can set `default_gpu_type` to relax this."
    GpuTypeWithoutGpu = "gpu-type-without-gpu": "The job names a `gpu_type` but asks for no GPU. One of the two is a mistake: ask for GPUs in `resources.gpu`, or leave `gpu_type` out."
    InvalidImage = "invalid-image": "The image is not a reference of the form `[host[:port]/]path[:tag][@digest]` (the grammar of the OCI distribution specification and of Docker): the path in lower case, the tag of at most 128 letters, digits, `_`, `.` and `-`, the digest `sha256:` with 64 hexadecimal digits."
    ImageNotAllowed = "image-not-allowed": "The image comes from a place that the policy does not allow. Patterns in `images.allow` match the whole `host/path` without tag and digest, after short names are completed as Docker does it (`busybox` is `docker.io/library/busybox`). `*` stays inside a path segment, `**` does not. Push the image to an allowed registry."
    ImageDigestRequired = "image-digest-required": "The policy wants images by digest (`images.require_digest`), since a tag can be moved to other contents later. Add `@sha256:…` to the image; `docker buildx imagetools inspect IMAGE` and `crane digest IMAGE` print it."
    InvalidQuantity = "invalid-quantity": "The value is not an amount in the unit of its field, or is finer or larger than can be kept. CPU and memory follow the Kubernetes grammar (`500m`, `2`, `4Gi`, `1e3`); CPU is counted in thousandths of a core, memory and storage in bytes, GPUs whole. A timeout is written `90s`, `15m`, `1h30m` or in whole seconds. `128m` of memory is 0.128 byte: what is meant is `128Mi`."
    CpuBelowMin = "cpu-below-min": "The job asks for less CPU than the policy allows for its class. So little would be throttled to a standstill and hold its slot all the while."
    CpuAboveMax = "cpu-above-max": "The job asks for more CPU than the policy allows for its class and tenant. Ask for no more than the maximum, or use a class that allows it."
    MemoryBelowMin = "memory-below-min": "The job asks for less memory than the policy allows for its class. Below a few MiB the kernel kills a container before its first instruction."
    MemoryAboveMax = "memory-above-max": "The job asks for more memory than the policy allows for its class and tenant. Ask for no more than the maximum, or use a class that allows it."
    EphemeralStorageBelowMin = "ephemeral-storage-below-min": "The job asks for less ephemeral storage (its `/tmp` and logs) than the policy allows for its class."
    EphemeralStorageAboveMax = "ephemeral-storage-above-max": "The job asks for more ephemeral storage (its `/tmp` and logs) than the policy allows for its class and tenant. Large data belongs into object storage."
    GpuBelowMin = "gpu-below-min": "The job asks for fewer GPUs than its class is for. A class with a minimum keeps jobs without GPUs off the GPU nodes."
    GpuAboveMax = "gpu-above-max": "The job asks for more GPUs than it can ever get: more than its class allows, than the tenant's whole quota, or than the cluster's capacity. Waiting does not help. The violation names the line of the policy that is the tightest."
    TimeoutBelowMin = "timeout-below-min": "The timeout is shorter than the policy allows for the job's class. It counts from the start of the Job, so that waiting for a node and pulling the image use it up too."
    TimeoutAboveMax = "timeout-above-max": "The timeout is longer than the policy allows for the job's class and tenant. The timeout bounds the whole job, all retries included, and with it the price. Split the work, or use a class that allows it."
    RetriesAboveMax = "retries-above-max": "The job asks for more retries than the policy allows. Retries share the one timeout, and each starts from the beginning."
    NetworkNotAllowed = "network-not-allowed": "The policy does not allow this network for the job's class and tenant, or there is no such network. `none` allows no connection, `internal` DNS and the policy's address ranges, `open` all but the metadata service and the API server."
    ShmAboveMemory = "shm-above-memory": "The job asks for more shared memory (`/dev/shm`) than memory. Shared memory counts within the memory of the job, so it cannot be larger."
    InvalidWorkdir = "invalid-workdir": "The working directory is not an absolute path, or has a component `.` or `..`. A job must name the same directory on every backend, whatever the current directory of the process that starts it. Write the path from `/` on, such as `/workspace`."
    InvalidEnvName = "invalid-env-name": "The name of a variable does not have the form that Kubernetes accepts: letters, digits, `_`, `-` and `.`, not a digit first, at most 253 characters."
    ReservedEnvName = "reserved-env-name": "Variables named `NVIDIA_*`, `CUDA_VISIBLE_DEVICES` and `RUNWAY_*` are Runway's to set. With the former a container could take GPUs that were given to somebody else, past the device plugin."
    DuplicateEnvName = "duplicate-env-name": "The same name stands under `env` and under `secrets`. Only one of the two could win; take the other out."
    SecretLiteral = "secret-literal": "A job file holds the value of a secret. Files are copied, committed and shown, so a file only names the environment variable that the value comes from, as `{from_env: NAME}`. The command line reads the variable when it submits the job. If the value was real, change it: it has been in a file."
    NulByte = "nul-byte": "The text holds a NUL character (`\\0`). Arguments and variables of a Linux process end at the first one, so that the process would not get what was written."
    TooLarge = "too-large": "The document is larger than Runway reads: 256 KiB in all with aliases written out, 20,000 values, 32 levels, 256 variables (`env` and `secrets` together). An argument or a variable with its name and `=` must be shorter than 128 KiB, which is what Linux takes (`MAX_ARG_STRLEN`). Pass large inputs through storage."
    UnsupportedByBackend = "unsupported-by-backend": "The job needs a feature that the backend does not support. The violation names the feature as `capability`: `network.internal`, for example, or `image.entrypoint` for a job without a `command`. Change the field, or submit the job to another backend. `runway check --backend NAME` checks a file against a backend."
    RateLimited = "rate-limited": "The tenant, or all tenants together, submitted faster than the policy allows. Nothing else about the job was looked at, and no token was used up. The answer says how long to wait; after that the same request passes this check, unless others were quicker."
    TenantGpuQuota = "tenant-gpu-quota": "The tenant's running jobs hold so many GPUs that this job would exceed its quota. Waiting helps: the answer says when enough of them are free at the latest, by the deadlines of the jobs in the way. Cancelling one of the tenant's jobs helps at once."
    TenantJobQuota = "tenant-job-quota": "The tenant has as many jobs as its quota allows at one time. Waiting helps, unless the quota is 0: the answer says when one of them ends at the latest."
    ClusterGpuCapacity = "cluster-gpu-capacity": "All tenants' jobs together hold so many GPUs that this one would exceed the capacity. Waiting helps: the answer says when enough of them are free at the latest."
    ClusterJobCapacity = "cluster-job-capacity": "All tenants together have as many jobs as the capacity allows at one time. Waiting helps: the answer says when one of them ends at the latest."
    UnsupportedVersion = "unsupported-version": "The policy is written for another version of the format. This version of Runway reads `version: 1`."
    InvalidRate = "invalid-rate": "A price is not a decimal number of at least zero with at most 12 decimals, in USD for one unit over one second. Write it in quotes, without an exponent: `\"0.0000112444\"`."
    InvalidPattern = "invalid-pattern": "A pattern of `images.allow` could never match or is written against the rules: it stands for a whole `host/path` in lower case (the host may have a port), without tag or digest, with `*` for a part of a segment and `**` for any number of segments."
    InvalidCidr = "invalid-cidr": "An address range is not of the form `10.0.0.0/8` or `fd00::/8` with all bits behind the prefix zero."
    PolicyContradiction = "policy-contradiction": "Two parts of the policy cannot both hold: a minimum above its maximum, a default that was written outside its bounds, a network list that leaves none, a default class or type that does not exist, or a namespace for each tenant without a list of tenants. Such a policy does not load, because nobody could say what it permits."
}

/// The change after which a refused job can be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Change the document. Every policy refuses it.
    Document,
    /// Change the job or the policy.
    Policy,
    /// Change nothing. Submit more slowly.
    Rate,
    /// Change nothing. Wait until other jobs have finished.
    Quota,
}

impl Code {
    /// Returns the change that this code requires.
    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Syntax
            | Self::UnknownField
            | Self::WrongType
            | Self::MissingField
            | Self::InvalidName
            | Self::InvalidTenant
            | Self::TenantMismatch
            | Self::GpuTypeWithoutGpu
            | Self::InvalidImage
            | Self::InvalidQuantity
            | Self::ShmAboveMemory
            | Self::InvalidWorkdir
            | Self::InvalidEnvName
            | Self::ReservedEnvName
            | Self::DuplicateEnvName
            | Self::SecretLiteral
            | Self::NulByte
            | Self::TooLarge
            | Self::UnsupportedVersion
            | Self::InvalidRate
            | Self::InvalidPattern
            | Self::InvalidCidr
            | Self::PolicyContradiction => Remedy::Document,
            Self::UnknownTenant
            | Self::UnknownClass
            | Self::UnknownGpuType
            | Self::GpuTypeRequired
            | Self::ImageNotAllowed
            | Self::ImageDigestRequired
            | Self::CpuBelowMin
            | Self::CpuAboveMax
            | Self::MemoryBelowMin
            | Self::MemoryAboveMax
            | Self::EphemeralStorageBelowMin
            | Self::EphemeralStorageAboveMax
            | Self::GpuBelowMin
            | Self::GpuAboveMax
            | Self::TimeoutBelowMin
            | Self::TimeoutAboveMax
            | Self::RetriesAboveMax
            | Self::NetworkNotAllowed
            | Self::UnsupportedByBackend => Remedy::Policy,
            Self::RateLimited => Remedy::Rate,
            Self::TenantGpuQuota
            | Self::TenantJobQuota
            | Self::ClusterGpuCapacity
            | Self::ClusterJobCapacity => Remedy::Quota,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An unknown violation code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no code `{name}`{}", nearest.map(|code| format!("; did you mean `{code}`?")).unwrap_or_default())]
pub struct UnknownCode {
    /// The unknown name.
    pub name: String,
    /// The code with the most similar name, if one is similar enough.
    pub nearest: Option<Code>,
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name).ok_or_else(|| {
            let nearest = crate::text::nearest(name, Self::ALL.iter().map(|code| code.as_str()));
            let nearest = Self::ALL.iter().copied().find(|code| Some(code.as_str()) == nearest);
            UnknownCode { name: name.to_owned(), nearest }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name_and_explained() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.explanation().len() > 80, "{code}");
        }
    }

    #[test]
    fn a_misspelt_code_finds_its_neighbour() {
        let error = "cpu-above-maximum".parse::<Code>().unwrap_err();
        assert_eq!(error.nearest, Some(Code::CpuAboveMax));
        assert_eq!("zzz".parse::<Code>().unwrap_err().nearest, None);
    }
}
