//! The job features that a backend can support.
//!
//! A backend declares its [`Capabilities`]. The gate refuses a job that needs a missing feature, and
//! reserves no hold for it. The capabilities are a recorded input of the decision, so the decision can be
//! replayed.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

macro_rules! capabilities {
    ($($variant:ident = $name:literal, $path:literal: $text:literal, $remedy:literal)*) => {
        /// A job feature that a backend may lack. The names are stable. A dot separates a field from its part
        /// or value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum Capability {
            $(#[doc = $text] #[serde(rename = $name)] $variant,)*
        }

        impl Capability {
            /// Every capability, in the order of the job's fields.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name, such as `network.internal`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The job field that decides whether the job needs the feature, as a JSON pointer.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$variant => $path),* }
            }

            /// The change that makes a job run without the feature, as an imperative.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

capabilities! {
    ImageEntrypoint = "image.entrypoint", "/command": "Runs the entry point of the image if the job has no `command`.", "write the program to run into `command`"
    Workdir = "workdir", "/workdir": "A working directory set by the job.", "leave `workdir` out"
    Secrets = "secrets", "/secrets": "Secret environment variables.", "leave `secrets` out"
    Gpu = "resources.gpu", "/resources/gpu": "GPUs.", "ask for no GPU"
    EphemeralStorage = "resources.ephemeral_storage", "/resources/ephemeral_storage": "A limit on scratch space and logs, set by the job.", "leave `ephemeral_storage` out"
    Shm = "resources.shm", "/resources/shm": "Shared memory with a size set by the job.", "leave `shm` out"
    GpuType = "gpu_type", "/gpu_type": "GPUs of a type set by the job.", "leave `gpu_type` out"
    Retries = "retries", "/retries": "Retries after a failed attempt.", "set `retries` to 0"
    NetworkNone = "network.none", "/network": "A job without any network.", "name another network"
    NetworkInternal = "network.internal", "/network": "Connections only to the policy's address ranges.", "name another network"
    NetworkOpen = "network.open", "/network": "Connections to all addresses except the protected ones.", "name another network"
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The job features that one backend supports.
///
/// The JSON form is `{"backend","lacks"}`: the backend's name and the features that it lacks.
///
/// ```
/// use runway_core::capability::{BackendKind, Capability};
///
/// let local = BackendKind::Local.capabilities();
/// assert!(!local.supports(Capability::NetworkInternal));
/// assert!(local.supports(Capability::NetworkNone));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Capabilities {
    backend: String,
    lacks: BTreeSet<Capability>,
}

impl Capabilities {
    /// Creates the capabilities of a backend that supports exactly these features. A feature that a later
    /// version of Runway adds counts as missing until the backend lists it.
    #[must_use]
    pub fn new(backend: impl Into<String>, supported: &[Capability]) -> Self {
        let lacks = Capability::ALL.iter().filter(|capability| !supported.contains(capability));
        Self { backend: backend.into(), lacks: lacks.copied().collect() }
    }

    /// Returns the name of the backend.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Returns `true` if the backend supports this feature.
    #[must_use]
    pub fn supports(&self, capability: Capability) -> bool {
        !self.lacks.contains(&capability)
    }
}

/// The backends that come with Runway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendKind {
    /// A Kubernetes cluster.
    Kubernetes,
    /// One Linux machine.
    Local,
}

impl BackendKind {
    /// Every backend.
    pub const ALL: [Self; 2] = [Self::Kubernetes, Self::Local];

    /// The backend's name, as in `--backend`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Local => "local",
        }
    }

    /// Returns the job features that the backend supports.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::Kubernetes => Capabilities::new(self.as_str(), Capability::ALL),
            Self::Local => Capabilities::new(
                self.as_str(),
                &[
                    Capability::Workdir,
                    Capability::Secrets,
                    Capability::EphemeralStorage,
                    Capability::Gpu,
                    Capability::Shm,
                    Capability::GpuType,
                    Capability::Retries,
                    Capability::NetworkNone,
                    Capability::NetworkOpen,
                ],
            ),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An unknown backend name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown backend; use `kubernetes` or `local`")]
pub struct UnknownBackend;

impl FromStr for BackendKind {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownBackend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_supports_only_listed_features() {
        let only = Capabilities::new("x", &[Capability::Gpu]);
        for capability in Capability::ALL {
            assert_eq!(only.supports(*capability), *capability == Capability::Gpu, "{capability}");
        }
    }

    #[test]
    fn serialized_form_lists_missing_features() {
        let local = BackendKind::Local.capabilities();
        let text = serde_json::to_string(&local).unwrap();
        assert_eq!(text, r#"{"backend":"local","lacks":["image.entrypoint","network.internal"]}"#);
        assert_eq!(serde_json::from_str::<Capabilities>(&text).unwrap(), local);
    }

    #[test]
    fn backend_names_parse() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("Local".parse::<BackendKind>(), Err(UnknownBackend));
    }
}
