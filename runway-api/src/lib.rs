//! The bodies of the REST API, each with its JSON form. The server and its clients share these types.
//!
//! Prices, phases, reasons and violations have the types of runway-core.

mod dry_run;
mod job;
mod problem;
#[cfg(feature = "openapi")]
pub mod schema;
mod tenant;
mod time;

pub use dry_run::{DryRunResult, Manifest};
pub use job::{JobFacts, JobList, JobView};
pub use problem::Problem;
pub use tenant::{QuotaUsage, RateRemaining, TenantView};

/// The media type of a job in YAML (RFC 9512).
pub const YAML: &str = "application/yaml";

/// The media type of a job in JSON.
pub const JSON: &str = "application/json";

/// The media type of a problem (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// The header with the tenant that submits the job.
pub const TENANT_HEADER: &str = "x-tenant-id";

/// The header with the idempotency key. A repeated request with the same key creates no second job (IETF
/// draft `draft-ietf-httpapi-idempotency-key-header`).
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// The header with the id of the request. The client may send one, and the server returns it.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The media type of a job's output as records. Each record names the attempt that printed it.
pub const LOG_RECORDS: &str = "application/vnd.runway.log";
