//! What the server and its clients say to each other: the bodies of the REST API, each with the one JSON form that both
//! sides use. Prices, phases, reasons and violations are the core's own.

mod job;
mod problem;
#[cfg(feature = "openapi")]
pub mod schema;
mod tenant;
mod time;
mod verdict;

pub use job::{JobFacts, JobList, JobView};
pub use problem::Problem;
pub use tenant::{RateLeft, Share, TenantView};
pub use verdict::{Manifest, Verdict};

/// The media type of a job in YAML (RFC 9512).
pub const YAML: &str = "application/yaml";

/// The media type of a job in JSON.
pub const JSON: &str = "application/json";

/// The media type of a problem (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// The header that says who submits.
pub const TENANT_HEADER: &str = "x-tenant-id";

/// The header with a key under which the same request makes no second job (the IETF draft
/// `draft-ietf-httpapi-idempotency-key-header`).
pub const KEY_HEADER: &str = "idempotency-key";

/// The header that names a request, in both directions.
pub const REQUEST_HEADER: &str = "x-request-id";

/// The media type of a job's output in records that say which attempt printed what.
pub const LOG: &str = "application/vnd.runway.log";
