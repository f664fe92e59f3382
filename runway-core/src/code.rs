//! The stable codes of all violations, each with an explanation.

use std::{fmt, str::FromStr};

macro_rules! codes {
    ($($variant:ident = $name:literal: $summary:literal $(, $details:literal)?)*) => {
        /// The code of a violation. The names are stable, so programs can depend on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!($summary $(, " ", $details)?)] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name in kebab case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The meaning of the code, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary),* }
            }

            /// The meaning of the code and the fix, in one paragraph. It starts with the summary.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($summary $(, " ", $details)?)),* }
            }
        }
    };
}

codes! {
    Syntax = "syntax": "The document is not valid YAML 1.2 or JSON, or it uses a YAML feature that Runway does not accept.", "Runway does not accept duplicate keys, keys that are lists, mappings or aliases, and tags such as `!name`. The message gives the error with its line and column. It does not show the line itself, because the line may contain a secret. Frequent causes are tabs for indentation, a missing closing quote or bracket, and unquoted text that starts with `@`, `*`, `&` or a backtick."
    UnknownField = "unknown-field": "The document has no field with this name.", "Runway does not ignore unknown fields, because a job with a misspelt `timeout` would run with the default. The message names the most similar field. Rename or remove the field."
    WrongType = "wrong-type": "The value has a different type than the field, such as a list in place of a string, or an unquoted number among the arguments.", "YAML reads `3` as a number, `true` as a boolean and `null` as null. In quotes, they are strings."
    MissingField = "missing-field": "A required field is missing.", "A job needs `name`, `image` and a tenant. The tenant comes from the field `tenant`, the option `--tenant`, or the header `X-Tenant-ID`. Resources and the timeout are required only if the policy sets no default. A policy needs `version`, `limits` and `rates`."
    InvalidName = "invalid-name": "The name is not a DNS label (RFC 1123).", "A DNS label consists of lower-case letters, digits and `-`, and starts and ends with a letter or digit. A job's name has at most 50 characters, because the name with its id must fit into the 63 characters of a Kubernetes name."
    InvalidTenant = "invalid-tenant": "The tenant is not a DNS label (RFC 1123) of at most 63 characters.", "A DNS label consists of lower-case letters, digits and `-`, and starts and ends with a letter or digit. Such a name is also a valid Kubernetes label value."
    TenantMismatch = "tenant-mismatch": "The job names a different tenant than the option `--tenant` or the header `X-Tenant-ID`.", "Runway does not choose between them, because the tenant pays for the job. Remove one of them."
    UnknownTenant = "unknown-tenant": "The policy does not list this tenant and denies all other tenants (`unknown_tenants: deny`).", "The operators of the platform add tenants to the policy. The message does not show the names of other tenants."
    JobsNotAllowed = "jobs-not-allowed": "The policy allows the tenant, or all tenants together, no jobs.", "The job quota or the job capacity in the policy is 0, so waiting does not help. The violation names the policy path. Only the operators of the platform can change the policy."
    UnknownClass = "unknown-class": "The policy has no class with this name.", "A class is a set of bounds for one kind of job, such as short CPU jobs or GPU jobs. The violation lists the classes of the policy."
    UnknownGpuType = "unknown-gpu-type": "The policy has no GPU type with this name.", "The type determines the price and the nodes, so it must be a type from the policy."
    GpuTypeRequired = "gpu-type-required": "The job requests GPUs and must set `gpu_type`, because the policy defines GPU types with separate prices.", "A policy can set `default_gpu_type` to make the field optional."
    GpuTypeWithoutGpu = "gpu-type-without-gpu": "The job sets `gpu_type` but requests no GPU.", "Request GPUs in `resources.gpu`, or remove `gpu_type`."
    InvalidImage = "invalid-image": "The image is not a reference of the form `[host[:port]/]path[:tag][@digest]`.", "The grammar is that of the OCI distribution specification and of Docker. The path is in lower case. The tag has at most 128 letters, digits, `_`, `.` and `-`. The digest is `sha256:` with 64 hexadecimal digits."
    ImageNotAllowed = "image-not-allowed": "The policy does not allow images from this registry or path.", "The patterns in `images.allow` match the whole `host/path` without the tag and digest. Short names are completed first, as in Docker: `busybox` becomes `docker.io/library/busybox`. `*` matches within a path segment, and `**` matches across segments. Push the image to an allowed registry."
    ImageDigestRequired = "image-digest-required": "The policy requires images with a digest (`images.require_digest`), because a tag can be moved to another image later.", "Add `@sha256:…` to the image. `docker buildx imagetools inspect IMAGE` and `crane digest IMAGE` print the digest."
    InvalidQuantity = "invalid-quantity": "The value is not a valid amount in the unit of its field, or it is too precise or too large.", "CPU and memory use the Kubernetes grammar (`500m`, `2`, `4Gi`, `1e3`). The unit of CPU is a thousandth of a core, the unit of memory and storage is a byte, and GPUs are whole numbers. A timeout is written as `90s`, `15m`, `1h30m` or in whole seconds. `128m` of memory is 0.128 bytes; the usual intention is `128Mi`."
    CpuBelowMin = "cpu-below-min": "The job requests less CPU than the policy allows for its class.", "With so little CPU, the kernel would throttle the job almost completely, and the job would still occupy its slot."
    CpuAboveMax = "cpu-above-max": "The job requests more CPU than the policy allows for its class and tenant.", "Request at most the maximum, or use a class that allows more."
    MemoryBelowMin = "memory-below-min": "The job requests less memory than the policy allows for its class.", "With less than a few MiB, the kernel kills a container before its first instruction."
    MemoryAboveMax = "memory-above-max": "The job requests more memory than the policy allows for its class and tenant.", "Request at most the maximum, or use a class that allows more."
    EphemeralStorageBelowMin = "ephemeral-storage-below-min": "The job requests less ephemeral storage (its `/tmp` and logs) than the policy allows for its class."
    EphemeralStorageAboveMax = "ephemeral-storage-above-max": "The job requests more ephemeral storage (its `/tmp` and logs) than the policy allows for its class and tenant.", "Store large data in object storage."
    GpuBelowMin = "gpu-below-min": "The job requests fewer GPUs than the minimum of its class.", "A class with a minimum keeps jobs without GPUs off the GPU nodes."
    GpuAboveMax = "gpu-above-max": "The job requests more GPUs than it can ever get.", "The maximum is the lowest of the class's bound, the tenant's quota and the cluster's capacity. Waiting does not help. The violation names the policy path of the lowest value."
    TimeoutBelowMin = "timeout-below-min": "The timeout is shorter than the policy allows for the job's class.", "The timeout counts from the start of the Job, so it includes the wait for a node and the image pull."
    TimeoutAboveMax = "timeout-above-max": "The timeout is longer than the policy allows for the job's class and tenant.", "The timeout limits the whole job with all retries, and it determines the ceiling of the price. Split the work, or use a class that allows more."
    RetriesAboveMax = "retries-above-max": "The job requests more retries than the policy allows.", "All retries share one timeout, and each retry starts from the beginning."
    NetworkNotAllowed = "network-not-allowed": "The network does not exist, or the policy does not allow it for the job's class and tenant.", "`none` allows no connections. `internal` allows DNS and the address ranges of the policy. `open` allows all addresses except the metadata service and the API server."
    ShmAboveMemory = "shm-above-memory": "The job requests more shared memory (`/dev/shm`) than memory.", "Shared memory counts towards the job's memory, so it cannot be larger."
    InvalidWorkdir = "invalid-workdir": "The working directory is not an absolute path, or it contains a component `.` or `..`.", "A job must name the same directory on every backend. Use a path that starts with `/`, such as `/workspace`."
    InvalidEnvName = "invalid-env-name": "Kubernetes does not accept the name of the variable.", "A valid name has at most 253 letters, digits, `_`, `-` and `.`, and does not start with a digit."
    ReservedEnvName = "reserved-env-name": "Only Runway sets variables named `NVIDIA_*`, `CUDA_VISIBLE_DEVICES` and `RUNWAY_*`.", "With the first two, a container could bypass the device plugin and use the GPUs of another job."
    DuplicateEnvName = "duplicate-env-name": "The same name is in `env` and in `secrets`.", "Remove one of them, because a variable has only one value."
    SecretLiteral = "secret-literal": "A job file contains the value of a secret.", "Files are copied, committed and shown, so a file must contain only the name of an environment variable: `{from_env: NAME}`. The command line reads the variable when it submits the job. If the value was a real secret, change the secret."
    NulByte = "nul-byte": "The text contains a NUL character (`\\0`).", "Arguments and variables of a Linux process end at the first NUL, so the process would receive a truncated text."
    TooLarge = "too-large": "The document is larger than Runway accepts.", "The limits of a job are 256 KiB with aliases expanded, 20,000 values, 32 levels, and 256 variables in `env` and `secrets` together. An argument, or a variable with its name and `=`, must be shorter than 128 KiB, which is the limit of Linux (`MAX_ARG_STRLEN`). Pass large inputs through storage. The limits of a policy are 8 MiB, 500,000 values and 32 levels."
    UnsupportedByBackend = "unsupported-by-backend": "The job needs a feature that the backend does not support.", "The violation names the feature in `capability`, such as `network.internal`, or `image.entrypoint` for a job without a `command`. Change the field, or submit the job to another backend. `runway check --backend NAME` checks a file for a backend."
    RateLimited = "rate-limited": "The tenant, or all tenants together, submitted jobs faster than the policy allows.", "The job was not checked any further, and the submission used no token. The response gives the time of the next attempt. The same request passes this check at that time, unless other submissions use the token first."
    TenantGpuQuota = "tenant-gpu-quota": "The job would exceed the tenant's GPU quota, together with the tenant's running jobs.", "Waiting helps: the response gives the latest time at which enough GPUs are free, from the deadlines of the blocking jobs. To free GPUs at once, cancel one of the tenant's jobs."
    TenantJobQuota = "tenant-job-quota": "The tenant already has as many jobs as its quota allows.", "Waiting helps: the response gives the latest time at which one of the jobs ends."
    ClusterGpuCapacity = "cluster-gpu-capacity": "The job would exceed the GPU capacity, together with the jobs of all tenants.", "Waiting helps: the response gives the latest time at which enough GPUs are free."
    ClusterJobCapacity = "cluster-job-capacity": "All tenants together already have as many jobs as the capacity allows.", "Waiting helps: the response gives the latest time at which one of the jobs ends."
    UnsupportedVersion = "unsupported-version": "The policy uses another version of the format.", "This version of Runway supports only `version: 1`."
    InvalidRate = "invalid-rate": "The price is not a decimal number of at least zero with at most 12 decimals.", "A price is in USD for one unit and one second. Write it in quotes and without an exponent: `\"0.0000112444\"`."
    InvalidPattern = "invalid-pattern": "A pattern in `images.allow` is invalid or can never match.", "A pattern covers a whole `host/path` in lower case, without a tag or digest. The host may have a port. `*` matches a part of a segment, and `**` matches any number of segments."
    InvalidCidr = "invalid-cidr": "The address range is not of the form `10.0.0.0/8` or `fd00::/8`.", "All bits after the prefix must be zero."
    PolicyContradiction = "policy-contradiction": "Two parts of the policy contradict each other.", "Examples are a minimum above its maximum, a default outside its bounds, and a network list that allows no network. Others are a missing default class or type, and a namespace per tenant without a list of tenants. Runway does not load such a policy, because its meaning would be unclear."
}

/// The change after which a refused job can be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Change the document. In general, a change of the policy does not help.
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
            | Self::JobsNotAllowed
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
#[error("unknown code `{name}`{}", nearest.map(|code| format!("; did you mean `{code}`?")).unwrap_or_default())]
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
    fn every_code_parses_and_has_an_explanation() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.explanation().len() > 80, "{code}");
        }
    }

    #[test]
    fn misspelt_code_suggests_nearest() {
        let error = "cpu-above-maximum".parse::<Code>().unwrap_err();
        assert_eq!(error.nearest, Some(Code::CpuAboveMax));
        assert_eq!("zzz".parse::<Code>().unwrap_err().nearest, None);
    }
}
