//! The addresses of a cluster. Invariant: two clusters on one machine never share an address that
//! the host can see; the ranges of pods and services are private to each cluster's namespace.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// How many clusters fit side by side: 10.245.255.0/24 in pieces of four addresses.
pub(super) const CLUSTERS: u8 = 64;

/// The range pods get their addresses from, inside the cluster's own network namespace.
pub(super) const PODS: &str = "10.244.0.0/16";

/// The range services get their addresses from, inside the cluster's own network namespace.
pub(super) const SERVICES: &str = "10.96.0.0/16";

/// The service address of the API server: by convention the first of [`SERVICES`].
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Ports on the host's end at which tests may run registries of their own, in plain HTTP.
pub(super) const TEST_REGISTRY_PORTS: std::ops::RangeInclusive<u16> = 5001..=5009;

/// Port of the cluster's registry, on the node's address.
pub(super) const REGISTRY_PORT: u16 = 5000;

/// Port of the cluster's S3 server, on the node's address.
pub(super) const S3_PORT: u16 = 7070;

/// The two ends of the cable between the host and the node: `10.245.255.(4i)/30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Addresses {
    index: u8,
}

impl Addresses {
    /// The addresses with this number; `None` from [`CLUSTERS`] on.
    pub(super) fn new(index: u8) -> Option<Self> {
        (index < CLUSTERS).then_some(Self { index })
    }

    /// The lowest number that is not `taken`.
    pub(super) fn free(taken: impl Fn(Self) -> bool) -> Option<Self> {
        (0..CLUSTERS).filter_map(Self::new).find(|addresses| !taken(*addresses))
    }

    /// The host's end of the cable.
    pub(super) fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 245, 255, self.index * 4 + 1)
    }

    /// The node's end of the cable: also where the API server and the registry listen.
    pub(super) fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 245, 255, self.index * 4 + 2)
    }

    /// The registry's `host:port`, the same for the host, the node and the pods.
    pub(super) fn registry(self) -> String {
        format!("{}:{REGISTRY_PORT}", self.node())
    }

    /// The S3 server's `host:port`, the same for the host, the node and the pods.
    pub(super) fn s3(self) -> String {
        format!("{}:{S3_PORT}", self.node())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_has_four_addresses_of_its_own() {
        let all: Vec<_> = (0..=u8::MAX).filter_map(Addresses::new).collect();
        assert_eq!(all.len(), usize::from(CLUSTERS));
        assert_eq!(all[0].host(), Ipv4Addr::new(10, 245, 255, 1));
        assert_eq!(all[0].node(), Ipv4Addr::new(10, 245, 255, 2));
        assert_eq!(all[63].node(), Ipv4Addr::new(10, 245, 255, 254));
        for pair in all.windows(2) {
            assert_eq!(pair[0].host().octets()[3] + 4, pair[1].host().octets()[3]);
        }
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        let second = Addresses::free(|addresses| addresses.index == 0).unwrap();
        assert_eq!(second.registry(), "10.245.255.6:5000");
        assert_eq!(Addresses::free(|_| true), None);
    }
}
