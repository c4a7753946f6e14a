//! Node: addresses, AS and role of a node. There are thousands; each is kept in a few hundred bytes.

use super::super::selector::Labels;
use super::super::value::{AsNumber, InterfaceAddress, nonzero_as};
use super::{Envelope, labels, open};
use crate::cluster::field::{Field, Findings};
use bgp_proto::{Asn, BgpId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// For selectors.
    pub labels: Labels,
    /// Its IPv4 address, with the length of its subnet.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 address, with the length of its subnet.
    pub ipv6: Option<Ipv6Net>,
    /// `None`: that of the cluster.
    pub asn: Option<Asn>,
    /// Present: it is a route reflector.
    pub cluster_id: Option<BgpId>,
    /// It routes IPv4 over WireGuard.
    pub has_wireguard_ipv4: bool,
    /// It routes IPv6 over WireGuard.
    pub has_wireguard_ipv6: bool,
    /// Blocks of a node whose addresses are assigned on the node itself. Often empty.
    pub pod_cidrs: Box<[IpNet]>,
}

impl Node {
    /// Its address of this IP version.
    pub fn address(&self, is_ipv4: bool) -> Option<IpAddr> {
        if is_ipv4 { self.ipv4.map(|net| net.addr().into()) } else { self.ipv6.map(|net| net.addr().into()) }
    }

    /// Does it route this IP version over WireGuard?
    pub fn has_wireguard(&self, is_ipv4: bool) -> bool {
        if is_ipv4 { self.has_wireguard_ipv4 } else { self.has_wireguard_ipv6 }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    bgp: Field<Bgp>,
    wireguard: Field<Wireguard>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Bgp {
    ipv4_address: Field<InterfaceAddress>,
    ipv6_address: Field<InterfaceAddress>,
    as_number: Field<AsNumber>,
    #[serde(rename = "routeReflectorClusterID")]
    route_reflector_cluster_id: Field<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wireguard {
    #[serde(rename = "interfaceIPv4Address")]
    interface_ipv4_address: Field<Ipv4Addr>,
    #[serde(rename = "interfaceIPv6Address")]
    interface_ipv6_address: Field<Ipv6Addr>,
}

impl Node {
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let Envelope { metadata, spec, status } = open::<Spec>(json)?;
        let spec = spec.unwrap_or_default();
        let bgp = findings.take("spec.bgp", spec.bgp).unwrap_or_default();
        let wireguard = findings.take("spec.wireguard", spec.wireguard).unwrap_or_default();
        let cluster_id = findings.take("spec.bgp.routeReflectorClusterID", bgp.route_reflector_cluster_id);
        let pod_cidrs = findings.take_list("status.podCIDRs", status.pod_cidrs);
        let wireguard_ipv4 =
            findings.take("spec.wireguard.interfaceIPv4Address", wireguard.interface_ipv4_address);
        let wireguard_ipv6 =
            findings.take("spec.wireguard.interfaceIPv6Address", wireguard.interface_ipv6_address);
        Ok(Self {
            ipv4: match findings.take("spec.bgp.ipv4Address", bgp.ipv4_address) {
                Some(InterfaceAddress(IpNet::V4(net))) => Some(net),
                Some(_) => {
                    findings.note("spec.bgp.ipv4Address: is an IPv6 address");
                    None
                }
                None => None,
            },
            ipv6: match findings.take("spec.bgp.ipv6Address", bgp.ipv6_address) {
                Some(InterfaceAddress(IpNet::V6(net))) => Some(net),
                Some(_) => {
                    findings.note("spec.bgp.ipv6Address: is an IPv4 address");
                    None
                }
                None => None,
            },
            asn: nonzero_as("spec.bgp.asNumber", bgp.as_number, findings),
            cluster_id: cluster_id.filter(|text| !text.is_empty()).and_then(|text| {
                let parsed = text.parse().ok().filter(|id: &BgpId| id.0 != 0);
                if parsed.is_none() {
                    findings.note(
                        "spec.bgp.routeReflectorClusterID: expected four octets such as 244.0.0.1; \
                         the node counts as no reflector",
                    );
                }
                parsed
            }),
            has_wireguard_ipv4: wireguard_ipv4.is_some(),
            has_wireguard_ipv6: wireguard_ipv6.is_some(),
            pod_cidrs: pod_cidrs.into_iter().map(|cidr| cidr.0).collect(),
            labels: labels(metadata, findings),
        })
    }
}
