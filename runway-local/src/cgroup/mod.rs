//! Control groups: one of each job in every hierarchy that limits, counts or kills.
//!
//! Version 2 is used where it has the controllers, version 1 where it has not. What cannot be limited is told, never passed
//! over. A version 2 tree without controllers could still kill a whole group at once; but so does the end of a job's process
//! namespace, and to join one more group would take longer than all else that starts a job.

mod group;
mod layout;

pub(crate) use group::Groups;
pub(crate) use layout::Layout;

use runway_core::units::{CpuMillis, MemoryBytes};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a group is to keep its processes to.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub cpu: CpuMillis,
    pub memory: MemoryBytes,
    /// How many processes and threads there may be.
    pub pids: u64,
    /// The devices it may use, beside the harmless ones: major and minor number.
    pub devices: Vec<(u32, u32)>,
}

/// A version of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    V1,
    V2,
}

/// What does the work.
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
    /// Without these a limit is none.
    const LIMITING: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

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

/// A limit that is not kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Which.
    pub limit: Controller,
    /// Why not.
    pub why: String,
}

/// Limits that cannot be enforced here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotEnforced {
    /// Each limit, and why not.
    pub missing: Vec<String>,
    /// What a user without rights can do, where there is something.
    pub advice: Option<&'static str>,
}

impl fmt::Display for NotEnforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits cannot be enforced here: {}", self.missing.join("; "))?;
        self.advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.limit, self.why)
    }
}
