//! Enables the loopback interface of a new network namespace, over `rtnetlink`.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// The interface index of `lo`, the first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Enables `lo`.
pub(crate) fn up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // `NETLINK_ROUTE`, protocol 0 of the family.
        None,
    )?;
    rustix::net::sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut response = [0; 256];
    let (_, length) = rustix::net::recv(&socket, &mut response[..], RecvFlags::empty())?;
    match response.get(..length.min(response.len())).and_then(parse_ack) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Encodes `struct nlmsghdr` and `struct ifinfomsg`.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend(32u32.to_ne_bytes());
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number, port id
    bytes.extend([0; 4]); // family, type
    bytes.extend(LOOPBACK_INDEX.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes()); // change mask
    bytes
}

/// Returns the error number of an acknowledgement, or 0 for success. Returns `None` for another message.
fn parse_ack(response: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(*response.get(4..)?.first_chunk()?);
    let code = i32::from_ne_bytes(*response.get(16..)?.first_chunk()?);
    (kind == NLMSG_ERROR).then(|| code.saturating_neg())
}
