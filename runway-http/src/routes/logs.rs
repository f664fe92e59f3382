//! `/v1/jobs/{id}/logs`: returns the output of a job.

use super::jobs::find_visible_job;
use super::{NO_STORE, job_not_found, parse_query};
use crate::problem::{ApiError, ProblemKind};
use crate::request::tenant::TenantScope;
use crate::state::AppState;
use crate::streaming::StreamingResponse;
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use runway_api::LOG_RECORDS;
use runway_control::LogsError;
use runway_control::backend::{LogError, LogEvent, LogOptions, LogStream, Unavailable};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// The options of a log request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
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
    framed: bool,
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
        LogQuery,
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
    scope: TenantScope,
    Path(id): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let LogQuery { follow, tail, framed } = parse_query(query)?;
    let id = find_visible_job(&state, &scope, &id)?.snapshot.id;
    let Some(permit) = state.concurrency().try_acquire_log_reader() else {
        let detail = format!(
            "{} log readers are connected, which is the limit; retry later",
            state.limits().max_log_readers
        );
        return Err(ApiError::new(ProblemKind::Overloaded, detail).with_retry_after(5));
    };
    let stream = state.plane().logs(id, LogOptions { follow, tail }).await.map_err(|error| match error {
        LogsError::NotFound => job_not_found(),
        LogsError::Log(LogError::Gone) => ApiError::new(ProblemKind::Gone, error.to_string()).with_job_id(id),
        LogsError::Log(LogError::NotStarted) => {
            ApiError::new(ProblemKind::Conflict, error.to_string()).with_job_id(id).with_retry_after(1)
        }
        LogsError::Log(LogError::Unavailable(_)) => {
            ApiError::new(ProblemKind::BackendUnavailable, error.to_string())
                .with_job_id(id)
                .with_retry_after(5)
        }
    })?;
    let headers = [(CONTENT_TYPE, if framed { LOG_RECORDS } else { "text/plain; charset=utf-8" })];
    let bytes = to_body_stream(stream, permit, state.subscribe_draining(), framed);
    Ok((Extension(StreamingResponse), [NO_STORE], headers, Body::from_stream(bytes)).into_response())
}

/// Converts the output to a body. The body ends with the output, or when the backend reports that the job
/// never started or no longer exists. It is aborted if the backend fails or the server shuts down. The permit
/// is released when the body ends or the client disconnects.
fn to_body_stream(
    stream: LogStream,
    permit: OwnedSemaphorePermit,
    mut draining: watch::Receiver<bool>,
    framed: bool,
) -> impl futures::Stream<Item = Result<Bytes, LogError>> + Send + 'static {
    let is_end =
        |event: &Result<LogEvent, LogError>| matches!(event, Err(LogError::Gone | LogError::NotStarted));
    let is_draining = draining.clone();
    let drained = Box::pin(async move {
        // `wait_for` fails only if the sender is dropped, which also means that the server is exiting.
        let _ = draining.wait_for(|draining| *draining).await;
    });
    let shutdown_error = futures::stream::once(async move {
        let error =
            || LogError::Unavailable(Unavailable::new("the server is shutting down; reconnect to resume"));
        is_draining.borrow().then(|| Err(error()))
    });
    let stream = stream.take_until(drained).chain(shutdown_error.filter_map(futures::future::ready));
    stream.take_while(move |event| futures::future::ready(!is_end(event))).try_filter_map(move |event| {
        let _permit = &permit;
        let bytes = match event {
            LogEvent::Bytes(bytes) if framed => {
                Some(Bytes::from([format!("bytes {}\n", bytes.len()).as_bytes(), &bytes].concat()))
            }
            LogEvent::Bytes(bytes) => Some(bytes),
            LogEvent::Attempt(attempt) => framed.then(|| Bytes::from(format!("attempt {attempt}\n"))),
        };
        futures::future::ok(bytes)
    })
}
