//! The number of open connections of each client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the open connections of each client address. Clones share the counts.
#[derive(Debug, Clone)]
pub(super) struct ClientConnections {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max_per_client: usize,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(super) struct ClientConnection {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl ClientConnections {
    pub(super) fn new(max_per_client: usize) -> Self {
        Self { open: Arc::default(), max_per_client }
    }

    /// Counts a connection. Returns `None` if its client has reached the limit.
    pub(super) fn try_acquire(&self, address: IpAddr) -> Option<ClientConnection> {
        let client = client_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&client).copied().unwrap_or_default();
        if count >= self.max_per_client {
            return None;
        }
        open.insert(client, count + 1);
        Some(ClientConnection { open: Arc::clone(&self.open), client })
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.client);
            }
        }
    }
}

/// Returns the address under which a client is counted. One client usually has a whole IPv6 network of 64
/// bits, so its addresses count together.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_per_client() {
        let connections = ClientConnections::new(2);
        let acquire = |address: &str| connections.try_acquire(address.parse().unwrap());
        let open = [acquire("10.0.0.1"), acquire("::ffff:10.0.0.1")];
        assert!(open.iter().all(Option::is_some) && acquire("10.0.0.1").is_none());
        assert!(acquire("10.0.0.2").is_some());
        let network = [acquire("fd00::1"), acquire("fd00::2")];
        assert!(network.iter().all(Option::is_some) && acquire("fd00::3").is_none());
        assert!(acquire("fd00:0:0:1::1").is_some());
        drop(open);
        assert!(acquire("10.0.0.1").is_some());
        drop(network);
        assert!(connections.open.lock().unwrap().is_empty());
    }
}
