//! What went wrong.

use runway_core::JobId;
use runway_core::units::Timestamp;
use runway_core::violation::Violation;
use serde::{Deserialize, Serialize};

/// What went wrong with a request (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind of problem: a URN that stays the same.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// The id of the request, as it stands in the server's log.
    pub instance: String,
    /// Why a job was refused; empty where it is not about a job.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::schema::Violation>))]
    pub violations: Vec<Violation>,
    /// The job that it is about, where there is one or may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::JobId>, nullable = false))]
    pub job_id: Option<JobId>,
    /// Refused for a quota: when there is room at the latest, unless others come first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::time::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, nullable = false))]
    pub free_by: Option<Timestamp>,
}
