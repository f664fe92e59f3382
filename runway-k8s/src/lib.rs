//! Jobs on a Kubernetes cluster.
//!
//! [`KubernetesBackend`] creates what the core renders, and keeps nothing that the cluster does not keep itself: tenant,
//! class, id, quote and digests stand in labels and annotations below `runway.dev/`, and all else in the Job's own fields.
//! Scheduling, retries, deadlines and clean-up are Kubernetes'. It is no operator: it asks for no custom resources, no
//! webhooks and no leader election, and needs the rights that [`NEEDS`] lists and no others.

mod api;
mod backend;
mod cancel;
mod client;
mod cluster;
mod create;
mod failure;
mod logs;
mod object;
mod parameters;
mod preflight;
mod protobuf;
mod settings;
mod watch;

pub use backend::KubernetesBackend;
pub use client::{ConnectError, Connection, connect};
pub use preflight::{MissingRight, NEEDS, Need};
pub use settings::{KubernetesSettings, Scope};
