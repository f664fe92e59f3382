//! The JSON form of a job.

use runway_core::name::{ClassName, JobName};
use runway_core::status::{Phase, Reason, Status};
use runway_core::units::{Timestamp, Usd};
use runway_core::{JobId, Quote, Tenant};
use serde::{Deserialize, Serialize};

/// A job: its spec, its price and its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Job))]
pub struct JobView {
    /// The job's id.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::JobId))]
    pub id: JobId,
    /// The job's name.
    pub name: String,
    /// The tenant that owns the job.
    pub tenant: String,
    /// The policy class that admitted the job; null if there is none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub class: Option<String>,
    /// The job's phase. `unknown` means that the job disappeared before its end was observed.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Phase))]
    pub phase: Phase,
    /// The reason for the phase; null if the phase needs no reason.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Reason>, required))]
    pub reason: Option<Reason>,
    /// The status in one sentence.
    pub message: String,
    /// The suggested action; null if none is needed.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub hint: Option<String>,
    /// The exit code of the newest attempt that has one. It is 128 + n if signal n killed the process.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub exit_code: Option<i32>,
    /// The number of attempts, including a running one.
    pub attempts: u32,
    /// The time at which the job was created.
    #[serde(with = "crate::time")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// The time at which the job started. The timeout counts from this time.
    #[serde(with = "crate::time::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required))]
    pub started_at: Option<Timestamp>,
    /// The time at which the job finished.
    #[serde(with = "crate::time::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required))]
    pub finished_at: Option<Timestamp>,
    /// The quote, whose ceiling is the maximum price; null if the quote was lost.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Quote>, required))]
    pub quote: Option<Quote>,
    /// The cost in USD so far, or of the whole run once the job has finished; null if the quote was lost.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Usd>, required))]
    pub cost_usd: Option<Usd>,
    /// The time at which this state was last observed.
    #[serde(with = "crate::time")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub observed_at: Timestamp,
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobList {
    /// The jobs.
    pub items: Vec<JobView>,
    /// The token of the next page, for the parameter `continue`; null on the last page.
    #[serde(rename = "continue")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// The data of a [`JobView`], in the types of runway-core.
#[derive(Debug, Clone, Copy)]
pub struct JobFacts<'a> {
    /// The job's id.
    pub id: JobId,
    /// The job's name.
    pub name: &'a JobName,
    /// The tenant that owns the job.
    pub tenant: &'a Tenant,
    /// The class that admitted the job.
    pub class: Option<&'a ClassName>,
    /// The time at which the job was created.
    pub created_at: Timestamp,
    /// The price before the run.
    pub quote: Option<&'a Quote>,
    /// The job's status.
    pub status: &'a Status,
    /// The cost so far, or of the whole run once the job has finished.
    pub cost_usd: Option<Usd>,
    /// The time at which the status was observed.
    pub observed_at: Timestamp,
}

impl From<JobFacts<'_>> for JobView {
    fn from(job: JobFacts<'_>) -> Self {
        let status = job.status;
        Self {
            id: job.id,
            name: job.name.to_string(),
            tenant: job.tenant.to_string(),
            class: job.class.map(ToString::to_string),
            phase: status.phase,
            reason: status.reason,
            message: status.message.clone(),
            hint: status.hint.clone(),
            exit_code: status.exit_code,
            attempts: status.attempts,
            created_at: job.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            quote: job.quote.cloned(),
            cost_usd: job.cost_usd,
            observed_at: job.observed_at,
        }
    }
}
