//! Who may do what: the role in the client's certificate decides, where certificates are asked for.

use crate::problem::{Fault, Kind};
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use std::fmt;

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Read all but what jobs print, and ask for quotes.
    Viewer,
}

impl Role {
    /// The role that an organisational unit names: exactly `admin` or `viewer`.
    #[must_use]
    pub fn of_unit(unit: &str) -> Option<Self> {
        match unit {
            "admin" => Some(Self::Admin),
            "viewer" => Some(Self::Viewer),
            _ => None,
        }
    }
}

/// What is known of who is at the other end. Put into a request's extensions by whoever accepts connections; a request
/// without one may do everything, since nothing asks who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A client with a role.
    Role(Role),
    /// A client whose certificate is good, but names no role.
    None(NoRole),
}

/// Why a certificate names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRole {
    /// It has no organisational unit.
    Missing,
    /// It has more than one.
    Several,
    /// It has one that is no role.
    Unknown,
    /// It cannot be read.
    Unreadable,
}

impl fmt::Display for NoRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Missing => "has no organisational unit (OU)",
            Self::Several => "has several organisational units (OU)",
            Self::Unknown => "has an organisational unit (OU) that is no role",
            Self::Unreadable => "cannot be read",
        };
        write!(f, "the client certificate {what}; it needs exactly one, `admin` or `viewer`")
    }
}

/// Whether a role may do this.
fn may(role: Role, method: &Method, path: &str) -> bool {
    match role {
        Role::Admin => true,
        Role::Viewer if matches!(*method, Method::GET | Method::HEAD) => path != crate::paths::LOGS,
        Role::Viewer => *method == Method::POST && path == crate::paths::QUOTES,
    }
}

/// Why the client may not do this, where it may not.
pub(crate) fn refusal(request: &Request) -> Option<Fault> {
    let detail = match request.extensions().get::<Access>()? {
        Access::None(why) => why.to_string(),
        Access::Role(role) => {
            // What matches no route has nothing to show.
            let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
            if path.is_none_or(|path| may(*role, request.method(), path)) {
                return None;
            }
            "a viewer may read all but what jobs print, and ask for quotes; this needs the role `admin`"
                .to_owned()
        }
    };
    Some(Fault::new(Kind::Forbidden, detail))
}
