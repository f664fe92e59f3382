//! `/v1/tenants/{tenant}`: returns the usage of a tenant.

use super::NO_STORE;
use crate::problem::{ApiError, ProblemKind};
use crate::request::rate_limit;
use crate::request::tenant::TenantScope;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use runway_api::{QuotaUsage, RateRemaining, TenantView};
use runway_core::Tenant;

/// Read the usage of a tenant
///
/// Returns the GPUs and jobs that the tenant holds, its quota, and the rest of its rate limit.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}",
    operation_id = "readTenant",
    tag = "tenants",
    params(
        ("tenant" = String, Path, description = "Name of the tenant"),
        ("X-Tenant-ID" = Option<String>, Header, description = "Find only this tenant"),
    ),
    responses(
        (status = 200, description = "The usage and limits of the tenant", body = TenantView),
        (status = 400, description = "A header is invalid"),
        (status = 404, description = "The name is not a valid or permitted tenant, or differs from the header"),
    )
)]
pub(super) async fn read(
    State(state): State<AppState>,
    scope: TenantScope,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let unknown = |detail: String| ApiError::new(ProblemKind::NotFound, detail);
    let tenant: Tenant =
        name.parse().map_err(|error| unknown(format!("not a valid tenant: the name {error}")))?;
    if !state.plane().policy().accepts_tenant(tenant.as_str()) || !scope.includes(tenant.as_str()) {
        return Err(unknown("no such tenant".to_owned()));
    }
    let usage = state.plane().usage(tenant.as_str());
    let view = TenantView {
        tenant: tenant.to_string(),
        gpus: QuotaUsage { held: usage.held.gpus, limit: usage.max_gpus },
        jobs: QuotaUsage { held: usage.held.jobs, limit: usage.max_jobs.into() },
        rate: RateRemaining {
            remaining: usage.rate_remaining.requests,
            reset_seconds: rate_limit::seconds_until(usage.rate_remaining.full_at, state.plane().now()),
        },
    };
    Ok(([NO_STORE], Json(view)).into_response())
}
