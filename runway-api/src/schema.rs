//! Schemas of what the core makes, for the OpenAPI document. A test of the server holds its answers against them.

use serde_json::Value as Json;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A text of one form, with an example.
fn text(description: &str, pattern: &str, example: &str) -> RefOr<Schema> {
    let text =
        ObjectBuilder::new().schema_type(Type::String).description(Some(description)).pattern(Some(pattern));
    text.examples([Json::from(example)]).into()
}

/// One of some words.
fn word<'a>(description: &str, words: impl IntoIterator<Item = &'a str>) -> RefOr<Schema> {
    let word = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    word.enum_values(Some(words)).into()
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
    JobId = text("The id of a job.", "^[a-z0-9]{12}$", "4d5c9fa91db4");
    Usd = text("US dollars, to the micro-dollar.", r"^[0-9]+\.[0-9]{6}$", "0.015230");
    Phase = word("How far a job is.", runway_core::status::Phase::ALL.map(runway_core::status::Phase::as_str));
    Reason = word("Why a job is in its phase.", runway_core::status::Reason::ALL.iter().map(|reason| reason.as_str()));
    Code = word(
        "The kind of a violation; `runway explain CODE` explains it.",
        runway_core::Code::ALL.iter().map(|code| code.as_str())
    );
    JobSpec = Schema::Object(ObjectBuilder::new().description(Some("A job, as it is submitted.")).build()).into();
    AnyValue = Schema::Object(ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).build()).into();
}

/// What a job may cost at most.
#[derive(Debug, ToSchema)]
pub struct Quote {
    /// The price of the whole time that the job may take, its grace included.
    #[schema(value_type = Usd)]
    pub ceiling_usd: (),
    /// The price of an hour.
    #[schema(value_type = Usd)]
    pub per_hour_usd: (),
    /// The resources that make it up.
    pub lines: Vec<Line>,
}

/// The part of a price that one resource makes up.
#[derive(Debug, ToSchema)]
pub struct Line {
    /// `cpu`, `memory` or `gpu`.
    pub resource: String,
    /// How much of it: cores, GB (10^9 bytes), GPUs.
    pub amount: String,
    /// For how long.
    pub seconds: u64,
    /// USD for one unit over one second.
    pub rate_usd: String,
    /// What that makes.
    #[schema(value_type = Usd)]
    pub usd: (),
}

/// One reason why a document is refused, with what would be accepted instead.
#[derive(Debug, ToSchema)]
pub struct Violation {
    /// The kind.
    #[schema(value_type = Code)]
    pub code: (),
    /// Where in the document: a JSON Pointer (RFC 6901).
    pub path: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What stands there; null where that may be a secret.
    #[schema(value_type = AnyValue)]
    pub requested: (),
    /// What would be accepted: `{"min","max"}` or `{"one_of"}`.
    #[schema(value_type = Option<Object>, required)]
    pub allowed: (),
    /// The line of the policy that says so.
    #[schema(required)]
    pub policy: Option<String>,
    /// The feature that the backend lacks; only with the code `unsupported-by-backend`.
    pub capability: Option<String>,
    /// The nearest value that would be accepted there; null where none is known.
    #[schema(value_type = AnyValue)]
    pub fix: (),
}

/// What would become of a job.
#[derive(Debug, ToSchema)]
pub struct Verdict {
    /// Always `-`: what was asked about is no file.
    pub file: String,
    /// Always 0: what was asked about is one document.
    pub document: u64,
    /// Whether it would be admitted.
    pub admitted: bool,
    /// The backend whose features were checked; null if none were.
    #[schema(required)]
    pub backend: Option<String>,
    /// The normalised job, where every part of it could be read.
    #[schema(value_type = Option<Object>, required)]
    pub job: (),
    /// What it would cost at most, where that can be said.
    #[schema(required)]
    pub quote: Option<Quote>,
    /// Why it would be refused; the very ones that `runway check -o json` prints.
    pub violations: Vec<Violation>,
    /// What would be created, secrets redacted: a Kubernetes `List`. There only where it was asked for.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub manifest: (),
}
