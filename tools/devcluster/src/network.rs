//! The pod network of one node.
//!
//! There is no kube-proxy, so the cluster IPs of Services do not work, with one exception. The API server's
//! Service has the first address of the Service range. The Service range is the start of the pod network, so
//! this address is also the address of the bridge on this machine. A relay listens on this address and
//! forwards connections to the API server.

use crate::random::random_bytes;
use runway_steps::ToolError;
use rustix::io::Errno;
use rustix::net::sockopt::set_ip_freebind;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The port of the API server's Service.
pub(crate) const SERVICE_PORT: u16 = 443;

/// Number of networks. The range 198.18.0.0/15, which is reserved for tests, contains this many blocks of
/// 1,024 addresses.
const NETWORK_COUNT: u8 = 128;

/// The index of one block of 1,024 addresses.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct PodNetwork(u8);

impl PodNetwork {
    /// Returns a network whose gateway address is not in use on this machine, so no other cluster has this
    /// network.
    pub(crate) fn allocate() -> Result<Self, ToolError> {
        let [start] = random_bytes::<1>()?;
        let mut all = (0..NETWORK_COUNT).map(|step| Self((start % NETWORK_COUNT + step) % NETWORK_COUNT));
        all.find(|network| network.is_free(SERVICE_PORT))
            .ok_or_else(|| ToolError::Unsupported { what: "no pod network is free".to_owned() })
    }

    /// Whether the gateway address is free: it is not assigned to this machine, and no process has bound this
    /// port of it in advance (`IP_FREEBIND`).
    fn is_free(self, port: u16) -> bool {
        let address = SocketAddrV4::new(self.gateway_address(), port);
        let try_bind = |early| {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            set_ip_freebind(&socket, early)?;
            bind(&socket, &address)
        };
        try_bind(false) == Err(Errno::ADDRNOTAVAIL) && try_bind(true).is_ok()
    }

    fn address(self, part: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18 + self.0 / 64, self.0 % 64 * 4 + part, host)
    }

    /// The address of the bridge on this machine. It is also the cluster IP of the API server.
    pub(crate) fn gateway_address(self) -> Ipv4Addr {
        self.address(0, 1)
    }

    pub(crate) fn service_cidr(self) -> String {
        format!("{}/24", self.address(0, 0))
    }

    /// The address range of the pods: the whole network.
    pub(crate) fn pod_cidr(self) -> String {
        format!("{}/22", self.address(0, 0))
    }

    /// The first address that a pod can get. The addresses before it are for the gateway and for Services.
    pub(crate) fn first_pod_address(self) -> Ipv4Addr {
        self.address(1, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{NETWORK_COUNT, PodNetwork};
    use rustix::net::sockopt::set_ip_freebind;
    use rustix::net::{AddressFamily, SocketType, bind, socket};
    use std::net::SocketAddrV4;

    #[test]
    fn network_of_another_cluster_is_not_free() {
        // The port is unprivileged, so that the test does not need root.
        let (network, port) = (PodNetwork(77), 20_443);
        assert!(network.is_free(port));
        let relay = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        set_ip_freebind(&relay, true).unwrap();
        bind(&relay, &SocketAddrV4::new(network.gateway_address(), port)).unwrap();
        assert!(!network.is_free(port));
        assert!(PodNetwork(78).is_free(port));
    }

    #[test]
    fn networks_do_not_overlap() {
        let shown = |number| {
            let network = PodNetwork(number);
            format!(
                "{} {} {} {}",
                network.gateway_address(),
                network.service_cidr(),
                network.first_pod_address(),
                network.pod_cidr()
            )
        };
        assert_eq!(shown(0), "198.18.0.1 198.18.0.0/24 198.18.1.0 198.18.0.0/22");
        assert_eq!(shown(63), "198.18.252.1 198.18.252.0/24 198.18.253.0 198.18.252.0/22");
        assert_eq!(shown(64), "198.19.0.1 198.19.0.0/24 198.19.1.0 198.19.0.0/22");
        assert_eq!(shown(NETWORK_COUNT - 1), "198.19.252.1 198.19.252.0/24 198.19.253.0 198.19.252.0/22");
    }
}
