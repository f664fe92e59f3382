//! The control plane: the gate decides on each submission, a [`Backend`] runs the job, and a watch keeps the
//! ledger in sync with the backend.
//!
//! A server or a command-line program uses [`ControlPlane`]. The crate contains neither a transport nor a
//! cluster client. The clock and the randomness come from [`Env`].
//!
//! A submission takes three steps. The gate reserves a hold under the lock. The backend creates the job
//! without the lock. The response of the backend confirms or releases the hold. If the response is lost, the
//! hold stays until the backend reports whether the job exists.
//!
//! All state is in memory. It is rebuilt from a list of the backend's jobs before the first submission is
//! accepted.

mod audit;
pub mod backend;
mod env;
#[cfg(feature = "fake")]
pub mod fake;
mod jobs;
mod observer;
mod outcome;
mod plane;
pub mod service;

pub use audit::{AUDIT_TARGET, RequestIdentity};
pub use backend::{Backend, JobSnapshot};
pub use env::{Env, SystemEnv};
pub use jobs::{JobFilter, JobRecord, Page, PageToken};
pub use observer::Observer;
pub use outcome::SubmissionOutcome;
pub use plane::{
    CancelError, ControlPlane, IdempotencyKey, KeyError, LogsError, Settings, SubmitError, Submitted,
    TenantUsage, WatchState,
};
