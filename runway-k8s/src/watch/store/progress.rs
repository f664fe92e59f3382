//! The progress of the store through the first lists.

/// The progress of a store, from an empty one to one that follows the cluster.
///
/// Jobs and pods are listed independently. Each later list of Jobs is complete on its own, because the pods
/// are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Neither the Jobs nor the pods have been listed.
    #[default]
    Empty,
    /// The Jobs have been listed. The list is reported when the pods have been listed too.
    AwaitingPods,
    /// The pods have been listed. The list is reported when the Jobs have been listed too.
    AwaitingJobs,
    /// Both have been listed, and the caller has not taken the first list of jobs. Changes are reported.
    Listed,
    /// The caller has taken the first list of jobs. Changes are reported.
    Following,
}

/// A step that can change the [`Progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Milestone {
    /// A list of Jobs is complete.
    JobsListed,
    /// A list of pods is complete.
    PodsListed,
    /// The caller has taken the list of jobs.
    ListTaken,
    /// A relist of everything begins.
    Relist,
}

impl Progress {
    pub(super) const fn after(self, milestone: Milestone) -> Self {
        use Milestone::{JobsListed, ListTaken, PodsListed, Relist};
        match (self, milestone) {
            (Self::Empty | Self::AwaitingPods, Relist) | (Self::Empty, ListTaken) => Self::Empty,
            (Self::Empty | Self::AwaitingPods, JobsListed) | (Self::AwaitingPods, ListTaken) => {
                Self::AwaitingPods
            }
            (Self::Empty | Self::AwaitingJobs, PodsListed) => Self::AwaitingJobs,
            // The pods stay known during the relist.
            (Self::AwaitingJobs, ListTaken | Relist) => Self::AwaitingJobs,
            (Self::AwaitingPods, PodsListed) | (Self::AwaitingJobs, JobsListed) => Self::Listed,
            (Self::Listed, JobsListed | PodsListed | Relist) => Self::Listed,
            (Self::Listed, ListTaken) => Self::Following,
            (Self::Following, JobsListed | PodsListed | ListTaken | Relist) => Self::Following,
        }
    }

    /// Returns `true` if Jobs and pods have been listed, so that changes are reported.
    pub(super) const fn is_ready(self) -> bool {
        match self {
            Self::Empty | Self::AwaitingPods | Self::AwaitingJobs => false,
            Self::Listed | Self::Following => true,
        }
    }
}
