//! How much may be held, and by how much a request would exceed it.

use crate::units::GpuCount;

/// How much is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// GPUs.
    pub gpus: u64,
    /// Jobs that have not ended.
    pub jobs: u64,
}

impl Usage {
    pub(super) const fn add(&mut self, gpus: GpuCount) {
        self.jobs += 1;
        self.gpus = self.gpus.saturating_add(gpus.units());
    }

    pub(super) const fn remove(&mut self, gpus: GpuCount) {
        self.jobs = self.jobs.saturating_sub(1);
        self.gpus = self.gpus.saturating_sub(gpus.units());
    }
}

/// What may be held, by a tenant and by all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimits {
    /// By the tenant.
    pub tenant: Usage,
    /// By all tenants together.
    pub cluster: Usage,
}

/// One quota that a request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaKind {
    /// The tenant's GPUs.
    TenantGpus,
    /// The tenant's jobs.
    TenantJobs,
    /// The cluster's GPUs.
    ClusterGpus,
    /// The cluster's jobs.
    ClusterJobs,
}

/// By how much a request would exceed a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Which quota.
    pub kind: QuotaKind,
    /// How much is asked for.
    pub requested: u64,
    /// How much is held.
    pub held: u64,
    /// How much may be held.
    pub limit: u64,
}

impl Shortage {
    /// How much must become free before the request fits.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.held.saturating_add(self.requested).saturating_sub(self.limit)
    }

    /// How much could be asked for now.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.held)
    }
}

impl QuotaLimits {
    /// Every quota that one more job with `gpus` would exceed.
    #[must_use]
    pub fn shortages(&self, tenant: Usage, cluster: Usage, gpus: GpuCount) -> Vec<Shortage> {
        let gpus = gpus.units();
        [
            (QuotaKind::TenantGpus, gpus, tenant.gpus, self.tenant.gpus),
            (QuotaKind::TenantJobs, 1, tenant.jobs, self.tenant.jobs),
            (QuotaKind::ClusterGpus, gpus, cluster.gpus, self.cluster.gpus),
            (QuotaKind::ClusterJobs, 1, cluster.jobs, self.cluster.jobs),
        ]
        .into_iter()
        // A job without GPUs is not held up by those who hold too many of them.
        .filter(|(_, requested, held, limit)| *requested > 0 && held.saturating_add(*requested) > *limit)
        .map(|(kind, requested, held, limit)| Shortage { kind, requested, held, limit })
        .collect()
    }
}
