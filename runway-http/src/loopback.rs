//! A server whose jobs run on its own machine: whoever reaches it runs programs there, so nobody but this machine does.

use crate::problem::{Fault, Kind, complete};
use crate::request_id::RequestIds;
use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use runway_control::{Surroundings, System};
use std::net::{IpAddr, SocketAddr};

/// An address through which others than this machine could run programs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{flag} {address}` is not loopback: with `--backend local`, whoever reaches the server runs programs on this machine, so it \
     listens on 127.0.0.0/8 or [::1] alone, unless `--client-ca` asks for certificates"
)]
pub struct Exposed {
    /// Who said so.
    pub flag: &'static str,
    /// The address.
    pub address: SocketAddr,
}

/// Reads an address. A name could mean another address tomorrow.
pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| {
        "an IP address and a port are wanted, such as `127.0.0.1:8080` or `[::1]:8080`; names are not looked up"
    })
}

pub(crate) fn check(flag: &'static str, address: SocketAddr) -> Result<(), Exposed> {
    if is_loopback(address.ip()) { Ok(()) } else { Err(Exposed { flag, address }) }
}

fn is_loopback(ip: IpAddr) -> bool {
    // `::ffff:127.0.0.1` is the same place.
    ip.to_canonical().is_loopback()
}

/// Answers requests alone that were meant for this machine.
///
/// A page from elsewhere that somebody here looks at may have the name of its own server lead to 127.0.0.1 all at once, and then
/// asks this one as if it were its own. The browser still says which name it was.
pub fn guard(routes: Router) -> Router {
    routes.layer(from_fn(turn_away))
}

async fn turn_away(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let is_meant = |authority: Option<&Authority>| authority.is_some_and(is_this_machine);
    if host.is_none_or(|host| is_meant(host.as_ref()))
        && request.uri().authority().is_none_or(is_this_machine)
    {
        return next.run(request).await;
    }
    let ids = RequestIds::of(request.headers(), System.random());
    let detail = "this server is for the machine it runs on: ask it as `localhost` or by a loopback address";
    complete(Fault::new(Kind::Misdirected, detail).into_response(), &ids)
}

fn is_this_machine(authority: &Authority) -> bool {
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_only_this_machine_reaches() {
        for (text, is_so) in [
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
            let address = address(text).unwrap();
            assert_eq!(check("--listen", address).is_ok(), is_so, "{text}");
        }
        for name in ["localhost:8080", "127.0.0.1", ":8080", "example.com:80", "127.1:80"] {
            assert!(address(name).is_err(), "{name}");
        }
    }

    #[test]
    fn this_machine_goes_by_few_names() {
        let is_meant = |host: &str| is_this_machine(&host.parse().unwrap());
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert!(is_meant(host), "{host}");
        }
        for host in ["localhost.example.com", "example.com:8080", "0.0.0.0", "[::]", "127.0.0.1.example.com"]
        {
            assert!(!is_meant(host), "{host}");
        }
    }
}
