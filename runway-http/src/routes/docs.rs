//! `/openapi.json` and `/docs`: what the server says of itself.

use crate::openapi::document;
use crate::state::AppState;
use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use std::sync::LazyLock;
use utoipa_axum::router::OpenApiRouter;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static PAGE: LazyLock<String> = LazyLock::new(|| super::super::html::reference(&DOCUMENT).into_string());

/// The page brings its own style, and loads and runs nothing.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route("/docs", get(page))
}

/// The description of this API
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "readOpenapi",
    tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = Value))
)]
pub(super) async fn openapi() -> Response {
    ([(CACHE_CONTROL, "no-cache")], Json(&*DOCUMENT)).into_response()
}

async fn page() -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], axum::response::Html(PAGE.as_str())).into_response()
}
