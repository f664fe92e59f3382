//! `/v1/jobs`: lists, reads and cancels jobs.

use super::{NO_STORE, job_not_found, parse_query};
use crate::problem::{ApiError, ProblemKind};
use crate::request::tenant::TenantScope;
use crate::request_id::RequestIds;
use crate::state::AppState;
use crate::view::job_view;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use runway_api::{JobList, JobView};
use runway_control::{CancelError, JobFilter, JobRecord, PageToken};
use runway_core::status::{Phase, Status};
use runway_core::units::Timestamp;
use runway_core::{JobId, Tenant};
use serde::Deserialize;
use std::sync::Arc;

/// Default number of jobs per page.
const DEFAULT_PAGE_SIZE: u16 = 100;

/// Maximum number of jobs per page.
const MAX_PAGE_SIZE: u16 = 1000;

/// The filter and the page of a list request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Return only jobs of this tenant.
    tenant: Option<String>,
    /// Return only jobs in this phase.
    #[param(value_type = Option<runway_api::schema::Phase>)]
    phase: Option<Phase>,
    /// Return at most this many jobs. The default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Continue after an earlier page. Use the value of `continue` from that page.
    #[serde(rename = "continue")]
    after: Option<String>,
}

impl ListQuery {
    fn into_filter(self, scope: &TenantScope) -> Result<JobFilter, ApiError> {
        let malformed = |detail: String| ApiError::new(ProblemKind::Malformed, detail);
        let limit = self.limit.unwrap_or(DEFAULT_PAGE_SIZE);
        if !(1..=MAX_PAGE_SIZE).contains(&limit) {
            return Err(malformed(format!(
                "the parameter `limit` is {limit}; it must be from 1 to {MAX_PAGE_SIZE}"
            )));
        }
        let tenant = self.tenant.map(|name| name.parse::<Tenant>()).transpose();
        let tenant = tenant.map_err(|error| {
            malformed(format!("the parameter `tenant` is not a valid tenant: it {error}"))
        })?;
        if let (Some(tenant), Some(scope)) = (&tenant, &scope.0)
            && tenant != scope
        {
            return Err(malformed("the parameter `tenant` and the header `X-Tenant-ID` differ".to_owned()));
        }
        let after = self.after.as_deref().map(|text| {
            decode_token(text).ok_or_else(|| {
                malformed(
                    "the parameter `continue` is not valid; use the value from an earlier page, or omit it to start from the first page"
                        .to_owned(),
                )
            })
        });
        Ok(JobFilter {
            tenant: tenant.or_else(|| scope.0.clone()),
            phase: self.phase,
            limit: Some(limit.into()),
            after: after.transpose()?,
        })
    }
}

fn encode_token(token: PageToken) -> String {
    format!("{:x}-{}", token.created_at.nanos(), token.id)
}

fn decode_token(text: &str) -> Option<PageToken> {
    let (nanos, id) = text.split_once('-')?;
    let created_at = Timestamp::from_nanos(u64::from_str_radix(nanos, 16).ok()?);
    Some(PageToken { created_at, id: id.parse().ok()? })
}

/// List jobs
///
/// Returns the newest jobs first. The list includes the last 10,000 jobs that the backend has deleted. Pages
/// remain consistent while jobs are created and deleted. The server answers from its last snapshot and does
/// not query the backend.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    operation_id = "listJobs",
    tag = "jobs",
    params(ListQuery, ("X-Tenant-ID" = Option<String>, Header, description = "List only jobs of this tenant")),
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = 400, description = "A parameter or header is invalid"),
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    scope: TenantScope,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let filter = parse_query(query)?.into_filter(&scope)?;
    let page = state.plane().jobs(&filter);
    let now = state.plane().now();
    let items = page.items.iter().map(|record| job_view(record, now)).collect();
    Ok(([NO_STORE], Json(JobList { items, next: page.next.map(encode_token) })).into_response())
}

