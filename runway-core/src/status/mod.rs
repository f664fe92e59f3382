//! The status of a job: one vocabulary for every backend.
//!
//! A backend reports what it observes, and this module derives the status from it. With the feature
//! `kubernetes`, [`classify`] reads a Job, its Pods and its Events. [`classify_local`] reads what the kernel
//! reported about the processes of a job on one machine.

mod cause;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local;
mod termination;

pub use local::{LocalAttempt, LocalJobState, LocalTermination, StopReason, classify_local};

#[cfg(feature = "kubernetes")]
pub use kubernetes::{
    JobObjects, KubectlList, KubectlListError, classify, created_pod, has_run, is_active, is_evidence,
    is_less_informative,
};

use crate::price::{AttemptSpan, Bill, Quote, billed_time};
use crate::units::{Seconds, Timestamp};
use std::fmt;

/// The hint for a failure that only the job's own output can explain. A client can replace it with a hint
/// that names the place of the output.
pub const CHECK_LOGS: &str = "check the logs";

/// The phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The job is created, and its main process does not run yet. An init container may run.
    Pending,
    /// A process of the job runs or is being terminated, or an attempt has ended and the job has not
    /// finished yet.
    Running,
    /// The job finished successfully.
    Succeeded,
    /// The job finished without success.
    Failed,
    /// The job was cancelled through Runway. Its processes may still be terminating.
    Cancelled,
    /// The job disappeared before its end was observed, or its outcome cannot be determined.
    Unknown,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Unknown];

    /// Returns the name of the phase.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether the phase is final: `Succeeded`, `Failed` or `Cancelled`. A final phase does not
    /// change.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// The reason for a job's phase, according to the strongest evidence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the name of the reason.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// The kernel killed the process because it exceeded the memory limit.
    OOMKilled,
    /// The job exceeded its timeout.
    DeadlineExceeded,
    /// The process exited with a code other than zero that does not stand for a signal.
    NonZeroExit,
    /// A signal ended the process. An exit code of 128 + n, up to 192, counts as signal n.
    Signaled,
    /// The process could not be started.
    StartError,
    /// An init container failed.
    InitFailed,
    /// The image cannot be pulled.
    ImagePull,
    /// The name of the image is invalid.
    InvalidImage,
    /// The container refers to something that is missing or wrong, such as a Secret.
    ConfigError,
    /// No node meets the requirements of the job, such as its resources or its GPU type.
    Unschedulable,
    /// The node evicted the job, because the job exceeded its storage or the node ran short of a resource.
    Evicted,
    /// The environment ended the job: for example, its node was lost or drained, the node rejected its pod,
    /// or its supervisor was killed.
    Disrupted,
    /// The cluster rejects the job's pods.
    PodsRejected,
    /// The cluster ended the job, usually because its last retry failed. No other evidence explains the
    /// failure.
    BackoffLimitExceeded,
    /// The job succeeded, but the kernel killed one of its child processes because it exceeded the memory
    /// limit.
    ChildOOMKilled,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One observed value that supports a status.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// The object with the value: `job/NAME`, `pod/NAME`, `event/NAME`, or `kernel/NAME` for a local job.
    pub object: String,
    /// The path of the value in the object, such as `status.containerStatuses[0].state.terminated.reason`.
    /// For a local job, the attempt, such as `attempt 2`.
    pub path: String,
    /// The observed value.
    pub value: String,
}

/// The status of a job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// The reason for the phase. `None` if the phase needs no reason, or if the reason is unknown.
    pub reason: Option<Reason>,
    /// A description of what happened, as one sentence.
    pub message: String,
    /// Advice for the user, if there is any.
    pub hint: Option<String>,
    /// The exit code of the newest attempt that has one, or 128 + n if signal n ended it. If the job
    /// failed, attempts that did not succeed take precedence.
    pub exit_code: Option<i32>,
    /// The number of attempts, including the current one.
    pub attempts: u32,
    /// The evidence for the phase and the reason, strongest first.
    pub evidence: Vec<Evidence>,
    /// The time at which the job started. The timeout of the job counts from this time.
    #[serde(skip)]
    pub started_at: Option<Timestamp>,
    /// The time at which the job finished. `None` if the job has not finished, or if the time is unknown.
    #[serde(skip)]
    pub finished_at: Option<Timestamp>,
    /// The time since which the job has been in its present state. `None` if it is unknown.
    #[serde(skip)]
    pub since: Option<Timestamp>,
    /// The attempts that had a node, oldest first. The bill is computed from them.
    #[serde(skip)]
    pub attempt_spans: Vec<AttemptSpan>,
    /// Whether the job still occupies resources: it exists and its phase is not final, or one of its pods
    /// or processes has not terminated.
    #[serde(skip)]
    pub occupies_resources: bool,
    /// Whether the job ends by itself, at the latest at its deadline. `false` if a pod is on a node that does
    /// not respond: the pod ends when the node returns or when its Node object is deleted.
    #[serde(skip)]
    pub ends_by_itself: bool,
}

impl Status {
    /// Returns the status of a job that was created and not observed yet.
    #[must_use]
    pub fn created() -> Self {
        Self::without_details(Phase::Pending, "created, and not observed yet")
    }

    /// Returns the status of a job that disappeared before its end was observed.
    #[must_use]
    pub fn gone() -> Self {
        Self {
            occupies_resources: false,
            ..Self::without_details(Phase::Unknown, "disappeared before its end was observed")
        }
    }

    fn without_details(phase: Phase, message: &str) -> Self {
        Self {
            phase,
            reason: None,
            message: message.to_owned(),
            hint: None,
            exit_code: None,
            attempts: 0,
            evidence: Vec::new(),
            started_at: None,
            finished_at: None,
            since: None,
            attempt_spans: Vec::new(),
            occupies_resources: true,
            ends_by_itself: true,
        }
    }

    /// Returns the price of the job until `now`, or the final price of a finished job.
    ///
    /// Each attempt counts from its scheduling to the end of its container. An attempt that has not ended
    /// counts until `now`. If the end of an attempt is unknown and the job has finished, the attempt counts
    /// until the job finished, plus `grace`.
    #[must_use]
    pub fn bill(&self, quote: &Quote, grace: Seconds, now: Timestamp) -> Bill {
        let time = match self.finished_at {
            Some(finished) if !self.occupies_resources => billed_time(&self.attempt_spans, finished, grace),
            _ => billed_time(&self.attempt_spans, now, Seconds::ZERO),
        };
        quote.bill(time)
    }
}
