//! A job, as it is told.

use runway_core::name::{ClassName, JobName};
use runway_core::status::{Phase, Reason, Status};
use runway_core::units::{Timestamp, Usd};
use runway_core::{JobId, Quote, Tenant};
use serde::{Deserialize, Serialize};

/// A job: what was asked for, what it may cost, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Job))]
pub struct JobView {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::JobId))]
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// The class it was admitted under, where it has one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub class: Option<String>,
    /// How far it is. `unknown` is a job that left before its end was seen.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Phase))]
    pub phase: Phase,
    /// Why it is there, where there is more to say than the phase does.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Reason>, required))]
    pub reason: Option<Reason>,
    /// What happened, in a sentence.
    pub message: String,
    /// What to do, where there is something.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub hint: Option<String>,
    /// The exit code of the newest attempt that has one; 128 + n where signal n ended it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub exit_code: Option<i32>,
    /// How many attempts there were, the present one included.
    pub attempts: u32,
    /// When it was created.
    #[serde(with = "crate::time")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it began; its timeout runs from here.
    #[serde(with = "crate::time::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(with = "crate::time::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required))]
    pub finished_at: Option<Timestamp>,
    /// What it may cost at most; null where that was lost.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Quote>, required))]
    pub quote: Option<Quote>,
    /// What it has cost so far, or in the end, in USD; null where its quote was lost.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Usd>, required))]
    pub cost_usd: Option<Usd>,
    /// When all this was last seen to be so.
    #[serde(with = "crate::time")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub observed_at: Timestamp,
}

/// Some jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobList {
    /// The jobs.
    pub items: Vec<JobView>,
    /// What to ask for next, as the parameter `continue`; null at the end.
    #[serde(rename = "continue")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// The facts that a [`JobView`] shows, in the types of the core.
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
    /// When the job was created.
    pub created_at: Timestamp,
    /// The price before the run.
    pub quote: Option<&'a Quote>,
    /// The job's status.
    pub status: &'a Status,
    /// The cost so far, or of the whole run.
    pub cost_usd: Option<Usd>,
    /// When the status was observed.
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