/// Read a job
///
/// Returns the last snapshot of the job, from the time `observed_at`. The final state of a finished job
/// remains available for a while after the backend has deleted the job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    operation_id = "readJob",
    tag = "jobs",
    params(
        ("id" = runway_api::schema::JobId, Path, description = "Id of the job"),
        ("X-Tenant-ID" = Option<String>, Header, description = "Find only jobs of this tenant"),
    ),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 400, description = "A header is invalid"),
        (status = 404, description = "The job does not exist, or belongs to another tenant"),
    )
)]
pub(super) async fn read(
    State(state): State<AppState>,
    scope: TenantScope,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let record = find_visible_job(&state, &scope, &id)?;
    Ok(([NO_STORE], Json(job_view(&record, state.plane().now()))).into_response())
}

/// Cancel a job
///
/// Returns as soon as the cancellation has started. The job is cancelled when its phase is `cancelled`. Its
/// process receives SIGTERM, and then SIGKILL after the termination grace of the policy.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{id}",
    operation_id = "cancelJob",
    tag = "jobs",
    params(
        ("id" = runway_api::schema::JobId, Path, description = "Id of the job"),
        ("X-Tenant-ID" = Option<String>, Header, description = "Find only jobs of this tenant"),
    ),
    responses(
        (status = 202, description = "The cancellation has started; the body is the last snapshot of the job", body = JobView),
        (status = 400, description = "A header is invalid"),
        (status = 404, description = "The job does not exist, or belongs to another tenant"),
        (status = 409, description = "The job is already finished, is still being created, or has left the backend"),
    )
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    Extension(request): Extension<RequestIds>,
    scope: TenantScope,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id: JobId = id.parse().map_err(|_| job_not_found())?;
    let result = state.plane().cancel_in_scope(id, scope.0.as_ref()).await;
    let record = result.map_err(|error| match error {
        CancelError::NotFound => job_not_found(),
        CancelError::BeingCreated => {
            ApiError::new(ProblemKind::Conflict, error.to_string()).with_job_id(id).with_retry_after(1)
        }
        CancelError::AlreadyFinished(record) => {
            ApiError::new(ProblemKind::Conflict, finished_detail(&record.snapshot.status)).with_job_id(id)
        }
        CancelError::Removed(record) => {
            let phase = record.snapshot.status.phase;
            let detail = format!("the backend no longer has the job; its last known phase is {phase}");
            ApiError::new(ProblemKind::Conflict, detail).with_job_id(id)
        }
        CancelError::Unavailable(cause) => {
            let detail = format!("{cause}; it is safe to retry the cancellation");
            ApiError::new(ProblemKind::BackendUnavailable, detail).with_job_id(id).with_retry_after(5)
        }
    })?;
    tracing::info!(
        job = %id,
        tenant = %record.snapshot.tenant,
        request = request.id.as_str(),
        trace = request.trace.id(),
        "cancelled"
    );
    Ok((StatusCode::ACCEPTED, [NO_STORE], Json(job_view(&record, state.plane().now()))).into_response())
}

/// Returns the reason that a finished job cannot be cancelled.
fn finished_detail(status: &Status) -> String {
    let reason = match status.phase {
        Phase::Cancelled => "the job was already cancelled".to_owned(),
        phase => format!("the job is already finished: it is {phase}"),
    };
    let ended = status.finished_at.map(|time| format!("; it ended at {time}")).unwrap_or_default();
    format!("{reason}{ended}")
}

/// Returns the job if it exists and the request can see its tenant.
pub(super) fn find_visible_job(
    state: &AppState,
    scope: &TenantScope,
    id: &str,
) -> Result<Arc<JobRecord>, ApiError> {
    let record = id.parse::<JobId>().ok().and_then(|id| state.plane().job(id));
    record.filter(|record| scope.includes(record.snapshot.tenant.as_str())).ok_or_else(job_not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_token_round_trips() {
        let token = PageToken { created_at: Timestamp::from_nanos(u64::MAX), id: JobId::from_random(7) };
        assert_eq!(decode_token(&encode_token(token)), Some(token));
        for bad in
            ["", "-", "1", "1-short", "g-000000000000", "1-000000000000-", "11111111111111111-000000000000"]
        {
            assert_eq!(decode_token(bad), None, "{bad}");
        }
    }
}
