//! Runs jobs on a Kubernetes cluster.
//!
//! [`KubernetesBackend`] creates the objects that runway-core renders. It stores nothing outside the cluster.
//! The tenant, class, id, quote and digests are labels and annotations under `runway.dev/`; everything else
//! is in the Job's own fields. Kubernetes does the scheduling, the retries, the deadlines and the cleanup.
//!
//! Runway is not an operator. It needs no custom resources, no webhooks and no leader election. Its
//! permissions are those in [`REQUIRED_PERMISSIONS`].

mod api;
mod backend;
mod call_error;
mod cancel;
mod client;
mod cluster;
mod create;
mod logs;
mod object;
mod params;
mod preflight;
mod protobuf;
mod settings;
#[cfg(test)]
mod test_server;
mod watch;

pub use backend::KubernetesBackend;
pub use client::{ConnectError, Connection, connect};
pub use preflight::{MissingPermission, Permission, REQUIRED_PERMISSIONS};
pub use settings::{KubernetesSettings, WatchScope};
