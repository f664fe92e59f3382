//! `/v1/policy`: the policy in force.

use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use runway_api::YAML;

/// Read the policy in force
///
/// Loadable again. `ETag` is its digest: the one in every decision that was made by it.
#[utoipa::path(
    get,
    path = "/v1/policy",
    operation_id = "readPolicy",
    tag = "policy",
    params(("If-None-Match" = Option<String>, Header, description = "The digest that is known already")),
    responses(
        (status = 200, description = "The policy", content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml")), headers(
            ("ETag" = String, description = "Its digest"),
        )),
        (status = 304, description = "It is the one that is known already"),
    )
)]
pub(super) async fn read(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let policy = state.plane().policy();
    let tag = format!("\"{}\"", policy.digest());
    let always = [(ETAG, tag.as_str()), (CACHE_CONTROL, "no-cache"), (VARY, "accept")];
    if is_known(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains(YAML)
        && let Ok(text) = serde_saphyr::to_string(&policy.canonical())
    {
        return (always, [(CONTENT_TYPE, YAML)], text).into_response();
    }
    (always, Json(policy.canonical())).into_response()
}

/// Whether one of the tags is this one; a weak tag of it will do (RFC 9110, 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}
