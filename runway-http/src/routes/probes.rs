//! `/healthz`, `/readyz` and `/metrics`, for operators and monitoring.

use super::NO_STORE;
use crate::metrics::CONTENT_TYPE;
use crate::problem::{ApiError, ProblemKind};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The health of the server.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The server's version.
    version: &'static str,
}

/// Check whether the process responds
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "readHealth",
    tag = "probes",
    responses((status = 200, description = "The server responds", body = Health))
)]
pub(super) async fn health() -> Response {
    ([NO_STORE], Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })).into_response()
}

/// The readiness of the server.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Readiness {
    /// Always `true`. A server that is not ready responds with status 503.
    ready: bool,
    /// Whether the backend is connected. While it is not, the data in responses may be outdated.
    backend_connected: bool,
}

/// Check whether the server accepts submissions
///
/// The server becomes ready after the first complete list from the backend. It stays ready until it receives
/// a shutdown signal, even while the backend is unreachable.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readReadiness",
    tag = "probes",
    responses(
        (status = 200, description = "The server is ready", body = Readiness),
        (status = 503, description = "The server is not ready yet, or is shutting down"),
    )
)]
pub(super) async fn readiness(State(state): State<AppState>) -> Result<Response, ApiError> {
    if state.is_stopping() {
        return Err(ApiError::new(ProblemKind::NotReady, "the server is shutting down").with_retry_after(1));
    }
    if !state.plane().is_ready() {
        return Err(ApiError::new(ProblemKind::NotReady, "waiting for the first list from the backend")
            .with_retry_after(1));
    }
    let backend_connected = state.plane().watch_state().connected;
    Ok(([NO_STORE], Json(Readiness { ready: true, backend_connected })).into_response())
}

/// Read the metrics
///
/// Returns the metrics in the OpenMetrics 1.0 text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "readMetrics",
    tag = "probes",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"))
)]
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    ([NO_STORE], [(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics().encode_text()).into_response()
}
