//! A job, as it is told.

use runway_core::status::{Phase, Reason};
use runway_core::units::{Timestamp, Usd};
use runway_core::{JobId, Quote};
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

#[cfg(feature = "control")]
impl JobView {
    /// What is told of a record just now.
    #[must_use]
    pub fn of(record: &runway_control::JobRecord, now: Timestamp) -> Self {
        let (seen, status) = (&record.seen, &record.seen.status);
        Self {
            id: seen.id,
            name: seen.name.to_string(),
            tenant: seen.tenant.to_string(),
            class: seen.class.as_ref().map(ToString::to_string),
            phase: status.phase,
            reason: status.reason,
            message: status.message.clone(),
            hint: status.hint.clone(),
            exit_code: status.exit_code,
            attempts: status.attempts,
            created_at: seen.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            quote: seen.quote.clone(),
            cost_usd: record.bill(now).map(|bill| bill.usd),
            observed_at: record.observed_at,
        }
    }
}
