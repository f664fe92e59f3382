//! The addresses of a server whose jobs run on its own machine.
//!
//! A client of such a server can run programs on the machine. Without client certificates, the server
//! therefore listens only on loopback addresses.

use std::net::SocketAddr;

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
    // An IPv4-mapped address such as `::ffff:127.0.0.1` is a loopback address, too.
    let is_loopback = address.ip().to_canonical().is_loopback();
    if is_loopback { Ok(()) } else { Err(ExposedAddress { flag, address }) }
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
}
