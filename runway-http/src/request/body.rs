//! Reads a job in JSON or YAML from the request body, within limits on size and time.

use crate::problem::{ApiError, ProblemKind};
use crate::request_id::single_str;
use crate::state::AppState;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::BodyExt;
use runway_api::{JSON, YAML};
use runway_core::Violation;
use runway_core::document::{Document, parse_all, parse_json};
use serde::de::IgnoredAny;
use std::pin::pin;

const EMPTY_BODY: &str = "the body is empty";

/// The document in the body of a request.
pub(crate) struct JobBody(pub Document);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

impl FromRequest<AppState> for JobBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let format = body_format(&request)?;
        let limits = state.limits();
        let mut reading = pin!(read_body(request.into_body(), limits.max_body_bytes));
        // The body usually arrives with the head, and then no timer is needed.
        let bytes = match reading.as_mut().now_or_never() {
            Some(bytes) => bytes?,
            None => Box::pin(tokio::time::timeout(limits.body_timeout, reading)).await.map_err(|_| {
                let seconds = limits.body_timeout.as_secs();
                ApiError::new(ProblemKind::BodyTimeout, format!("the body did not arrive within {seconds} s"))
                    .closing_connection()
            })??,
        };
        parse_document(&bytes, format).map(Self)
    }
}

/// Returns the format of the body from its media type. A parameter such as `charset=utf-8` has no effect.
///
/// # Errors
/// An [`ApiError`] if the body is compressed, if the media type is neither JSON nor YAML, or if the header
/// with the media type does not occur exactly once.
fn body_format(request: &Request) -> Result<Format, ApiError> {
    if is_encoded(request.headers()) {
        let detail = "the body has a `Content-Encoding`, such as gzip; send it without one";
        return Err(ApiError::new(ProblemKind::UnsupportedMediaType, detail)
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    let essence = single_str(request.headers(), &CONTENT_TYPE)
        .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some(JSON) => Ok(Format::Json),
        Some(YAML) => Ok(Format::Yaml),
        _ => {
            let detail = format!("send the job as `{JSON}` or `{YAML}`, and set the `Content-Type` header");
            Err(ApiError::new(ProblemKind::UnsupportedMediaType, detail)
                .with_header(ACCEPT, HeaderValue::from_static("application/json, application/yaml")))
        }
    }
}

/// Returns whether the body has a content coding other than `identity`.
fn is_encoded(headers: &HeaderMap) -> bool {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    codings
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let min_length = body.size_hint().lower();
    if min_length > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large(limit));
    }
    // A body usually consists of one frame, which is used without a copy.
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    // Check for the end first: polling after the last frame would wait for the next event of the connection.
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| {
            ApiError::new(ProblemKind::Malformed, "the body is incomplete or malformed").closing_connection()
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len().max(all.len()).saturating_add(data.len()) > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large(limit: usize) -> ApiError {
    let detail = format!("the body exceeds {limit} bytes; pass large inputs through storage");
    ApiError::new(ProblemKind::BodyTooLarge, detail).closing_connection()
}

/// Parses the body, which must be exactly one document.
fn parse_document(bytes: &[u8], format: Format) -> Result<Document, ApiError> {
    if format == Format::Json
        && let Some(document) = parse_json(bytes)
    {
        return Ok(document);
    }
    let mut documents = parse_all(bytes);
    if format == Format::Json
        && let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes)
    {
        if bytes.trim_ascii().is_empty() {
            return Err(ApiError::new(ProblemKind::Malformed, EMPTY_BODY));
        }
        let (line, column) = (error.line(), error.column());
        // Do not include the message of the parser: it can quote the text, which may contain a secret.
        let detail = format!(
            "the body is not valid JSON: line {line}, column {column}; for YAML, set the content type `{YAML}`"
        );
        let violations = documents.iter().filter_map(|document| document.as_ref().err()).map(Violation::from);
        return Err(ApiError::new(ProblemKind::Malformed, detail).with_violations(violations.collect()));
    }
    if documents.len() > 1 {
        let detail = format!("the body must be one document, but it has {}", documents.len());
        return Err(ApiError::new(ProblemKind::Malformed, detail));
    }
    match documents.pop() {
        Some(Ok(document)) => Ok(document),
        Some(Err(error)) => {
            let detail = format!("cannot parse the body: {error}");
            Err(ApiError::new(ProblemKind::Malformed, detail).with_violations(vec![Violation::from(&error)]))
        }
        None => Err(ApiError::new(ProblemKind::Malformed, EMPTY_BODY)),
    }
}
