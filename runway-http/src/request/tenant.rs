//! The header `X-Tenant-ID`: the tenant that submits a job, or whose jobs the client wants to see.

use crate::problem::{ApiError, ProblemKind};
use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use runway_api::TENANT_HEADER;
use runway_core::Tenant;

/// The value of the header as sent, or `None` if the header is missing. The gate checks whether it is a valid
/// tenant name.
pub(crate) struct TenantHeader(pub Option<String>);

impl TenantHeader {
    fn from_parts(parts: &Parts) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(HeaderName::from_static(TENANT_HEADER)).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(ApiError::new(
                ProblemKind::Malformed,
                "the header `X-Tenant-ID` occurs more than once",
            ));
        }
        Ok(Self(Some(String::from_utf8_lossy(value.as_bytes()).into_owned())))
    }
}

impl<S: Sync> FromRequestParts<S> for TenantHeader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::from_parts(parts)
    }
}

/// The tenant whose jobs a request can see. Without the header, a request sees the jobs of all tenants.
#[derive(Clone)]
pub(crate) struct TenantScope(pub Option<Tenant>);

impl TenantScope {
    /// Returns whether the request can see the jobs of this tenant.
    pub(crate) fn includes(&self, tenant: &str) -> bool {
        self.0.as_ref().is_none_or(|scope| scope.as_str() == tenant)
    }
}

impl<S: Sync> FromRequestParts<S> for TenantScope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let TenantHeader(text) = TenantHeader::from_parts(parts)?;
        let parsed = text.map(|text| text.parse::<Tenant>()).transpose();
        let tenant = parsed.map_err(|error| {
            ApiError::new(
                ProblemKind::Malformed,
                format!("the header `X-Tenant-ID` is not a valid tenant: it {error}"),
            )
        })?;
        Ok(Self(tenant))
    }
}
