//! The header `Idempotency-Key` (the IETF draft `draft-ietf-httpapi-idempotency-key-header`).

use crate::problem::{ApiError, ProblemKind};
use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use runway_api::IDEMPOTENCY_KEY_HEADER;
use runway_control::IdempotencyKey;

/// The idempotency key of a request, if the header is present.
pub(crate) struct IdempotencyKeyHeader(pub Option<IdempotencyKey>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKeyHeader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(HeaderName::from_static(IDEMPOTENCY_KEY_HEADER)).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let malformed = |what: &str| {
            ApiError::new(ProblemKind::Malformed, format!("the header `Idempotency-Key` {what}"))
        };
        if values.next().is_some() {
            return Err(malformed("occurs more than once"));
        }
        let text = value.to_str().unwrap_or_default();
        // The draft defines a string in quotes (RFC 8941). Most clients omit the quotes.
        let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let key = unquoted.parse().map_err(|error| malformed(&format!("{error}")))?;
        Ok(Self(Some(key)))
    }
}
