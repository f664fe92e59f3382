//! Middleware around every route: request ids, authorization, the concurrency limit, the timeout, metrics and
//! error bodies.

use super::access;
use crate::metrics::Route;
use crate::problem::{Fault, Kind, complete};
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
pub(crate) fn wrap(routes: Router, state: &AppState) -> Router {
    let state = state.clone();
    routes.layer(layer_fn(move |inner| Observed { state: state.clone(), is_bounded: true, inner }))
}

/// Wraps the probes. The concurrency limit and the timeout do not apply to them.
pub(crate) fn wrap_probes(routes: Router, state: &AppState) -> Router {
    let state = state.clone();
    routes.layer(layer_fn(move |inner| Observed { state: state.clone(), is_bounded: false, inner }))
}

/// The middleware around a route. It adds the request ids, records metrics, and renders error bodies. It is
/// one hand-written service, because each further service or middleware function would copy and box every
/// request.
#[derive(Clone)]
struct Observed<S> {
    state: AppState,
    /// Whether the concurrency limit and the request timeout apply.
    is_bounded: bool,
    inner: S,
}

impl<S> Service<Request> for Observed<S>
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
        let began = Instant::now();
        let ids = RequestIds::of(request.headers(), self.state.draw());
        let route = Route::of(&request);
        // A span at the info level would be formatted for every request, which takes longer than many
        // handlers. Log lines at higher levels include the request id themselves.
        let span = tracing::debug_span!(
            "request",
            id = ids.id.as_str(),
            trace = ids.trace.id(),
            method = %request.method(),
            route = route.path()
        );
        request.extensions_mut().insert(ids.clone());
        let refused = ambiguous(request.headers())
            .map(|detail| Fault::new(Kind::Malformed, detail).close())
            .or_else(|| access::refusal(&request));
        let begun = match refused {
            Some(fault) => Err(fault.into_response()),
            // Calling the service only creates the future. A handler can panic only when its future is
            // polled.
            None => Ok(Box::pin(span.in_scope(|| self.inner.call(request)))),
        };
        let (state, is_bounded) = (self.state.clone(), self.is_bounded);
        let answer = async move {
            let response = match begun {
                Ok(answer) => answered(&state, is_bounded, &ids, answer).instrument(span.clone()).await,
                Err(refusal) => refusal,
            };
            let mut response = complete(response, &ids);
            if state.is_stopping() {
                // Otherwise, a client that reuses the connection could lose a request that it sends while the
                // server closes the connection.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let (status, took) = (response.status(), began.elapsed());
            state.metrics().answered(route, status, took);
            span.in_scope(|| {
                tracing::debug!(status = status.as_u16(), seconds = took.as_secs_f64(), "response sent");
            });
            Ok(response)
        };
        Box::pin(answer)
    }
}

/// Runs a route within the concurrency limit and the timeout. Converts a panic to an error response.
async fn answered(
    state: &AppState,
    is_bounded: bool,
    ids: &RequestIds,
    answer: impl Future<Output = Result<Response, Infallible>>,
) -> Response {
    let mut answer = pin!(AssertUnwindSafe(answer).catch_unwind());
    let answer = if is_bounded {
        let Some(_room) = state.capacity().request() else { return overloaded(state) };
        let limit = state.limits().request_timeout;
        // Most calls complete at the first poll and need no timer.
        match answer.as_mut().now_or_never() {
            Some(answer) => answer,
            None => match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer,
                Err(_) => return timed_out(limit),
            },
        }
    } else {
        answer.await
    };
    let panic = match answer {
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
    Fault::new(Kind::Internal, "internal server error; search the log of the server for the id of this request")
        .into_response()
}

fn overloaded(state: &AppState) -> Response {
    let detail =
        format!("the server is handling {} requests, which is its limit; retry later", state.limits().requests);
    Fault::new(Kind::Overloaded, detail).retry_after(1).into_response()
}

fn timed_out(limit: Duration) -> Response {
    let detail = format!(
        "no response within {} s; the operation may still complete, so check its result before you retry",
        limit.as_secs()
    );
    Fault::new(Kind::TimedOut, detail).retry_after(1).into_response()
}

/// Returns the reason to reject a request with ambiguous framing (RFC 9112, section 6). If a proxy finds
/// another end of the body than this server, the rest of the body can be smuggled in as the next request.
///
/// For its own connections, hyper drops a `Content-Length` next to chunks before this check, and closes the
/// connection after the response.
fn ambiguous(headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let encoding = encodings.next()?;
    if headers.contains_key(CONTENT_LENGTH) {
        return Some("the request has both `Content-Length` and `Transfer-Encoding`");
    }
    let is_plain = encoding.as_bytes().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
    (!is_plain).then_some("the `Transfer-Encoding` header must be exactly `chunked`")
}
