//! `/openapi.json` and `/docs`: the description of the API.

use crate::pages::SECURITY_POLICY;
use crate::state::AppState;
use axum::Json;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use std::sync::LazyLock;
use utoipa_axum::router::OpenApiRouter;

static DOCUMENT: LazyLock<Value> = LazyLock::new(super::openapi);
static PAGE: LazyLock<String> = LazyLock::new(|| crate::pages::reference::reference(&DOCUMENT).into_string());

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route("/docs", get(page))
}

/// Read the OpenAPI document
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
    ([(CONTENT_SECURITY_POLICY, SECURITY_POLICY)], axum::response::Html(PAGE.as_str())).into_response()
}
