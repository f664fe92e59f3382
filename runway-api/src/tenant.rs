//! The quota usage and the remaining rate of a tenant.

use serde::{Deserialize, Serialize};

/// The quota usage and the remaining rate of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Tenant))]
pub struct TenantView {
    /// The tenant's name.
    pub tenant: String,
    /// The usage of the GPU quota.
    pub gpus: QuotaUsage,
    /// The usage of the job quota.
    pub jobs: QuotaUsage,
    /// The remaining submissions of the rate limit.
    pub rate: RateRemaining,
}

/// The usage of one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaUsage {
    /// The amount that the tenant's jobs hold.
    pub held: u64,
    /// The maximum amount.
    pub limit: u64,
}

/// The remaining submissions of a tenant's rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateRemaining {
    /// The number of submissions that are admitted at this moment.
    pub remaining: u32,
    /// The time until the full burst is available again, in seconds, rounded up.
    pub reset_seconds: u64,
}
