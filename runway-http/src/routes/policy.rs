//! `/v1/policy`: returns the active policy.

use crate::problem::{ApiError, ProblemKind};
use crate::request::tenant::TenantScope;
use crate::state::AppState;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use runway_api::{JSON, YAML};
use runway_core::Tenant;
use runway_core::digest::Digest;
use serde::Serialize;

/// The format of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PolicyFormat {
    Json,
    Yaml,
}

impl PolicyFormat {
    /// Returns the format that the header `Accept` prefers (RFC 9110, section 12.5.1). It is JSON if the
    /// header accepts both equally, or neither.
    fn preferred(headers: &HeaderMap) -> Self {
        let accepted: Vec<_> = header_items(headers, ACCEPT).filter_map(MediaRange::parse).collect();
        if quality(&accepted, YAML) > quality(&accepted, JSON) { Self::Yaml } else { Self::Json }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Yaml => YAML,
        }
    }

    /// Returns the entity tag of a policy in this format, or of the part that a tenant can see. Responses with
    /// different bytes have different tags (RFC 9110, section 8.8.3).
    fn entity_tag(self, digest: Digest, tenant: Option<&Tenant>) -> String {
        let scope = tenant.map(|tenant| format!(";tenant={tenant}")).unwrap_or_default();
        match self {
            Self::Json => format!("\"{digest}{scope}\""),
            Self::Yaml => format!("\"{digest}{scope};yaml\""),
        }
    }

    fn render(self, policy: &impl Serialize) -> Option<String> {
        match self {
            Self::Json => serde_json::to_string(policy).ok(),
            Self::Yaml => serde_saphyr::to_string(policy).ok(),
        }
    }
}

/// One item of the header `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MediaRange<'a> {
    /// The media range without parameters, such as `application/*`.
    range: &'a str,
    /// The weight in thousandths.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    /// Parses an item. Returns `None` if its weight is malformed.
    fn parse(item: &'a str) -> Option<Self> {
        let mut parts = item.split(';').map(str::trim);
        let range = parts.next()?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(Self { range, quality: weight.map_or(Some(1000), parse_weight)? })
    }

    /// Returns how specific the range is if it matches the media type.
    fn specificity(self, media_type: &str) -> Option<u8> {
        let main_type = media_type.split('/').next().unwrap_or_default();
        if self.range.eq_ignore_ascii_case(media_type) {
            Some(2)
        } else if self.range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(main_type)) {
            Some(1)
        } else {
            (self.range == "*/*").then_some(0)
        }
    }
}

/// Parses a weight from 0 to 1 with up to three decimals. Returns thousandths.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Returns the weight of a media type. The most specific range that matches it sets the weight. Without any
/// range, every media type has the full weight.
fn quality(accepted: &[MediaRange<'_>], media_type: &str) -> u16 {
    if accepted.is_empty() {
        return 1000;
    }
    let matching = accepted.iter().filter_map(|range| Some((range.specificity(media_type)?, range.quality)));
    matching.max().map_or(0, |(_, quality)| quality)
}

/// Read the active policy
///
/// With `X-Tenant-ID`, the response omits the settings of other tenants. Without this header, the server can
/// load the response as a policy file. In JSON, `ETag` contains the digest of the policy, which is also
/// recorded in each decision under this policy.
#[utoipa::path(
    get,
    path = "/v1/policy",
    operation_id = "readPolicy",
    tag = "policy",
    params(
        ("If-None-Match" = Option<String>, Header, description = "Entity tag of the policy that the client has"),
        ("X-Tenant-ID" = Option<String>, Header, description = "Omit the settings of other tenants"),
    ),
    responses(
        (status = 200, description = "The policy", content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml")), headers(
            ("ETag" = String, description = "Digest of the policy, with suffixes for the tenant and for YAML"),
            ("Vary" = String, description = "Request headers that select the response"),
        )),
        (status = 304, description = "The client has this policy already", headers(
            ("ETag" = String, description = "Digest of the policy, with suffixes for the tenant and for YAML"),
            ("Vary" = String, description = "Request headers that select the response"),
        )),
    )
)]
pub(super) async fn read(
    State(state): State<AppState>,
    TenantScope(tenant): TenantScope,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let policy = state.plane().policy();
    let format = PolicyFormat::preferred(&headers);
    let tag = format.entity_tag(policy.digest(), tenant.as_ref());
    let common_headers = [(ETAG, tag.as_str()), (CACHE_CONTROL, "no-cache"), (VARY, "accept, x-tenant-id")];
    if matches_etag(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, common_headers).into_response());
    }
    let body = match &tenant {
        Some(tenant) => format.render(&policy.canonical_for(tenant)),
        None => format.render(&policy.canonical()),
    };
    let body = body.ok_or_else(|| ApiError::new(ProblemKind::Internal, "the policy cannot be rendered"))?;
    Ok((common_headers, [(CONTENT_TYPE, format.media_type())], body).into_response())
}

/// Returns whether the header `If-None-Match` contains this tag or `*`. The comparison is weak (RFC 9110,
/// section 13.1.2).
fn matches_etag(headers: &HeaderMap, tag: &str) -> bool {
    header_items(headers, IF_NONE_MATCH).any(|item| item == "*" || item.trim_start_matches("W/") == tag)
}

/// Returns the items of all lists that a header contains.
fn header_items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn accept_header_is_weighed() {
        let preferred = |accept: &[&'static str]| {
            let accept = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value)));
            PolicyFormat::preferred(&accept.collect())
        };
        for json in [
            &["*/*"][..],
            &[],
            &["text/html"],
            &["application/json, application/yaml;q=0.1"],
            &["application/yaml;q=0.1, application/json"],
            &["application/json, application/yaml"],
            &["application/yaml;q=0"],
            &["application/yaml;q=0, */*"],
            &["application/*;q=0.5, application/yaml;q=0.4"],
            &["application/yaml;q=x, application/json"],
        ] {
            assert_eq!(preferred(json), PolicyFormat::Json, "{json:?}");
        }
        for yaml in [
            &["application/yaml"][..],
            &["Application/YAML; charset=utf-8"],
            &["application/json;q=0, */*"],
            &["application/json;q=0.001, application/yaml; q=0.002"],
            &["application/*;q=0.4", "application/yaml;q=1.000"],
        ] {
            assert_eq!(preferred(yaml), PolicyFormat::Yaml, "{yaml:?}");
        }
    }

    #[test]
    fn weight_has_at_most_three_decimals() {
        for (text, weight) in
            [("1", 1000), ("1.", 1000), ("1.000", 1000), ("0", 0), ("0.5", 500), ("0.007", 7)]
        {
            assert_eq!(parse_weight(text), Some(weight), "{text}");
        }
        for text in ["", "2", "1.001", "0.1234", "-0", "+1", ".5", "0.x", "1e0"] {
            assert_eq!(parse_weight(text), None, "{text}");
        }
    }
}
