//! `/v1/policy`: returns the active policy.

use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use runway_api::YAML;

/// Read the active policy
///
/// The server can load the response as a policy file. `ETag` contains the digest of the policy, which is also
/// recorded in each decision under this policy.
#[utoipa::path(
    get,
    path = "/v1/policy",
    operation_id = "readPolicy",
    tag = "policy",
    params(("If-None-Match" = Option<String>, Header, description = "Digest of the policy that the client has, as an entity tag")),
    responses(
        (status = 200, description = "The policy", content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml")), headers(
            ("ETag" = String, description = "Digest of the policy"),
        )),
        (status = 304, description = "The client has this policy already"),
    )
)]
pub(super) async fn read(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let policy = state.plane().policy();
    let tag = format!("\"{}\"", policy.digest());
    let common_headers = [(ETAG, tag.as_str()), (CACHE_CONTROL, "no-cache"), (VARY, "accept")];
    if matches_etag(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, common_headers).into_response();
    }
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains(YAML)
        && let Ok(text) = serde_saphyr::to_string(&policy.canonical())
    {
        return (common_headers, [(CONTENT_TYPE, YAML)], text).into_response();
    }
    (common_headers, Json(policy.canonical())).into_response()
}

/// Returns whether the header `If-None-Match` contains this tag or `*`. The comparison is weak (RFC 9110,
/// section 13.1.2).
fn matches_etag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|value| value == "*" || value.trim_start_matches("W/") == tag)
}
