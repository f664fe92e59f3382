//! The routes, one file each.

mod docs;
mod jobs;
mod logs;
mod overview;
mod policy;
mod probes;
mod quotes;
mod submit;
mod tenants;

use crate::problem::{Fault, Kind};
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

/// What is true only now.
const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

const JSON_BODY: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static(runway_api::JSON));

/// The API as a router, to be served or called as it is.
pub fn app(state: AppState) -> Router {
    let (api, _) = api().split_for_parts();
    let (probes, _) = probes().split_for_parts();
    let api = layers::wrap(
        api.merge(docs::routes())
            .merge(overview::routes())
            .fallback(nothing_here)
            .method_not_allowed_fallback(no_such_method)
            .with_state(state.clone()),
        &state,
    );
    let probes = probes.method_not_allowed_fallback(no_such_method).with_state(state.clone());
    api.merge(layers::wrap_probes(probes, &state))
}

/// The probes and the metrics alone, for an address that asks for no certificate.
pub fn ops(state: AppState) -> Router {
    let (probes, _) = probes().split_for_parts();
    let probes = probes.fallback(nothing_here).method_not_allowed_fallback(no_such_method);
    layers::wrap_probes(probes.with_state(state.clone()), &state)
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> Value {
    let routes = OpenApiRouter::with_openapi(Shared::openapi()).merge(api()).merge(probes());
    crate::openapi::document(&routes.split_for_parts().1)
}

/// What no route names, since all of them have it.
#[derive(OpenApi)]
#[openapi(components(schemas(runway_api::Problem)))]
struct Shared;

fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(submit::submit, jobs::list))
        .routes(routes!(jobs::read, jobs::cancel))
        .routes(routes!(logs::read))
        .routes(routes!(quotes::quote))
        .routes(routes!(tenants::read))
        .routes(routes!(policy::read))
        .routes(routes!(docs::openapi))
}

fn probes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(probes::health))
        .routes(routes!(probes::readiness))
        .routes(routes!(probes::metrics))
}

async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn no_such_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// There is no such job, or it is another tenant's.
fn no_such_job() -> Fault {
    Fault::new(
        Kind::NotFound,
        "there is no job of this id; of those that have left, the last 10,000 are remembered",
    )
}

/// The parameters of a query, or what is wrong with them.
fn parameters<T>(
    query: Result<axum::extract::Query<T>, axum::extract::rejection::QueryRejection>,
) -> Result<T, Fault> {
    query.map(|axum::extract::Query(parameters)| parameters).map_err(|rejection| {
        // The source names the parameter; the rejection only says that there is one.
        let cause = rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string);
        Fault::new(Kind::Malformed, format!("the query cannot be understood: {cause}"))
    })
}
