//! What a namespace's routing tables hold, as `ip route` shows it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::error::LabError;
use crate::netns::Namespace;

/// The `rtm_protocol` of routes that a BGP daemon of this project (and BIRD) installs.
pub const PROTOCOL: u32 = 12;

/// One route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// The destination.
    pub prefix: IpNet,
    /// `unicast`, `blackhole` and so on.
    pub kind: String,
    /// The next hop, unless directly connected.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub device: Option<String>,
    /// Who installed it.
    pub protocol: u32,
}

/// As one line of `ip route`, without what varies from kernel to kernel.
impl fmt::Display for KernelRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != "unicast" {
            write!(f, "{} ", self.kind)?;
        }
        write!(f, "{}", self.prefix)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        // The kernel lists IPv6 blackholes on loopback.
        if let Some(device) = self.device.as_deref().filter(|_| self.kind == "unicast") {
            write!(f, " dev {device}")?;
        }
        write!(f, " proto {}", self.protocol)
    }
}

/// The routes of both families that carry `protocol`, IPv4 first, sorted.
///
/// # Errors
/// If `ip` fails.
pub fn routes(namespace: &Namespace, protocol: u32) -> Result<Vec<KernelRoute>, LabError> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let answer = namespace.ip_show(&format!("-j -N -d {family} route show proto {protocol}"))?;
        let answer: Value = serde_json::from_str(if answer.trim().is_empty() { "[]" } else { &answer })
            .map_err(|error| LabError::answer("ip route", error, &answer))?;
        for route in answer.as_array().into_iter().flatten() {
            routes.extend(parse(route, protocol));
        }
    }
    routes.sort_by_key(|route| route.prefix);
    Ok(routes)
}

fn parse(route: &Value, protocol: u32) -> Option<KernelRoute> {
    let destination = route["dst"].as_str()?;
    let prefix =
        destination.parse().or_else(|_| destination.parse().map(|address: IpAddr| address.into())).ok()?;
    // A multipath route lists its next hops; the lab never has more than one per route.
    let hop = route["nexthops"].get(0).unwrap_or(route);
    let gateway = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
    Some(KernelRoute {
        prefix,
        kind: match route["type"].as_str() {
            None | Some("1") => "unicast".into(),
            Some("6") => "blackhole".into(),
            Some(kind) => kind.into(),
        },
        gateway: gateway.and_then(|gateway| gateway.parse().ok()),
        device: hop["dev"].as_str().map(str::to_owned),
        // `ip` leaves out what it was asked to select by.
        protocol,
    })
}
