//! The kernel's answers and notices from bytes. `None` means: not readable, or not of interest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::nexthop;
use super::wire::*;
use crate::error::Refusal;
use crate::kernel::{
    Action, Address, Content, Hop, KernelNexthop, KernelRoute, Link, NexthopContent, Notice, Ownership,
};

/// A route with what says whose it is.
#[derive(Debug, Clone)]
pub(super) struct DecodedRoute {
    pub(super) table: u32,
    pub(super) protocol: u8,
    pub(super) prefix: IpNet,
    pub(super) metric: u32,
    pub(super) content: Content,
}

pub(super) fn route(payload: &[u8]) -> Option<DecodedRoute> {
    let &[family, prefix_len, source_len, tos, table, protocol, _scope, route_type] = payload.get(..8)?
    else {
        return None;
    };
    let flags = u32_at(payload, 8)?;
    // Routes by source or type of service have a key that we never use; cache entries are no routes.
    if source_len != 0 || tos != 0 || flags & RTM_F_CLONED != 0 || !matches!(family, AF_INET | AF_INET6) {
        return None;
    }
    let mut table = u32::from(table);
    let mut destination = None;
    let mut metric = 0;
    let mut single = Hop { gateway: None, interface: 0, onlink: flags & RTNH_F_ONLINK != 0, weight: 1 };
    let mut content = Content {
        action: action(route_type),
        nexthop_id: 0,
        hops: Vec::new(),
        preferred_source: None,
        mtu: None,
    };
    for (attribute_type, value) in attributes(payload.get(ROUTE_HEADER_LEN..)?) {
        match attribute_type {
            RTA_DST => destination = Some(ip_from(value)?),
            RTA_GATEWAY => single.gateway = ip_from(value),
            RTA_METRICS => content.mtu = mtu(value),
            RTA_MULTIPATH => content.hops = multipath(value),
            RTA_NH_ID => content.nexthop_id = u32_at(value, 0)?,
            RTA_OIF => single.interface = u32_at(value, 0)?,
            RTA_PREFSRC => content.preferred_source = ip_from(value),
            RTA_PRIORITY => metric = u32_at(value, 0)?,
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_VIA => single.gateway = via(value),
            _ => {}
        }
    }
    if content.action != Action::Unicast {
        // IPv6 shows reject routes on the loopback interface; that is its way of storing them.
        content.hops.clear();
    } else if content.hops.is_empty() && (single.gateway.is_some() || single.interface != 0) {
        content.hops.push(single);
    }
    let address = destination.unwrap_or_else(|| unspecified(family));
    let prefix = IpNet::new(address, prefix_len).ok()?.trunc();
    Some(DecodedRoute { table, protocol, prefix, metric, content })
}

fn action(route_type: u8) -> Action {
    match route_type {
        RTN_BLACKHOLE => Action::Blackhole,
        RTN_PROHIBIT => Action::Prohibit,
        RTN_UNICAST => Action::Unicast,
        RTN_UNREACHABLE => Action::Unreachable,
        other => Action::Other(other),
    }
}

fn unspecified(family: u8) -> IpAddr {
    if family == AF_INET { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) }
}

fn via(value: &[u8]) -> Option<IpAddr> {
    ip_from(value.get(2..)?)
}

fn mtu(value: &[u8]) -> Option<u32> {
    attributes(value).find(|(metric_type, _)| *metric_type == RTAX_MTU).and_then(|(_, mtu)| u32_at(mtu, 0))
}

fn multipath(mut value: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let Some(hop) = multipath_hop(&mut value) {
        hops.push(hop);
    }
    hops.sort_unstable();
    hops
}

fn multipath_hop(value: &mut &[u8]) -> Option<Hop> {
    let bytes = *value;
    let len = usize::from(u16_at(bytes, 0)?);
    let flags = u32::from(*bytes.get(2)?);
    let weight = u16::from(*bytes.get(3)?) + 1;
    let interface = u32_at(bytes, 4)?;
    let mut gateway = None;
    for (attribute_type, value) in attributes(bytes.get(MULTIPATH_HOP_LEN..len)?) {
        match attribute_type {
            RTA_GATEWAY => gateway = ip_from(value),
            RTA_VIA => gateway = via(value),
            _ => {}
        }
    }
    *value = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    Some(Hop { gateway, interface, onlink: flags & RTNH_F_ONLINK != 0, weight })
}

