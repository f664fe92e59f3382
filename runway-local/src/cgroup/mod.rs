//! Control groups: each job has one in every hierarchy that limits or measures it.
//!
//! Version 2 is used for the controllers that it has, version 1 for the others. A limit of CPU, memory or
//! processes that cannot be set is always reported. A failure to restrict devices is not reported, because
//! the mounts of the sandbox restrict them too.
//!
//! A version 2 hierarchy without controllers is not used. It could kill all processes of a job at once, but
//! the end of the job's PID namespace does that too. Joining its group would take longer than all other steps
//! of a start together.

mod group;
mod layout;

pub(crate) use group::JobCgroups;
pub(crate) use layout::CgroupLayout;

use runway_core::units::{CpuMillis, MemoryBytes};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The limits of a job's control groups.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub cpu: CpuMillis,
    pub memory: MemoryBytes,
    /// Maximum number of processes and threads.
    pub pids: u64,
    /// The major and minor numbers of the devices that the job can use, in addition to the default ones.
    pub devices: Vec<(u32, u32)>,
}

/// The version of a control group hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupVersion {
    V1,
    V2,
}

/// A control group controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Controller {
    Cpu,
    Cpuacct,
    Memory,
    Pids,
    Devices,
}

impl Controller {
    const ALL: [Self; 5] = [Self::Cpu, Self::Cpuacct, Self::Memory, Self::Pids, Self::Devices];
    /// The controllers without which the start of a job fails, unless `best_effort` is set.
    const REQUIRED: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Devices => "devices",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A limit that cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnenforcedLimit {
    /// The controller of the limit.
    pub limit: Controller,
    /// The reason.
    pub reason: String,
}

/// Limits that cannot be enforced on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotEnforced {
    /// Each limit, with the reason.
    pub limits: Vec<String>,
    /// Advice for an unprivileged user, if there is any.
    pub advice: Option<&'static str>,
}

impl fmt::Display for NotEnforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot enforce limits: {}", self.limits.join("; "))?;
        self.advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl fmt::Display for UnenforcedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.limit, self.reason)
    }
}
