//! The body of an error response.

use runway_core::JobId;
use runway_core::units::Timestamp;
use runway_core::violation::Violation;
use serde::{Deserialize, Serialize};

/// An error response (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind of problem: a stable URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary of the kind of problem.
    pub title: String,
    /// The HTTP status of the response.
    pub status: u16,
    /// The cause of this problem, and the suggested action.
    pub detail: String,
    /// The id of the request, as in the server's log.
    pub instance: String,
    /// The reasons for the refusal of a job; empty for other problems.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::schema::Violation>))]
    pub violations: Vec<Violation>,
    /// The id of the affected job, if there is one or may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::JobId>, nullable = false))]
    pub job_id: Option<JobId>,
    /// The latest time at which the exceeded quota becomes available, unless other jobs are admitted first.
    /// Present only if the job was refused for a quota.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::time::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, nullable = false))]
    pub free_by: Option<Timestamp>,
}
