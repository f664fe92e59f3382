//! The resources that a job has used.

use crate::cgroup::JobCgroups;
use runway_core::units::MemoryBytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The resources that a job has used, as measured by its control groups. `None` means that no group measures
/// the value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The duration from the start to the end of the job, or until now if the job is not finished.
    pub wall: Duration,
    /// The CPU time of all processes of the job.
    pub cpu: Option<Duration>,
    /// The time for which the CPU limit throttled the job, summed over all CPUs.
    pub throttled: Option<Duration>,
    /// The peak memory, page cache included.
    pub peak_memory: Option<MemoryBytes>,
}

impl Usage {
    /// Reads the current values of a job's control groups.
    pub(crate) fn measure(wall: Duration, cgroups: &JobCgroups) -> Self {
        Self {
            wall,
            cpu: cgroups.cpu_time(),
            throttled: cgroups.throttled_time(),
            peak_memory: cgroups.peak_memory(),
        }
    }
}
