//! The submission loop: the gate decides, a [`Backend`] runs the job, and a watch keeps the ledger equal to what runs.
//!
//! [`ControlPlane`] is what a server or a command line stands on. It knows no transport and no cluster: those are the
//! callers' and the backends'. Clock and randomness come in through [`Surroundings`].
//!
//! A hold is reserved under the lock, the job created outside of it, and the hold confirmed or given up by the answer.
//! An answer that was lost keeps the hold until the backend tells whether the job is there. All state is in memory; it
//! is rebuilt from the backend's listing before the first submission is taken.

mod audit;
pub mod backend;
#[cfg(feature = "fake")]
pub mod fake;
mod jobs;
mod observer;
mod outcome;
mod plane;
pub mod service;
mod surroundings;

pub use audit::{AUDIT_TARGET, RequestIdentity};
pub use backend::{Backend, Observation};
pub use jobs::{JobRecord, Page, PageToken, Selection};
pub use observer::Observer;
pub use outcome::SubmissionOutcome;
pub use plane::{
    CancelError, ControlPlane, IdempotencyKey, KeyError, LogsError, Settings, SubmitError, Submitted,
    TenantUsage, WatchState,
};
pub use surroundings::{Surroundings, System};
