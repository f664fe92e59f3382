//! What a tenant uses of what it may.

use serde::{Deserialize, Serialize};

/// What a tenant uses of what it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Tenant))]
pub struct TenantView {
    /// The tenant.
    pub tenant: String,
    /// Its GPUs.
    pub gpus: Share,
    /// Its jobs.
    pub jobs: Share,
    /// How fast it may still submit.
    pub rate: RateLeft,
}

/// How much of something is held, and how much may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Share {
    /// How much is held.
    pub held: u64,
    /// How much may be.
    pub limit: u64,
}

/// What is left of a tenant's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLeft {
    /// How many submissions may pass right now.
    pub remaining: u32,
    /// In how many seconds, rounded up, its whole burst may pass again.
    pub reset_seconds: u64,
}
