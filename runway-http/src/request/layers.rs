//! What wraps every route: its id, its place among the others, the time it may take, and what is noted of it.

use super::access;
use super::id::{RequestId, TRACEPARENT, Trace};
use crate::metrics::Route;
use crate::problem::{Fault, Kind, complete};
use crate::state::AppState;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use runway_api::REQUEST_HEADER;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// What a layer knows. It is one layer, since each one more copies and boxes every request.
#[derive(Clone)]
struct Layer {
    state: AppState,
    /// Whether requests need room, and have only so much time.
    is_bounded: bool,
}

/// Wraps the routes of the API.
pub(crate) fn wrap(routes: Router, state: &AppState) -> Router {
    routes.layer(from_fn_with_state(Layer { state: state.clone(), is_bounded: true }, observe))
}

/// Wraps the probes: no lack of room keeps them from being answered.
pub(crate) fn wrap_probes(routes: Router, state: &AppState) -> Router {
    routes.layer(from_fn_with_state(Layer { state: state.clone(), is_bounded: false }, observe))
}

/// Gives a request its id, notes what becomes of it, and makes the body of a fault.
async fn observe(State(layer): State<Layer>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let state = &layer.state;
    let drawn = state.draw();
    let id = RequestId::of(request.headers(), drawn);
    let trace = Trace::of(request.headers(), drawn);
    let route = Route::of(&request);
    let span = tracing::info_span!(
        "request",
        id = id.as_str(),
        trace = trace.id(),
        method = %request.method(),
        route = route.path()
    );
    request.extensions_mut().insert(id.clone());
    let response = answer(&layer, request, next).instrument(span.clone()).await;
    let mut response = complete(response, id.as_str());
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(REQUEST_HEADER), id.header());
    headers.insert(TRACEPARENT, trace.header());
    if state.is_stopping() {
        // Who keeps the connection would lose the request that crosses with its end.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (status, took) = (response.status(), began.elapsed());
    state.metrics().answered(route, status, took);
    span.in_scope(|| tracing::debug!(status = status.as_u16(), seconds = took.as_secs_f64(), "answered"));
    response
}

async fn answer(layer: &Layer, request: Request, next: Next) -> Response {
    if let Some(detail) = ambiguous(request.headers()) {
        return Fault::new(Kind::Malformed, detail).close().into_response();
    }
    if let Some(fault) = access::refusal(&request) {
        return fault.into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = if layer.is_bounded {
        let Some(_room) = layer.state.capacity().request() else { return overloaded(&layer.state) };
        let limit = layer.state.limits().request_timeout;
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => return timed_out(limit),
        }
    } else {
        answer.await
    };
    answer.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(message, "a request made the server panic");
        Fault::new(Kind::Internal, "the server failed; its log says why, under the id of this request")
            .into_response()
    })
}

fn overloaded(state: &AppState) -> Response {
    let detail =
        format!("the server is busy with {} requests; try again in a moment", state.limits().requests);
    Fault::new(Kind::Overloaded, detail).retry_after(1).into_response()
}

fn timed_out(limit: Duration) -> Response {
    let detail = format!(
        "there was no answer within {} s; what was begun goes on, so look before you repeat it",
        limit.as_secs()
    );
    Fault::new(Kind::TimedOut, detail).retry_after(1).into_response()
}

/// Where a proxy in front could see another end of the body, it would take what is left for the next request (RFC 9112, 6).
/// This server's own connections forget a length beside chunks before this is asked, and end after the answer.
fn ambiguous(headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let encoding = encodings.next()?;
    if headers.contains_key(CONTENT_LENGTH) {
        return Some("the request has both `Content-Length` and `Transfer-Encoding`");
    }
    let is_plain = encoding.as_bytes().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
    (!is_plain).then_some("the header `Transfer-Encoding` may only be `chunked`, once")
}
