//! Quota limits, and the check of a request against them.

use crate::units::GpuCount;

/// A number of GPUs and jobs: either those that are held, or the maximum that may be held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Number of GPUs.
    pub gpus: u64,
    /// Number of jobs that occupy resources.
    pub jobs: u64,
}

/// The exact sums of a set of holds. The number of GPUs of an observed job can be any `u64`, so the sum needs
/// a larger type: a sum that saturates would stay wrong after the job has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    gpus: u128,
    pub(super) jobs: u64,
}

impl Totals {
    pub(super) fn add(&mut self, gpus: GpuCount) {
        self.jobs = self.jobs.saturating_add(1);
        self.gpus = self.gpus.saturating_add(gpus.units().into());
    }

    pub(super) fn remove(&mut self, gpus: GpuCount) {
        self.jobs = self.jobs.saturating_sub(1);
        self.gpus = self.gpus.saturating_sub(gpus.units().into());
    }

    /// Returns the usage. A number of GPUs that does not fit is `u64::MAX`.
    pub(super) fn usage(self) -> Usage {
        Usage { gpus: u64::try_from(self.gpus).unwrap_or(u64::MAX), jobs: self.jobs }
    }
}

/// The limits of one tenant, and of all tenants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimits {
    /// The quota of the tenant.
    pub tenant: Usage,
    /// The capacity, shared by all tenants.
    pub cluster: Usage,
}

/// The kind of a quota or capacity limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaKind {
    /// GPUs of one tenant.
    TenantGpus,
    /// Jobs of one tenant.
    TenantJobs,
    /// GPUs of all tenants together.
    ClusterGpus,
    /// Jobs of all tenants together.
    ClusterJobs,
}

/// A quota that a request exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The kind of quota.
    pub kind: QuotaKind,
    /// The amount that the request needs.
    pub requested: u64,
    /// The amount that is held.
    pub held: u64,
    /// The maximum that may be held.
    pub limit: u64,
}

impl QuotaExceeded {
    /// Returns the amount that must be released before the request fits.
    #[must_use]
    pub const fn excess(&self) -> u64 {
        self.held.saturating_add(self.requested).saturating_sub(self.limit)
    }

    /// Returns the amount that is not held: the largest request that would fit at this time.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.limit.saturating_sub(self.held)
    }
}

impl QuotaLimits {
    /// Returns every quota that one more job with `gpus` GPUs would exceed.
    #[must_use]
    pub fn exceeded(&self, tenant: Usage, cluster: Usage, gpus: GpuCount) -> Vec<QuotaExceeded> {
        let gpus = gpus.units();
        [
            (QuotaKind::TenantGpus, gpus, tenant.gpus, self.tenant.gpus),
            (QuotaKind::TenantJobs, 1, tenant.jobs, self.tenant.jobs),
            (QuotaKind::ClusterGpus, gpus, cluster.gpus, self.cluster.gpus),
            (QuotaKind::ClusterJobs, 1, cluster.jobs, self.cluster.jobs),
        ]
        .into_iter()
        // A job without GPUs never exceeds a GPU quota, even if other jobs hold more GPUs than the limit.
        .filter(|(_, requested, held, limit)| *requested > 0 && held.saturating_add(*requested) > *limit)
        .map(|(kind, requested, held, limit)| QuotaExceeded { kind, requested, held, limit })
        .collect()
    }
}
