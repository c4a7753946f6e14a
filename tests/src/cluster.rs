//! Hosts with pods, numbered and addressed like a small Calico cluster.
//!
//! Host 1 has 172.17.8.101 and fd00:172:17:8::101 on `eth0`, the pod blocks 192.168.18.64/26 and fd00:10:244:1::/64, and
//! one pod with the first address of each block; host 2 the next ones, and so on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::LabError;
use crate::kernel::{self, KernelRoute};
use crate::lab::{Lab, Node, Pod, Switch};
use crate::ping::{ContinuousPing, PingCount, ping};
use crate::spec::{RouteSpec, SpeakerSpec};
use crate::wait::wait_until;

/// The AS of the whole cluster.
pub const CLUSTER_AS: u32 = 64512;

/// One host with its blocks and its pod.
#[derive(Clone, Debug)]
pub struct Host {
    /// The host.
    pub node: Node,
    /// Its only pod.
    pub pod: Pod,
    /// Its IPv4 pod block.
    pub block_v4: Ipv4Net,
    /// Its IPv6 pod block.
    pub block_v6: Ipv6Net,
}

impl Host {
    /// Makes host `number` (from 1) with its pod.
    ///
    /// # Errors
    /// If the system refuses.
    ///
    /// # Panics
    /// If the number is not between 1 and 99.
    pub fn new(lab: &Lab, switch: &Switch, name: &str, number: u8) -> Result<Host, LabError> {
        let node = host_node(lab, switch, name, number)?;
        let block = Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 18, 0)) + 64 * u32::from(number));
        let block_v4 = Ipv4Net::new(block, 26).expect("26 is a length");
        let block = Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(number), 0, 0, 0, 0);
        let block_v6 = Ipv6Net::new(block, 64).expect("64 is a length");
        let first_v4 = Ipv4Addr::from(u32::from(block_v4.addr()) + 1);
        let first_v6 = Ipv6Addr::from(u128::from(block_v6.addr()) + 1);
        let pod = lab.pod(&node, &format!("pod-{}", name.trim_start_matches("node-")), first_v4, first_v6)?;
        Ok(Host { node, pod, block_v4, block_v6 })
    }

    /// A speaker for this host that announces both blocks.
    #[must_use]
    pub fn spec(&self) -> SpeakerSpec {
        SpeakerSpec::on(&self.node, CLUSTER_AS)
            .with_route(RouteSpec::block(&self.block_v4.to_string()))
            .with_route(RouteSpec::block(&self.block_v6.to_string()))
    }

    /// The kernel routes of the project's protocol on this host.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn kernel_routes(&self) -> Result<Vec<KernelRoute>, LabError> {
        kernel::routes(&self.node.namespace, kernel::PROTOCOL)
    }

    /// Says what is missing or wrong in the kernel: each other host's blocks must go via that host, and the own ones
    /// into a blackhole.
    ///
    /// # Errors
    /// The first complaint.
    pub fn check_kernel(&self, others: &[&Host]) -> Result<(), String> {
        let routes = self.kernel_routes().map_err(|error| error.to_string())?;
        let find = |prefix: IpNet| routes.iter().find(|route| route.prefix == prefix);
        for block in self.blocks() {
            match find(block) {
                Some(route) if route.kind == "blackhole" => {}
                Some(route) => return Err(format!("{}: {route}, not a blackhole", self.node.name)),
                None => return Err(format!("{}: no blackhole for {block}", self.node.name)),
            }
        }
        for other in others {
            for (block, via) in other.blocks().into_iter().zip(other.addresses()) {
                match find(block) {
                    Some(route) if route.gateway == Some(via) => {}
                    Some(route) => return Err(format!("{}: {route}, not via {via}", self.node.name)),
                    None => return Err(format!("{}: no route to {block}", self.node.name)),
                }
            }
        }
        Ok(())
    }

    /// Both blocks, IPv4 first.
    #[must_use]
    pub fn blocks(&self) -> [IpNet; 2] {
        [self.block_v4.into(), self.block_v6.into()]
    }

    /// Both addresses of the host, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.node.v4.into(), self.node.v6.into()]
    }

    /// Both addresses of the pod, IPv4 first.
    #[must_use]
    pub fn pod_addresses(&self) -> [IpAddr; 2] {
        [self.pod.v4.into(), self.pod.v6.into()]
    }
}

/// Makes a host without pods, such as a reflector.
///
/// # Errors
/// If the system refuses.
///
/// # Panics
/// If the number is not between 1 and 99.
pub fn host_node(lab: &Lab, switch: &Switch, name: &str, number: u8) -> Result<Node, LabError> {
    assert!((1..=99).contains(&number), "host numbers go from 1 to 99");
    let last = 100 + number;
    let v4 = Ipv4Net::new(Ipv4Addr::new(172, 17, 8, last), 24).expect("24 is a length");
    // Written alike in both families: the hexadecimal group reads as the decimal number.
    let group = u16::from_str_radix(&last.to_string(), 16).expect("decimal digits");
    let v6 = Ipv6Addr::new(0xfd00, 0x172, 0x17, 0x8, 0, 0, 0, group);
    lab.node(switch, name, v4, Ipv6Net::new(v6, 64).expect("64 is a length"))
}

/// Pings every pod from every other pod, both families, once; returns how many replies came.
///
/// # Errors
/// At the first address that does not answer within `limit`, which is shared by its retries.
pub fn ping_all_pairs(hosts: &[&Host], limit: Duration) -> Result<usize, LabError> {
    let mut reply_count = 0;
    for from in hosts {
        for to in hosts.iter().filter(|to| to.node.name != from.node.name) {
            for address in to.pod_addresses() {
                let what = format!("a reply to {} from {} ({address})", from.pod.name, to.pod.name);
                wait_until(&what, limit, || ping(&from.pod.namespace, address, Duration::from_millis(500)))?;
                reply_count += 1;
            }
        }
    }
    Ok(reply_count)
}

/// Starts pinging every pod from every other pod, both families, all the time.
#[must_use]
pub fn start_pings(hosts: &[&Host]) -> Vec<ContinuousPing> {
    let others = |from: &Host| {
        let to = hosts.iter().filter(|to| to.node.name != from.node.name);
        to.flat_map(|to| to.pod_addresses()).collect()
    };
    hosts.iter().map(|from| ContinuousPing::start(&from.pod.namespace, others(from))).collect()
}

/// Stops pings and returns their counts.
#[must_use]
pub fn finish_pings(pings: Vec<ContinuousPing>) -> Vec<PingCount> {
    pings.into_iter().flat_map(ContinuousPing::finish).collect()
}

/// Fails if one of the pings was lost.
///
/// # Errors
/// [`LabError::Unexpected`] with the worst of them.
pub fn none_lost(counts: &[PingCount]) -> Result<(), LabError> {
    let sent: u64 = counts.iter().map(|count| count.sent_count).sum();
    let lost: u64 = counts.iter().map(|count| count.lost_count).sum();
    let worst = counts.iter().filter(|count| count.lost_count > 0).max_by_key(|count| count.lost_count);
    match worst {
        None => Ok(()),
        Some(worst) => Err(LabError::Unexpected {
            what: format!("pings between pods ({sent} sent)"),
            expected: "none lost".into(),
            seen: format!(
                "{lost} lost, most of them ({}) from {} to {}, longest gap {} ms",
                worst.lost_count,
                worst.from,
                worst.to,
                worst.longest_gap.as_millis()
            ),
        }),
    }
}
