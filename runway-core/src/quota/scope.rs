//! The holds of one tenant, or of all: their total, and the order in which they end.

use crate::name::JobId;
use crate::units::{GpuCount, Timestamp};
use std::collections::BTreeMap;

/// How much is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// GPUs.
    pub gpus: u64,
    /// Jobs that have not ended.
    pub jobs: u64,
}

/// A hold, by when it will be free at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeldUntil {
    /// Whose hold it is.
    pub id: JobId,
    /// When it will be free at the latest.
    pub deadline: Timestamp,
    /// How many GPUs it has.
    pub gpus: GpuCount,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    usage: Usage,
    ending: BTreeMap<(Timestamp, JobId), GpuCount>,
    /// Those of `ending` that have GPUs, so that a shortage of GPUs need not look at the others.
    ending_with_gpus: BTreeMap<(Timestamp, JobId), GpuCount>,
}

impl Scope {
    pub(super) fn add(&mut self, deadline: Timestamp, id: JobId, gpus: GpuCount) {
        self.usage.jobs += 1;
        self.usage.gpus = self.usage.gpus.saturating_add(gpus.units());
        self.ending.insert((deadline, id), gpus);
        if gpus != GpuCount::ZERO {
            self.ending_with_gpus.insert((deadline, id), gpus);
        }
    }

    pub(super) fn remove(&mut self, deadline: Timestamp, id: JobId, gpus: GpuCount) {
        if self.ending.remove(&(deadline, id)).is_none() {
            return;
        }
        self.usage.jobs = self.usage.jobs.saturating_sub(1);
        self.usage.gpus = self.usage.gpus.saturating_sub(gpus.units());
        if gpus != GpuCount::ZERO {
            self.ending_with_gpus.remove(&(deadline, id));
        }
    }

    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ending.is_empty()
    }

    /// The first holds to end that have `missing` GPUs together.
    pub(super) fn first_with_gpus(&self, missing: u64) -> Vec<HeldUntil> {
        first(&self.ending_with_gpus, missing, GpuCount::units)
    }

    /// The first `missing` holds to end.
    pub(super) fn first_jobs(&self, missing: u64) -> Vec<HeldUntil> {
        first(&self.ending, missing, |_| 1)
    }
}

fn first(
    ending: &BTreeMap<(Timestamp, JobId), GpuCount>,
    missing: u64,
    frees: impl Fn(GpuCount) -> u64,
) -> Vec<HeldUntil> {
    let mut freed = 0u64;
    let mut holds = Vec::new();
    for (&(deadline, id), &gpus) in ending {
        if freed >= missing {
            break;
        }
        freed = freed.saturating_add(frees(gpus));
        holds.push(HeldUntil { id, deadline, gpus });
    }
    holds
}
