//! Errors that keep the server from starting or from serving.

use runway_core::policy::PriceVariableError;
use runway_http::reload::LoadError;
use runway_http::server::TlsError;
use runway_http::tasks::TaskEnded;
use runway_k8s::{ConnectError, MissingPermission};
use std::io;
use std::net::SocketAddr;
use tokio::task::JoinError;

/// An error that keeps the server from starting or from serving.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The signal handlers cannot be installed.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// The server cannot listen on an address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The address of a listener cannot be read.
    #[error("cannot read the address of a listener")]
    LocalAddress(#[source] io::Error),
    /// An environment variable that sets a price is invalid.
    #[error(transparent)]
    PriceVariable(#[from] PriceVariableError),
    /// The policy cannot be loaded.
    #[error(transparent)]
    Policy(#[from] LoadError),
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The client for the cluster cannot be created.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster denies permissions that the server needs.
    #[error("{}; apply `infra/kubernetes/rbac.yaml`, which grants all required permissions", join_permissions(.0))]
    MissingPermissions(Vec<MissingPermission>),
    /// This platform does not support the local backend.
    #[cfg(not(target_os = "linux"))]
    #[error("the backend `local` requires Linux")]
    UnsupportedBackend,
    /// The state directory cannot be opened.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Open(#[from] runway_local::OpenError),
    /// No state directory is set, and the environment has no default for it.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    NoStateDir(#[from] runway_local::NoStateDir),
    /// At least one limit of jobs cannot be enforced on this machine.
    #[cfg(target_os = "linux")]
    #[error("{0}; use `--best-effort` to run jobs without these limits")]
    NotEnforced(runway_local::NotEnforced),
    /// A background task that the server needs ended.
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
    /// A task of the server panicked.
    #[error("a task of the server failed")]
    Task(#[from] JoinError),
}

fn join_permissions(missing: &[MissingPermission]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
