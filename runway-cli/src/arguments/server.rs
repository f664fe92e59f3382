//! Where a server is.

use std::fmt;
use std::str::FromStr;
use ureq::http::Uri;

/// The address of a server: `http` or `https`, a host, and perhaps a path under which a proxy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

impl ServerUrl {
    /// The address of something that the server has; `path` begins with a slash.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether what is said is hidden from others.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl FromStr for ServerUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "this is no URL such as `https://runway.internal`")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it must begin with `https://` or `http://`");
        }
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err("between `//` and the path stands the host, perhaps with a port, and nothing else");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("it must end with the host or a path");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_path() {
        for (text, told) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/jobs"),
            ("https://runway.internal/", "https://runway.internal/v1/jobs"),
            ("https://[::1]:1/batch//", "https://[::1]:1/batch/v1/jobs"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().at("/v1/jobs"), told);
        }
        for bad in [
            "",
            "runway.internal",
            "runway.internal:80",
            "/v1",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x?a=b",
            "http://x#a",
            "http://x y",
        ] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }
}
