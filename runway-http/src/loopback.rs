//! Access rules for a server whose jobs run on its own machine.
//!
//! A client of such a server can run programs on the machine. Without client certificates, the server
//! therefore accepts only requests from the machine itself.

use crate::problem::{ApiError, ProblemKind, finalize};
use crate::request_id::RequestIds;
use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use runway_control::{Env, SystemEnv};
use std::net::{IpAddr, SocketAddr};

/// The error for an address that other machines can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{flag} {address}` is not a loopback address: with `--backend local`, every client can run programs on this machine; \
     listen on 127.0.0.0/8 or [::1], or require client certificates with `--client-ca`"
)]
pub struct ExposedAddress {
    /// The flag that sets the address.
    pub flag: &'static str,
    /// The address.
    pub address: SocketAddr,
}

/// Parses an IP address and a port. Host names are rejected, because a name can resolve to another address
/// later.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as `127.0.0.1:8080` or `[::1]:8080`; host names are not resolved"
    })
}

pub(crate) fn check_loopback(flag: &'static str, address: SocketAddr) -> Result<(), ExposedAddress> {
    if is_loopback(address.ip()) { Ok(()) } else { Err(ExposedAddress { flag, address }) }
}

fn is_loopback(ip: IpAddr) -> bool {
    // An IPv4-mapped address such as `::ffff:127.0.0.1` is a loopback address, too.
    ip.to_canonical().is_loopback()
}

/// Rejects requests whose host is neither `localhost` nor a loopback address.
///
/// This prevents DNS rebinding. In such an attack, the host name of a foreign web page suddenly resolves to
/// 127.0.0.1, and the page sends its requests to this server. The browser still sends the foreign name as the
/// host. A request without a host is accepted, because browsers always send one.
pub fn require_loopback_host(routes: Router) -> Router {
    routes.layer(from_fn(reject_foreign_host))
}

async fn reject_foreign_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let is_allowed = |authority: Option<&Authority>| authority.is_some_and(is_loopback_host);
    if host.is_none_or(|host| is_allowed(host.as_ref()))
        && request.uri().authority().is_none_or(is_loopback_host)
    {
        return next.run(request).await;
    }
    let ids = RequestIds::from_headers(request.headers(), SystemEnv.random());
    let detail = "this server accepts only requests from its own machine; use `localhost` or a loopback address as the host";
    finalize(ApiError::new(ProblemKind::Misdirected, detail).into_response(), &ids)
}

fn is_loopback_host(authority: &Authority) -> bool {
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_accepted() {
        for (text, is_accepted) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.0:1", true),
            ("127.255.255.255:1", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("126.255.255.255:1", false),
            ("128.0.0.0:1", false),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("[::2]:8080", false),
            ("[::ffff:0.0.0.0]:8080", false),
            ("192.168.1.7:8080", false),
            ("[fe80::1]:8080", false),
        ] {
            let address = parse_address(text).unwrap();
            assert_eq!(check_loopback("--listen", address).is_ok(), is_accepted, "{text}");
        }
        for name in ["localhost:8080", "127.0.0.1", ":8080", "example.com:80", "127.1:80"] {
            assert!(parse_address(name).is_err(), "{name}");
        }
    }

    #[test]
    fn only_loopback_hosts_are_allowed() {
        let is_allowed = |host: &str| is_loopback_host(&host.parse().unwrap());
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert!(is_allowed(host), "{host}");
        }
        for host in ["localhost.example.com", "example.com:8080", "0.0.0.0", "[::]", "127.0.0.1.example.com"]
        {
            assert!(!is_allowed(host), "{host}");
        }
    }
}
