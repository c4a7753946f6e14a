//! Endpoint status files: what Felix says about local workloads.

use crate::cluster::field::{Field, Findings};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;

use super::value::InterfaceAddress;

/// A local workload with which a BGPPeer sets up sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The BGPPeer that Felix chose for it.
    pub bgp_peer: String,
    /// Its first IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// Its first IPv6 address.
    pub ipv6: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    bgp_peer_name: Field<String>,
    ipv4_nets: Field<Vec<Field<InterfaceAddress>>>,
    ipv6_nets: Field<Vec<Field<InterfaceAddress>>>,
}

impl EndpointStatus {
    /// `None`: a workload without BGP.
    pub(super) fn read(json: &[u8], findings: &mut Findings) -> Result<Option<Self>, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| format!("unreadable: {error}"))?;
        let Some(bgp_peer) = findings.take("bgpPeerName", file.bgp_peer_name).filter(|name| !name.is_empty())
        else {
            return Ok(None);
        };
        let mut first = |path: &str, field, is_ipv4: bool| {
            let nets = findings.take_list::<InterfaceAddress>(path, field);
            let mut addresses =
                nets.into_iter().map(|InterfaceAddress(net): InterfaceAddress| IpNet::addr(&net));
            addresses.find(|address| address.is_ipv4() == is_ipv4)
        };
        let ipv4 = first("ipv4Nets", file.ipv4_nets, true);
        let ipv6 = first("ipv6Nets", file.ipv6_nets, false);
        Ok(Some(Self { bgp_peer, ipv4, ipv6 }))
    }
}
