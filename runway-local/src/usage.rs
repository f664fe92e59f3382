//! What a job really used.

use crate::cgroup::Groups;
use runway_core::units::MemoryBytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a job used, by the kernel's own count; `None` where nothing counted it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From its start to its end, or until now.
    pub wall: Duration,
    /// Time on processors, all of its processes together.
    pub cpu: Option<Duration>,
    /// Time for which it was held back at its limit.
    pub throttled: Option<Duration>,
    /// The most memory that it had at a time, its page cache included.
    pub peak_memory: Option<MemoryBytes>,
}

impl Usage {
    /// Reads what the control groups of a job have counted so far.
    pub(crate) fn measure(wall: Duration, groups: &Groups) -> Self {
        Self { wall, cpu: groups.cpu(), throttled: groups.throttled(), peak_memory: groups.peak_memory() }
    }
}
