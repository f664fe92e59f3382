//! Middleware around every route: request ids, the checks of framing and host, authorization, the concurrency
//! limit, the timeout, metrics and error bodies.

use super::access;
use crate::metrics::RouteLabels;
use crate::problem::{ApiError, ProblemKind, finalize};
use crate::request_id::RequestIds;
use crate::state::AppState;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tower::Service;
use tower::layer::layer_fn;
use tracing::Instrument;

/// Wraps the routes of the API.
pub(crate) fn wrap_api(routes: Router, state: &AppState) -> Router {
    wrap(routes, state, true, state.requires_access())
}

/// Wraps the probes of the API. The concurrency limit and the timeout do not apply to them.
pub(crate) fn wrap_probes(routes: Router, state: &AppState) -> Router {
    wrap(routes, state, false, state.requires_access())
}

/// Wraps the probes of a listener that requires no client certificate.
pub(crate) fn wrap_public_probes(routes: Router, state: &AppState) -> Router {
    wrap(routes, state, false, false)
}

fn wrap(routes: Router, state: &AppState, is_limited: bool, requires_access: bool) -> Router {
    let state = state.clone();
    routes.layer(layer_fn(move |inner| Instrumented {
        state: state.clone(),
        is_limited,
        requires_access,
        inner,
    }))
}

/// The middleware around a route. It adds the request ids, rejects forbidden requests, applies the limits,
/// records metrics, and renders error bodies. It is one hand-written service, because each further service or
/// middleware function would copy and box every request.
#[derive(Clone)]
struct Instrumented<S> {
    state: AppState,
    /// Whether the concurrency limit and the request timeout apply.
    is_limited: bool,
    /// Whether a request must have an [`Access`](access::Access).
    requires_access: bool,
    inner: S,
}

impl<S> Service<Request> for Instrumented<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let ids = RequestIds::from_headers(request.headers(), self.state.next_request_id());
        let route = RouteLabels::from_request(&request);
        // A span at the info level would be formatted for every request, which takes longer than many
        // handlers. So the span has the debug level. Log lines about a request at the info level and
        // above include the request id as a field.
        let span = tracing::debug_span!(
            "request",
            id = ids.id.as_str(),
            trace = ids.trace.id(),
            method = %request.method(),
            route = route.path()
        );
        request.extensions_mut().insert(ids.clone());
        let rejection = ambiguous_framing(request.headers())
            .map(|detail| ApiError::new(ProblemKind::Malformed, detail).closing_connection())
            .or_else(|| self.state.host_rules()?.error(&request))
            .or_else(|| access::access_error(&request, self.requires_access));
        let call = match rejection {
            Some(error) => Err(error.into_response()),
            // This call only creates the future. A handler can panic only when its future is polled, and
            // `call_limited` catches such a panic.
            None => Ok(Box::pin(span.in_scope(|| self.inner.call(request)))),
        };
        let (state, is_limited) = (self.state.clone(), self.is_limited);
        let future = async move {
            let response = match call {
                Ok(call) => call_limited(&state, is_limited, &ids, call).instrument(span.clone()).await,
                Err(rejection) => rejection,
            };
            let mut response = finalize(response, &ids);
            if state.is_stopping() {
                // Ask the client not to reuse the connection. Otherwise, a request that the client sends
                // while the server closes the connection could be lost.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let (status, elapsed) = (response.status(), started.elapsed());
            state.metrics().record_request(route, status, elapsed);
            span.in_scope(|| {
                tracing::debug!(status = status.as_u16(), seconds = elapsed.as_secs_f64(), "response sent");
            });
            Ok(response)
        };
        Box::pin(future)
    }
}

/// Runs a route. Applies the concurrency limit and the timeout if `is_limited` is set. Converts a panic to an
/// error response.
async fn call_limited(
    state: &AppState,
    is_limited: bool,
    ids: &RequestIds,
    call: impl Future<Output = Result<Response, Infallible>>,
) -> Response {
    let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
    let outcome = if is_limited {
        let Some(_permit) = state.concurrency().try_acquire_request() else {
            return overloaded_response(state);
        };
        let limit = state.limits().request_timeout;
        // Most calls complete at the first poll and need no timer.
        match call.as_mut().now_or_never() {
            Some(outcome) => outcome,
            None => match tokio::time::timeout(limit, call).await {
                Ok(outcome) => outcome,
                Err(_) => return timeout_response(limit),
            },
        }
    } else {
        call.await
    };
    let panic = match outcome {
        Ok(Ok(response)) => return response,
        Ok(Err(never)) => match never {},
        Err(panic) => panic,
    };
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(
        request = ids.id.as_str(),
        trace = ids.trace.id(),
        message,
        "panic while handling a request"
    );
    ApiError::new(
        ProblemKind::Internal,
        "internal server error; search the log of the server for the id of this request",
    )
    .into_response()
}

fn overloaded_response(state: &AppState) -> Response {
    let detail = format!(
        "the server is handling {} requests, which is its limit; retry later",
        state.limits().max_requests
    );
    ApiError::new(ProblemKind::Overloaded, detail).with_retry_after(1).into_response()
}

fn timeout_response(limit: Duration) -> Response {
    let detail = format!(
        "no response within {} s; the operation may still complete, so check its result before you retry",
        limit.as_secs()
    );
    ApiError::new(ProblemKind::TimedOut, detail).with_retry_after(1).into_response()
}

/// Returns the reason to reject a request with ambiguous framing (RFC 9112, section 6). If a proxy finds
/// another end of the body than this server, the rest of the body can be smuggled in as the next request.
///
/// If a request on a connection has both headers, hyper removes `Content-Length` before this check, and
/// closes the connection after the response. The check for both headers therefore matters only for callers
/// that use the router without a connection.
fn ambiguous_framing(headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let encoding = encodings.next()?;
    if headers.contains_key(CONTENT_LENGTH) {
        return Some("the request has both `Content-Length` and `Transfer-Encoding`");
    }
    let is_single_chunked =
        encoding.as_bytes().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
    (!is_single_chunked).then_some("the `Transfer-Encoding` header must be exactly `chunked`")
}
