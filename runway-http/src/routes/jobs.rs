//! `/v1/jobs`: lists, reads and cancels jobs.

use super::{NO_STORE, no_such_job, parameters};
use crate::problem::{Fault, Kind};
use crate::request::tenant::Scope;
use crate::request_id::RequestIds;
use crate::state::AppState;
use crate::view::job_view;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use runway_api::{JobList, JobView};
use runway_control::{CancelError, JobRecord, PageToken, Selection};
use runway_core::status::Phase;
use runway_core::units::Timestamp;
use runway_core::{JobId, Tenant};
use serde::Deserialize;
use std::sync::Arc;

/// Default number of jobs per page.
const PAGE: u16 = 100;

/// Maximum number of jobs per page.
const LARGEST_PAGE: u16 = 1000;

/// The filter and the page of a list request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
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

impl Which {
    fn selection(self, scope: &Scope) -> Result<Selection, Fault> {
        let malformed = |detail: String| Fault::new(Kind::Malformed, detail);
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(malformed(format!(
                "the parameter `limit` is {limit}; it must be from 1 to {LARGEST_PAGE}"
            )));
        }
        let named = self.tenant.map(|name| name.parse::<Tenant>()).transpose();
        let named =
            named.map_err(|error| malformed(format!("the parameter `tenant` is not a valid tenant: it {error}")))?;
        if let (Some(named), Some(scope)) = (&named, &scope.0)
            && named != scope
        {
            return Err(malformed("the parameter `tenant` and the header `X-Tenant-ID` differ".to_owned()));
        }
        let after = self.after.as_deref().map(|text| {
            parse_token(text).ok_or_else(|| {
                malformed(
                    "the parameter `continue` is not valid; use the value from an earlier page, or omit it to start from the first page"
                        .to_owned(),
                )
            })
        });
        Ok(Selection {
            tenant: named.or_else(|| scope.0.clone()),
            phase: self.phase,
            limit: Some(limit.into()),
            after: after.transpose()?,
        })
    }
}

fn token(token: PageToken) -> String {
    format!("{:x}-{}", token.created_at.nanos(), token.id)
}

fn parse_token(text: &str) -> Option<PageToken> {
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
    params(Which, ("X-Tenant-ID" = Option<String>, Header, description = "List only jobs of this tenant")),
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = 400, description = "A parameter or header is invalid"),
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    scope: Scope,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Fault> {
    let selection = parameters(query)?.selection(&scope)?;
    let page = state.plane().jobs(&selection);
    let now = state.plane().now();
    let items = page.items.iter().map(|record| job_view(record, now)).collect();
    Ok(([NO_STORE], Json(JobList { items, next: page.next.map(token) })).into_response())
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
    scope: Scope,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let record = visible(&state, &scope, &id)?;
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
        (status = 409, description = "The job is already finished, or is still being created"),
    )
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    Extension(request): Extension<RequestIds>,
    scope: Scope,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let id: JobId = id.parse().map_err(|_| no_such_job())?;
    // A job that is being created has no record yet, so its tenant cannot be checked here.
    if let Some(record) = state.plane().job(id)
        && !scope.shows(record.seen.tenant.as_str())
    {
        return Err(no_such_job());
    }
    let cancelled = state.plane().cancel(id).await;
    let record = cancelled.map_err(|error| match error {
        CancelError::NotFound => no_such_job(),
        CancelError::BeingCreated => Fault::new(Kind::Conflict, error.to_string()).job(id).retry_after(1),
        CancelError::Finished(record) => {
            let phase = record.seen.status.phase;
            Fault::new(Kind::Conflict, format!("the job is already finished: it is {phase}")).job(id)
        }
        CancelError::Unavailable(cause) => {
            let detail = format!("{cause}; it is safe to retry the cancellation");
            Fault::new(Kind::BackendUnavailable, detail).job(id).retry_after(5)
        }
    })?;
    tracing::info!(
        job = %id,
        tenant = %record.seen.tenant,
        request = request.id.as_str(),
        trace = request.trace.id(),
        "cancelled"
    );
    Ok((StatusCode::ACCEPTED, [NO_STORE], Json(job_view(&record, state.plane().now()))).into_response())
}

/// Returns the job if it exists and the request can see its tenant.
pub(super) fn visible(state: &AppState, scope: &Scope, id: &str) -> Result<Arc<JobRecord>, Fault> {
    let record = id.parse::<JobId>().ok().and_then(|id| state.plane().job(id));
    record.filter(|record| scope.shows(record.seen.tenant.as_str())).ok_or_else(no_such_job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_comes_back_as_it_was() {
        let whole = PageToken { created_at: Timestamp::from_nanos(u64::MAX), id: JobId::from_random(7) };
        assert_eq!(parse_token(&token(whole)), Some(whole));
        for bad in
            ["", "-", "1", "1-short", "g-000000000000", "1-000000000000-", "11111111111111111-000000000000"]
        {
            assert_eq!(parse_token(bad), None, "{bad}");
        }
    }
}
