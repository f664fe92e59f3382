//! The hosts that a request may name, and the web pages that may send it.
//!
//! A web page can make the browser of its reader send requests to every server that the reader can reach. Two
//! rules protect this server from the pages of other sites. First, a request must name a host of this server.
//! This prevents DNS rebinding: in such an attack, the host name of a foreign page suddenly resolves to the
//! address of this server, and the browser still sends the foreign name. Second, a request that is not a read
//! must not come from a page of another site.

use crate::problem::{ApiError, ProblemKind};
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, Version};
use std::net::IpAddr;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hosts of a server on a cluster, if no others are set: the names of the Service in
/// `infra/kubernetes/base`.
pub(crate) const CLUSTER_HOSTS: [&str; 4] = [
    "runway-http",
    "runway-http.runway-system",
    "runway-http.runway-system.svc",
    "runway-http.runway-system.svc.cluster.local",
];

/// The hosts that requests may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRules {
    /// The accepted hosts, besides `localhost` and the loopback addresses. `None` if every host and every page
    /// is accepted.
    hosts: Option<Vec<String>>,
    /// Whether all IP addresses are accepted as hosts. DNS cannot rebind an address, and probes and scrapes
    /// name the address of a pod.
    accepts_addresses: bool,
}

impl HostRules {
    /// Accepts every host. This is for a server that requires client certificates.
    #[must_use]
    pub const fn any() -> Self {
        Self { hosts: None, accepts_addresses: true }
    }

    /// Accepts `localhost`, the loopback addresses, and these hosts.
    #[must_use]
    pub const fn loopback(hosts: Vec<String>) -> Self {
        Self { hosts: Some(hosts), accepts_addresses: false }
    }

    /// Accepts `localhost`, all IP addresses, and these hosts. Without any host, accepts the names of the
    /// Service in `infra/kubernetes/base`.
    #[must_use]
    pub fn cluster(hosts: Vec<String>) -> Self {
        let hosts = if hosts.is_empty() { CLUSTER_HOSTS.map(str::to_owned).to_vec() } else { hosts };
        Self { hosts: Some(hosts), accepts_addresses: true }
    }

    /// Returns the error if the request names no host or another host, or if it comes from a page of another
    /// site.
    pub(crate) fn error(&self, request: &Request) -> Option<ApiError> {
        let host = match host_header(request) {
            Ok(host) => host,
            Err(error) => return Some(error),
        };
        let hosts = self.hosts.as_deref()?;
        let target = request.uri().authority().map(Authority::as_str);
        if !host.into_iter().chain(target).all(|authority| self.accepts(hosts, authority)) {
            let detail = "the request names a host that is not this server; use `localhost`, or add the host to `--allowed-hosts`";
            return Some(ApiError::new(ProblemKind::Misdirected, detail));
        }
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !is_read && is_from_another_site(request.headers(), host) {
            let detail = "a web page of another site sent this request, so the server rejects it";
            return Some(ApiError::new(ProblemKind::Forbidden, detail));
        }
        None
    }

    fn accepts(&self, hosts: &[String], authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        if host.eq_ignore_ascii_case("localhost") || hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
        {
            return true;
        }
        host.parse::<IpAddr>().is_ok_and(|ip| {
            // An IPv4-mapped address such as `::ffff:127.0.0.1` is a loopback address, too.
            let ip = ip.to_canonical();
            ip.is_loopback() || self.accepts_addresses && !ip.is_unspecified()
        })
    }
}

/// Parses a host without a port, such as `runway.example.com`.
pub(crate) fn parse_host(text: &str) -> Result<String, &'static str> {
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let is_address = text.parse::<IpAddr>().is_ok();
    if !text.is_empty() && text.bytes().all(is_host_byte) && (is_address || !text.contains(':')) {
        Ok(text.strip_suffix('.').unwrap_or(text).to_owned())
    } else {
        Err("expected a host without a port, such as `runway.example.com`")
    }
}

/// Returns the value of the header `Host`. It is optional in HTTP/1.0.
///
/// # Errors
/// An [`ApiError`] if the header is missing, occurs more than once, or is not ASCII (RFC 9112, section 3.2).
fn host_header(request: &Request) -> Result<Option<&str>, ApiError> {
    let malformed = |detail: &str| ApiError::new(ProblemKind::Malformed, detail).closing_connection();
    let mut values = request.headers().get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) if request.version() == Version::HTTP_11 => {
            Err(malformed("the request has no header `Host`"))
        }
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed("the header `Host` occurs more than once")),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| malformed("the header `Host` is not a valid host"))
        }
    }
}

/// Returns the host of an authority such as `localhost:8080` or `[::1]:8080`, without the port, the brackets,
/// and the dot at the end of an absolute name.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let is_port = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let has_valid_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    has_valid_port.then(|| host.strip_suffix('.').unwrap_or(host))
}

/// Returns whether a browser sent the request for a page of another site. Browsers name the site of the page
/// in `Origin` and `Sec-Fetch-Site`, and a page cannot change these headers. Other clients send neither.
fn is_from_another_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let mut origins = headers.get_all(ORIGIN).iter();
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
        || origins.any(|origin| {
            let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
            authority.zip(host).is_none_or(|(authority, host)| !authority.eq_ignore_ascii_case(host))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(rules: &HostRules, authority: &str) -> bool {
        rules.accepts(rules.hosts.as_deref().unwrap(), authority)
    }

    #[test]
    fn loopback_rules_accept_only_loopback_hosts() {
        let rules = HostRules::loopback(vec![]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(accepted(&rules, host), "{host}");
        }
        for host in [
            "",
            ":8080",
            "localhost.example.com",
            "example.com:8080",
            "0.0.0.0",
            "[::]",
            "192.168.1.7",
            "127.0.0.1.example.com",
            "evil@localhost",
            "localhost:80:evil",
            "localhost:x",
            "[::1",
            "[::1]evil",
            "runway-http",
        ] {
            assert!(!accepted(&rules, host), "{host}");
        }
        assert!(accepted(&HostRules::loopback(vec!["Runway.example".to_owned()]), "runway.example.:443"));
    }

    #[test]
    fn cluster_rules_accept_service_names_and_addresses() {
        let rules = HostRules::cluster(vec![]);
        for host in [
            "localhost",
            "runway-http",
            "runway-http.runway-system.svc:80",
            "10.1.2.3:9100",
            "[fd00::7]:9100",
        ] {
            assert!(accepted(&rules, host), "{host}");
        }
        for host in ["evil.example", "runway-http.other-system.svc", "0.0.0.0:8080", "[::]:8080", "10.1.2"] {
            assert!(!accepted(&rules, host), "{host}");
        }
        let other = HostRules::cluster(vec!["runway.example.com".to_owned()]);
        assert!(accepted(&other, "runway.example.com") && !accepted(&other, "runway-http"));
    }

    #[test]
    fn allowed_host_has_no_port() {
        for good in ["runway.example.com", "runway-http", "10.0.0.7", "fd00::7"] {
            assert_eq!(parse_host(good).as_deref(), Ok(good));
        }
        assert_eq!(parse_host("runway.example.com.").as_deref(), Ok("runway.example.com"));
        for bad in ["", "runway.example.com:8080", "https://runway.example.com", "a b", "[::1]", "*"] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
    }
}