pub(super) fn link(payload: &[u8]) -> Option<Link> {
    let index = u32_at(payload, 4)?;
    let flags = u32_at(payload, 8)?;
    let (_, name) = attributes(payload.get(LINK_HEADER_LEN..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    let name = std::str::from_utf8(name.strip_suffix(&[0]).unwrap_or(name)).ok()?;
    let (is_up, has_carrier) = (flags & IFF_UP != 0, flags & IFF_LOWER_UP != 0);
    Some(Link { index, name: Arc::from(name), is_up, has_carrier })
}

/// An address with its network. That of a point-to-point address is the far end.
pub(super) fn address(payload: &[u8]) -> Option<Address> {
    let &[family, prefix_len, flags, scope] = payload.get(..4)? else { return None };
    let interface = u32_at(payload, 4)?;
    let stands_for_network = scope < RT_SCOPE_LINK && !(family == AF_INET && flags & IFA_F_SECONDARY != 0);
    let network = || {
        let tail = payload.get(ADDRESS_HEADER_LEN..)?;
        let (_, address) = attributes(tail).find(|(kind, _)| *kind == IFA_ADDRESS)?;
        Some(IpNet::new(ip_from(address)?, prefix_len).ok()?.trunc())
    };
    Some(Address { interface, network: network().filter(|_| stands_for_network) })
}

/// What an acknowledgement or an error message says: nothing, or why the request was refused.
pub(super) fn refusal(message: &Message<'_>) -> Option<Refusal> {
    let code = u32_at(message.payload, 0)? as i32;
    if code == 0 {
        return None;
    }
    let text = extended_text(message).unwrap_or_default();
    Some(Refusal::with_text(code.saturating_neg(), &text))
}

/// The text of an extended acknowledgement: attributes after the (possibly cut) copy of the request.
fn extended_text(message: &Message<'_>) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request_len = if message.message_type == NLMSG_DONE {
        0
    } else if message.flags & NLM_F_CAPPED != 0 {
        HEADER_LEN
    } else {
        (u32_at(message.payload, 4)? as usize).next_multiple_of(4)
    };
    let tail = message.payload.get(4 + request_len..)?;
    let (_, text) = attributes(tail).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned())
}

/// A message of the monitor socket. `None`: no such message concerns us.
pub(super) fn notice(message: &Message<'_>, ownership: &Ownership) -> Option<Notice> {
    let payload = message.payload;
    match message.message_type {
        RTM_NEWLINK => Some(Notice::LinkChanged { link: link(payload)? }),
        RTM_DELLINK => Some(Notice::LinkRemoved { index: u32_at(payload, 4)? }),
        RTM_NEWADDR => Some(Notice::AddressAdded { address: address(payload)? }),
        RTM_DELADDR => Some(Notice::AddressRemoved { address: address(payload)? }),
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
            Some(Notice::NexthopChanged { id: nexthop::decode(payload).map_or(0, |nexthop| nexthop.id) })
        }
        RTM_NEWROUTE | RTM_DELROUTE => Some(route_notice(message, ownership)),
        _ => None,
    }
}

fn route_notice(message: &Message<'_>, ownership: &Ownership) -> Notice {
    let Some(route) = route(message.payload) else { return Notice::OtherRoute { prefix: None } };
    if route.table != ownership.table {
        return Notice::OtherRoute { prefix: Some(route.prefix) };
    }
    let DecodedRoute { protocol, prefix, metric, content, .. } = route;
    if message.message_type == RTM_DELROUTE {
        return Notice::RouteRemoved { prefix, metric, protocol };
    }
    let replaces = message.flags & NLM_F_REPLACE != 0;
    Notice::RouteAdded {
        route: KernelRoute { prefix, metric, content: Arc::new(content) },
        protocol,
        replaces,
    }
}

/// Makes routes of a dump so that equal contents are held once.
#[derive(Debug, Default)]
pub(super) struct RouteCollector {
    contents: HashMap<Content, Arc<Content>>,
}

impl RouteCollector {
    pub(super) fn collect(&mut self, route: DecodedRoute) -> KernelRoute {
        let content = match self.contents.get(&route.content) {
            Some(known) => Arc::clone(known),
            None => {
                let content = Arc::new(route.content);
                self.contents.insert((*content).clone(), Arc::clone(&content));
                content
            }
        };
        KernelRoute { prefix: route.prefix, metric: route.metric, content }
    }
}

/// The hops that a nexthop object stands for. Empty when it is not known.
pub(super) fn expand(id: u32, nexthops: &HashMap<u32, &KernelNexthop>) -> Vec<Hop> {
    let single = |id: u32, weight: u16| match nexthops.get(&id).map(|nexthop| &nexthop.content) {
        Some(NexthopContent::Single { gateway, interface, onlink }) => {
            Some(Hop { gateway: *gateway, interface: *interface, onlink: *onlink, weight })
        }
        _ => None,
    };
    let mut hops: Vec<Hop> = match nexthops.get(&id).map(|nexthop| &nexthop.content) {
        Some(NexthopContent::Group(members)) => {
            members.iter().filter_map(|(member, weight)| single(*member, *weight)).collect()
        }
        _ => single(id, 1).into_iter().collect(),
    };
    hops.sort_unstable();
    hops
}
