//! Authorization by the role in the client certificate, if the server requires client certificates.

use crate::problem::{ApiError, ProblemKind};
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use std::fmt;

/// The role of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Permits all requests.
    Admin,
    /// Permits reading everything except job output, and requesting quotes.
    Viewer,
}

impl Role {
    /// Returns the role for an organizational unit, which must be exactly `admin` or `viewer`.
    #[must_use]
    pub fn from_organizational_unit(unit: &str) -> Option<Self> {
        match unit {
            "admin" => Some(Self::Admin),
            "viewer" => Some(Self::Viewer),
            _ => None,
        }
    }
}

/// The access of a client. If the server requires client certificates, it adds the access to the extensions
/// of each request. Whether a request without this extension has full access is a property of the
/// [`AppState`](crate::AppState).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A client with a role.
    Role(Role),
    /// A client with a valid certificate that does not name a role.
    NoRole(RoleError),
    /// A client whose certificate has expired since it opened the connection.
    Expired,
}

/// The reason that a certificate does not name a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleError {
    /// The certificate has no organizational unit.
    Missing,
    /// The certificate has more than one organizational unit.
    Several,
    /// The organizational unit is not a role.
    Unknown,
    /// The certificate cannot be parsed.
    Unreadable,
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self {
            Self::Missing => "has no organizational unit (OU)",
            Self::Several => "has several organizational units (OU)",
            Self::Unknown => "has an organizational unit (OU) that is not a role",
            Self::Unreadable => "cannot be parsed",
        };
        write!(f, "the client certificate {problem}; it must have exactly one, `admin` or `viewer`")
    }
}

/// Returns whether a role permits a request.
fn is_allowed(role: Role, method: &Method, path: &str) -> bool {
    match role {
        Role::Admin => true,
        Role::Viewer if matches!(*method, Method::GET | Method::HEAD) => path != crate::paths::LOGS,
        Role::Viewer => *method == Method::POST && path == crate::paths::QUOTES,
    }
}

/// Returns the error if the client is not permitted to send this request. If `is_required` is set, a request
/// must have an [`Access`].
pub(crate) fn access_error(request: &Request, is_required: bool) -> Option<ApiError> {
    let detail = match request.extensions().get::<Access>() {
        None if is_required => "the request has no client certificate".to_owned(),
        None => return None,
        Some(Access::NoRole(error)) => error.to_string(),
        Some(Access::Expired) => {
            let detail = "the client certificate has expired; reconnect with a valid one";
            return Some(ApiError::new(ProblemKind::Forbidden, detail).closing_connection());
        }
        Some(Access::Role(role)) => {
            // Each role permits a request that matches no route, because the router responds with 404.
            let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
            if path.is_none_or(|path| is_allowed(*role, request.method(), path)) {
                return None;
            }
            "the role `viewer` can read everything except job output, and request quotes; this request requires the role `admin`"
                .to_owned()
        }
    };
    Some(ApiError::new(ProblemKind::Forbidden, detail))
}
