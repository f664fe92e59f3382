//! `/v1/quotes`: evaluates a job without creating it.

use super::{JSON_BODY, NO_STORE, parse_query};
use crate::problem::ApiError;
use crate::request::body::JobBody;
use crate::request::tenant::TenantHeader;
use crate::state::AppState;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use runway_api::{DryRunResult, Manifest};
use runway_core::JobId;
use serde::Deserialize;

/// The options of a quote request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QuoteQuery {
    /// Also return the manifest of the objects that a submission would create.
    #[serde(default)]
    #[param(default = false)]
    manifest: bool,
}

/// Request a quote
///
/// Checks and prices a job against the policy, and against the current usage of the tenant and of all tenants
/// together. The quote changes nothing: it uses no rate limit and holds no quota. The response is the same as
/// the output of `runway check -o json` for one document.
#[utoipa::path(
    post,
    path = "/v1/quotes",
    operation_id = "quote",
    tag = "quotes",
    params(QuoteQuery, ("X-Tenant-ID" = Option<String>, Header, description = "Tenant of the job, if the job does not set it")),
    request_body(
        content((runway_api::schema::JobSpec = "application/json"), (runway_api::schema::JobSpec = "application/yaml"))
    ),
    responses(
        (status = 200, description = "The result, for an admitted and for a refused job", body = runway_api::schema::DryRunResult),
        (status = 400, description = "The body or a parameter is invalid"),
        (status = 408, description = "The body did not arrive in time"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is neither JSON nor YAML"),
    )
)]
pub(super) async fn quote(
    State(state): State<AppState>,
    TenantHeader(tenant): TenantHeader,
    query: Result<Query<QuoteQuery>, QueryRejection>,
    body: JobBody,
) -> Result<Response, ApiError> {
    let QuoteQuery { manifest } = parse_query(query)?;
    let decision = state.service().preview(&body.0, tenant);
    let mut result = DryRunResult::new("-", 0, &decision);
    if let (true, Some(admitted)) = (manifest, decision.admitted()) {
        // The id of a job is generated at its submission, so the manifest contains a placeholder.
        result.manifest = Some(Manifest::redacted(admitted, JobId::from_random(0), &state.plane().policy()));
    }
    let mut body = Vec::with_capacity(1024);
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut body, &result);
    Ok(([NO_STORE, JSON_BODY], body).into_response())
}
