//! `/v1/jobs/{id}/logs`: returns the output of a job.

use super::jobs::visible;
use super::{NO_STORE, no_such_job, parameters};
use crate::problem::{Fault, Kind};
use crate::request::tenant::Scope;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use runway_api::LOG;
use runway_control::LogsError;
use runway_control::backend::{LogError, LogEvent, LogOptions, LogStream, Unavailable};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// The options of a log request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct What {
    /// Keep sending new output, including the output of retries, until the job finishes.
    #[serde(default)]
    #[param(default = false)]
    follow: bool,
    /// Return only the last N lines of the existing output.
    #[param(value_type = Option<u64>, maximum = 4294967295_u32)]
    tail: Option<u32>,
    /// Mark which attempt printed which output, so that a client can resume after an interruption without
    /// reading output twice. The response then has the type `application/vnd.runway.log`. A line `attempt N`
    /// starts the output of an attempt, and a line `bytes N` precedes N bytes of output.
    #[serde(default)]
    #[param(default = false)]
    marked: bool,
}

/// Read the output of a job
///
/// Returns the output of the newest attempt without changes, including bytes that are not UTF-8. With
/// `follow`, the response ends when the job finishes. If the stream is interrupted before that, the response
/// has no last chunk.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/logs",
    operation_id = "readLogs",
    tag = "jobs",
    params(
        ("id" = runway_api::schema::JobId, Path, description = "Id of the job"),
        What,
        ("X-Tenant-ID" = Option<String>, Header, description = "Find only jobs of this tenant"),
    ),
    responses(
        (status = 200, description = "The output", content((String = "text/plain"), (String = "application/vnd.runway.log"))),
        (status = 400, description = "A parameter or header is invalid"),
        (status = 404, description = "The job does not exist, or belongs to another tenant"),
        (status = 409, description = "The job has not started, so it has no output yet"),
        (status = 410, description = "The backend no longer has the output of the job"),
    )
)]
pub(super) async fn read(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    query: Result<Query<What>, QueryRejection>,
) -> Result<Response, Fault> {
    let What { follow, tail, marked } = parameters(query)?;
    let id = visible(&state, &scope, &id)?.seen.id;
    let Some(room) = state.capacity().log_reader() else {
        let detail = format!("{} log readers are connected, which is the limit; retry later", state.limits().log_readers);
        return Err(Fault::new(Kind::Overloaded, detail).retry_after(5));
    };
    let stream = state.plane().logs(id, LogOptions { follow, tail }).await.map_err(|error| match error {
        LogsError::NotFound => no_such_job(),
        LogsError::Log(LogError::Gone) => Fault::new(Kind::Gone, error.to_string()).job(id),
        LogsError::Log(LogError::NotStarted) => {
            Fault::new(Kind::Conflict, error.to_string()).job(id).retry_after(1)
        }
        LogsError::Log(LogError::Unavailable(_)) => {
            Fault::new(Kind::BackendUnavailable, error.to_string()).job(id).retry_after(5)
        }
    })?;
    let headers = [(CONTENT_TYPE, if marked { LOG } else { "text/plain; charset=utf-8" })];
    let bytes = bytes_of(stream, room, state.draining(), marked);
    Ok(([NO_STORE], headers, Body::from_stream(bytes)).into_response())
}

/// Converts the output to a body. The body ends if the job never started or no longer exists. It is aborted
/// if the backend fails or the server shuts down. The permit is released when the body ends or the client
/// disconnects.
fn bytes_of(
    stream: LogStream,
    room: OwnedSemaphorePermit,
    mut draining: watch::Receiver<bool>,
    marked: bool,
) -> impl futures::Stream<Item = Result<Bytes, LogError>> + Send + 'static {
    let ends =
        |event: &Result<LogEvent, LogError>| matches!(event, Err(LogError::Gone | LogError::NotStarted));
    let end = draining.clone();
    let drained = Box::pin(async move {
        // The sender exists until the server exits.
        let _ = draining.wait_for(|draining| *draining).await;
    });
    let broken_off = futures::stream::once(async move {
        let error = || LogError::Unavailable(Unavailable::new("the server is shutting down; reconnect to resume"));
        end.borrow().then(|| Err(error()))
    });
    let stream = stream.take_until(drained).chain(broken_off.filter_map(futures::future::ready));
    stream.take_while(move |event| futures::future::ready(!ends(event))).try_filter_map(move |event| {
        let _room = &room;
        let bytes = match event {
            LogEvent::Bytes(bytes) if marked => {
                Some(Bytes::from([format!("bytes {}\n", bytes.len()).as_bytes(), &bytes].concat()))
            }
            LogEvent::Bytes(bytes) => Some(bytes),
            LogEvent::Attempt(attempt) => marked.then(|| Bytes::from(format!("attempt {attempt}\n"))),
        };
        futures::future::ok(bytes)
    })
}
