//! OpenAPI schemas of the types from runway-core. A test validates the server's responses against them.

use serde_json::Value as Json;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Returns the schema of a string with a pattern and an example.
fn string(description: &str, pattern: &str, example: &str) -> RefOr<Schema> {
    let schema =
        ObjectBuilder::new().schema_type(Type::String).description(Some(description)).pattern(Some(pattern));
    schema.examples([Json::from(example)]).into()
}

/// Returns the schema of a string with a fixed set of values.
fn string_enum<'a>(description: &str, words: impl IntoIterator<Item = &'a str>) -> RefOr<Schema> {
    let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    schema.enum_values(Some(words)).into()
}

macro_rules! schemas {
    ($($name:ident = $schema:expr;)+) => {
        $(
            #[doc = concat!("The schema of `", stringify!($name), "`.")]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

schemas! {
    JobId = string("Id of a job.", "^[a-z0-9]{12}$", "4d5c9fa91db4");
    Usd = string("Amount in US dollars with six decimals.", r"^[0-9]+\.[0-9]{6}$", "0.015230");
    Phase = string_enum("Phase of a job.", runway_core::status::Phase::ALL.map(runway_core::status::Phase::as_str));
    Reason = string_enum("Reason for a job's phase.", runway_core::status::Reason::ALL.iter().map(|reason| reason.as_str()));
    Code = string_enum(
        "Code of a violation. `runway explain CODE` explains it.",
        runway_core::Code::ALL.iter().map(|code| code.as_str())
    );
    JobSpec = Schema::Object(ObjectBuilder::new().description(Some("Job to submit.")).build()).into();
    AnyValue = Schema::Object(ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).build()).into();
}

/// The price of a job before the run.
#[derive(Debug, ToSchema)]
pub struct Quote {
    /// The maximum price: the price of the timeout plus the termination grace period.
    #[schema(value_type = Usd)]
    pub ceiling_usd: (),
    /// The price of one hour.
    #[schema(value_type = Usd)]
    pub per_hour_usd: (),
    /// The price of each resource.
    pub lines: Vec<Line>,
}

/// The price of one resource.
#[derive(Debug, ToSchema)]
pub struct Line {
    /// `cpu`, `memory` or `gpu`.
    pub resource: String,
    /// The amount of the resource: cores, GB (10^9 bytes) or GPUs.
    pub amount: String,
    /// The priced time in seconds.
    pub seconds: u64,
    /// The price in USD of one unit for one second.
    pub rate_usd: String,
    /// The price of this resource.
    #[schema(value_type = Usd)]
    pub usd: (),
}

/// One reason to refuse a document.
#[derive(Debug, ToSchema)]
pub struct Violation {
    /// The code of the violation.
    #[schema(value_type = Code)]
    pub code: (),
    /// The path in the document, as a JSON Pointer (RFC 6901).
    pub path: String,
    /// The problem and the remedy.
    pub message: String,
    /// The value at the path; null if it may be a secret.
    #[schema(value_type = AnyValue)]
    pub requested: (),
    /// The accepted values: `{"min","max"}` or `{"one_of"}`.
    #[schema(value_type = Option<Object>, required)]
    pub allowed: (),
    /// The policy path of the violated rule.
    #[schema(required)]
    pub policy: Option<String>,
    /// The feature that the backend lacks. Present only with the code `unsupported-by-backend`.
    pub capability: Option<String>,
    /// The accepted value nearest to the requested one; null if none is known.
    #[schema(value_type = AnyValue)]
    pub fix: (),
}

/// The result of a dry run: the decision on a job, without its submission.
#[derive(Debug, ToSchema)]
pub struct DryRunResult {
    /// Always `-`, because the job does not come from a file.
    pub file: String,
    /// Always 0, because the request contains one document.
    pub document: u64,
    /// `true` if the job would be admitted.
    pub admitted: bool,
    /// The backend whose features were checked; null if none were checked.
    #[schema(required)]
    pub backend: Option<String>,
    /// The normalised job; null if a part of the job is invalid.
    #[schema(value_type = Option<Object>, required)]
    pub job: (),
    /// The quote; null if the price cannot be computed.
    #[schema(required)]
    pub quote: Option<Quote>,
    /// The reasons to refuse the job, as in the output of `runway check -o json`.
    pub violations: Vec<Violation>,
    /// The Kubernetes objects as a `List`, with redacted secrets. Present only on request.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub manifest: (),
}
