//! The routes. Each file contains the routes of one resource or page.

mod docs;
mod jobs;
mod logs;
mod overview;
mod policy;
mod probes;
mod quotes;
mod submit;
mod tenants;

use crate::problem::{ApiError, ProblemKind};
use crate::request::layers;
use crate::state::AppState;
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use std::error::Error;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Forbids caching of a response that may be outdated at any time.
const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

const JSON_BODY: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static(runway_api::JSON));

/// Builds the router of the API, the pages and the probes.
pub fn app(state: AppState) -> Router {
    let (api, _) = api_routes().split_for_parts();
    let (probes, _) = probe_routes().split_for_parts();
    let api = layers::wrap_api(
        api.merge(docs::routes())
            .merge(overview::routes())
            .fallback(path_not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(state.clone()),
        &state,
    );
    let probes = probes.method_not_allowed_fallback(method_not_allowed).with_state(state.clone());
    api.merge(layers::wrap_probes(probes, &state))
}

/// Builds a router with only the probes and the metrics, for a listener that requires no client certificate.
pub fn ops(state: AppState) -> Router {
    let (probes, _) = probe_routes().split_for_parts();
    let probes = probes.fallback(path_not_found).method_not_allowed_fallback(method_not_allowed);
    layers::wrap_public_probes(probes.with_state(state.clone()), &state)
}

/// Returns the OpenAPI document.
#[must_use]
pub fn openapi() -> Value {
    let routes =
        OpenApiRouter::with_openapi(SharedSchemas::openapi()).merge(api_routes()).merge(probe_routes());
    crate::openapi::build_document(&routes.split_for_parts().1)
}

/// Schemas that no single route declares, because all routes use them.
#[derive(OpenApi)]
#[openapi(components(schemas(runway_api::Problem)))]
struct SharedSchemas;

fn api_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(submit::submit, jobs::list))
        .routes(routes!(jobs::read, jobs::cancel))
        .routes(routes!(logs::read))
        .routes(routes!(quotes::quote))
        .routes(routes!(tenants::read))
        .routes(routes!(policy::read))
        .routes(routes!(docs::openapi))
}

fn probe_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(probes::health))
        .routes(routes!(probes::readiness))
        .routes(routes!(probes::metrics))
}

async fn path_not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn method_not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// The error for a job that does not exist or belongs to another tenant.
fn job_not_found() -> ApiError {
    ApiError::new(
        ProblemKind::NotFound,
        "no job has this id; of the deleted jobs, only the last 10,000 are kept",
    )
}

/// Returns the parsed query parameters.
///
/// # Errors
/// An [`ApiError`] that names the invalid parameter.
fn parse_query<T>(
    query: Result<axum::extract::Query<T>, axum::extract::rejection::QueryRejection>,
) -> Result<T, ApiError> {
    query.map(|axum::extract::Query(parameters)| parameters).map_err(|rejection| {
        // Only the source of the rejection names the parameter.
        let cause = rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string);
        ApiError::new(ProblemKind::Malformed, format!("invalid query: {cause}"))
    })
}
