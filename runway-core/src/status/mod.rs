//! What became of a job: one set of words for every backend.
//!
//! A backend observes; this says what the observation means. With the feature `kubernetes`, [`classify`] reads it off a
//! Job, its Pods and its Events; [`classify_local`]
//! off what the kernel of one machine told of a job's processes.

mod cause;
mod ending;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local;

pub use local::{LocalAttempt, LocalEnd, LocalSeen, LocalStop, classify_local};

#[cfg(feature = "kubernetes")]
pub use kubernetes::{Listing, ListingError, Seen, classify, has_run, lives, says_less};

use crate::price::{Attempt, Bill, Quote, billed_time};
use crate::units::{Seconds, Timestamp};
use std::fmt;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Created, and nothing of it runs yet.
    Pending,
    /// Begun, and not at its end: one of its processes runs, or the last one has just ended and another may follow.
    Running,
    /// Ended, and did what it was to do.
    Succeeded,
    /// Ended without success.
    Failed,
    /// Ended, or about to, because somebody asked Runway for that.
    Cancelled,
    /// Gone before its end was seen, or not to be told.
    Unknown,
}

impl Phase {
    /// Every phase there is.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Unknown];

    /// Its name.
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

    /// Whether nothing will change any more.
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
        /// Why a job is in its phase, by the strongest evidence there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name.
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
    /// The kernel killed it for exceeding its memory.
    OOMKilled,
    /// It took longer than its timeout.
    DeadlineExceeded,
    /// Its process ended with an exit code other than zero.
    NonZeroExit,
    /// Its process was ended by a signal.
    Signaled,
    /// Its process could not be started.
    StartError,
    /// What runs before it did not succeed.
    InitFailed,
    /// Its image cannot be had.
    ImagePull,
    /// The name of its image is none.
    InvalidImage,
    /// Something that its container refers to is missing or wrong.
    ConfigError,
    /// No node has what it asks for.
    Unschedulable,
    /// Its node threw it out, for exceeding its storage or because the node ran short.
    Evicted,
    /// Its node was taken from it, or turned it away at the door.
    Disrupted,
    /// The cluster does not let its pods in.
    PodsRejected,
    /// Its last retry failed, and nothing says why.
    BackoffLimitExceeded,
    /// It succeeded, though the kernel killed one of its children for exceeding its memory.
    ChildOOMKilled,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was seen, and that the verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// Where: `job/NAME`, `pod/NAME`, `event/NAME`, or a file of the kernel.
    pub object: String,
    /// Which part of it, such as `status.containerStatuses[0].state.terminated.reason`.
    pub path: String,
    /// What stands there.
    pub value: String,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// Why, where there is more to say than the phase does.
    pub reason: Option<Reason>,
    /// What happened, in a sentence.
    pub message: String,
    /// What to do, where there is something.
    pub hint: Option<String>,
    /// The exit code of the newest attempt that has one; 128 + n where signal n ended it.
    pub exit_code: Option<i32>,
    /// How many attempts there were, the present one included.
    pub attempts: u32,
    /// What the verdict rests on, the strongest first.
    pub evidence: Vec<Evidence>,
    /// When the job began: its deadline runs from here.
    #[serde(skip)]
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` where it has not, or where that was lost.
    #[serde(skip)]
    pub finished_at: Option<Timestamp>,
    /// The attempts that had a node, oldest first, to bill by.
    #[serde(skip)]
    pub runs: Vec<Attempt>,
    /// Whether it still has what it was given: it is not final, or one of its pods has not ended.
    #[serde(skip)]
    pub holds: bool,
}

impl Status {
    /// The status of a job of which nothing is known but that it was created.
    #[must_use]
    pub fn created() -> Self {
        Self::bare(Phase::Pending, "created; nothing of it has been seen yet")
    }

    /// The status of a job that left without its end being seen.
    #[must_use]
    pub fn gone() -> Self {
        Self { holds: false, ..Self::bare(Phase::Unknown, "gone before its end was seen") }
    }

    fn bare(phase: Phase, message: &str) -> Self {
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
            runs: Vec::new(),
            holds: true,
        }
    }

    /// What the job has cost so far, or in the end: each attempt from its scheduling to its container's end.
    ///
    /// An attempt that has not ended counts up to `now`; where its end was lost, to the job's own end and the grace it had
    /// after that.
    #[must_use]
    pub fn bill(&self, quote: &Quote, grace: Seconds, now: Timestamp) -> Bill {
        let time = match self.finished_at {
            Some(finished) if !self.holds => billed_time(&self.runs, finished, grace),
            _ => billed_time(&self.runs, now, Seconds::ZERO),
        };
        quote.bill(time)
    }
}
