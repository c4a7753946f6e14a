//! Requests as bytes.
//!
//! A full table is half a million routes over a handful of contents, so a route message is encoded once and copied as
//! long as consecutive routes differ in nothing but their prefix, which is then written over the copy's.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::nexthop;
use super::wire::*;
use crate::kernel::{Action, Content, Hop, Op, Ownership, Verb};

/// Encodes operations into one buffer, one message each.
#[derive(Debug)]
pub(super) struct Encoder {
    ownership: Ownership,
    writer: Writer,
    /// What the message in `pattern` says, prefix and sequence number apart.
    pattern_of: Option<PatternKey>,
    pattern: Writer,
}

/// Equal keys mean equal messages, prefix and sequence number apart.
#[derive(Debug)]
enum PatternKey {
    Delete { family: u8, metric: u32 },
    Set { family: u8, metric: u32, verb: Verb, content: Arc<Content> },
}

impl PatternKey {
    /// The key of a route request.
    fn of(op: &Op) -> Option<(IpNet, PatternKey)> {
        match op {
            Op::DeleteRoute { prefix, metric } => {
                Some((*prefix, PatternKey::Delete { family: family_of(prefix.addr()), metric: *metric }))
            }
            Op::SetRoute { prefix, metric, verb, content } => {
                let (family, content) = (family_of(prefix.addr()), Arc::clone(content));
                Some((*prefix, PatternKey::Set { family, metric: *metric, verb: *verb, content }))
            }
            Op::DeleteNexthop { .. } | Op::SetNexthop { .. } => None,
        }
    }

    /// The prefix of `op`, if its request differs from this one in nothing else.
    fn prefix_of(&self, op: &Op) -> Option<IpNet> {
        match (self, op) {
            (PatternKey::Delete { family, metric }, Op::DeleteRoute { prefix, metric: other }) => {
                (metric == other && *family == family_of(prefix.addr())).then_some(*prefix)
            }
            (
                PatternKey::Set { family, metric, verb, content },
                Op::SetRoute { prefix, metric: other_metric, verb: other_verb, content: other },
            ) => {
                let is_same = (metric, verb) == (other_metric, other_verb)
                    && *family == family_of(prefix.addr())
                    && Arc::ptr_eq(content, other);
                is_same.then_some(*prefix)
            }
            _ => None,
        }
    }
}

impl Encoder {
    pub(super) fn new(ownership: Ownership) -> Encoder {
        Encoder { ownership, writer: Writer::default(), pattern_of: None, pattern: Writer::default() }
    }

    pub(super) fn clear(&mut self) {
        self.writer.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.writer.bytes()
    }

    /// Encodes a prefix of `ops` that fits into `len_max` bytes, at least one, and returns how many. The last
    /// message alone asks for an acknowledgement: refusals are told anyway, and the kernel works in order.
    pub(super) fn encode_batch(&mut self, ops: &[Op], first_sequence: u32, len_max: usize) -> usize {
        self.clear();
        let mut count = 0;
        let mut last = 0;
        for op in ops {
            let start = self.writer.len();
            self.encode(op, first_sequence.wrapping_add(count as u32));
            if self.writer.len() > len_max && count > 0 {
                self.writer.truncate(start);
                break;
            }
            last = start;
            count += 1;
        }
        self.writer.add_flags_at(last, NLM_F_ACK);
        count
    }

    fn encode(&mut self, op: &Op, sequence: u32) {
        if let Some(prefix) = self.pattern_of.as_ref().and_then(|key| key.prefix_of(op)) {
            return self.copy_pattern(&prefix, sequence);
        }
        match op {
            Op::DeleteNexthop { id } => nexthop::encode_delete(&mut self.writer, *id, sequence),
            Op::SetNexthop { id, content, verb } => {
                let protocol = self.ownership.protocol;
                nexthop::encode_set(&mut self.writer, *id, content, protocol, flags_of(*verb), sequence);
            }
            Op::DeleteRoute { .. } | Op::SetRoute { .. } => {
                let Some((prefix, key)) = PatternKey::of(op) else { return };
                self.make_pattern(&prefix, &key);
                self.pattern_of = Some(key);
                self.copy_pattern(&prefix, sequence);
            }
        }
    }

    /// Appends a copy of the pattern, for another prefix of the same family.
    fn copy_pattern(&mut self, prefix: &IpNet, sequence: u32) {
        let start = self.writer.len();
        self.writer.put(self.pattern.bytes());
        self.writer.patch(start + SEQUENCE_AT, &sequence.to_ne_bytes());
        self.writer.patch(start + PREFIX_LEN_AT, &[prefix.prefix_len()]);
        match prefix.addr() {
            IpAddr::V4(address) => self.writer.patch(start + DESTINATION_AT, &address.octets()),
            IpAddr::V6(address) => self.writer.patch(start + DESTINATION_AT, &address.octets()),
        }
    }

    fn make_pattern(&mut self, prefix: &IpNet, key: &PatternKey) {
        self.pattern.clear();
        match key {
            PatternKey::Delete { metric, .. } => {
                self.pattern.begin(RTM_DELROUTE, 0, 0);
                // Any scope and kind, but only our table, protocol and metric: all three are matched by the kernel.
                self.route_header(prefix, RT_SCOPE_NOWHERE, 0, 0);
                self.route_key(prefix, *metric);
            }
            PatternKey::Set { family, metric, verb, content } => {
                self.pattern.begin(RTM_NEWROUTE, flags_of(*verb), 0);
                self.route_header(prefix, content.scope(), content.route_type(), content.flags());
                self.route_key(prefix, *metric);
                encode_content(&mut self.pattern, content, *family);
            }
        }
        self.pattern.finish();
    }

    fn route_header(&mut self, prefix: &IpNet, scope: u8, route_type: u8, flags: u32) {
        let table = u8::try_from(self.ownership.table).unwrap_or(RT_TABLE_UNSPEC);
        let family = family_of(prefix.addr());
        self.pattern.put(&[
            family,
            prefix.prefix_len(),
            0,
            0,
            table,
            self.ownership.protocol,
            scope,
            route_type,
        ]);
        self.pattern.put(&flags.to_ne_bytes());
    }

    /// The destination comes first, so that it is at the same place in every route message.
    fn route_key(&mut self, prefix: &IpNet, metric: u32) {
        self.pattern.attribute_ip(RTA_DST, prefix.addr());
        self.pattern.attribute_u32(RTA_PRIORITY, metric);
        if self.ownership.table > u32::from(u8::MAX) {
            self.pattern.attribute_u32(RTA_TABLE, self.ownership.table);
        }
    }
}

/// Where `nlmsg_seq`, `rtm_dst_len` and the value of the first attribute are in a route message.
const SEQUENCE_AT: usize = 8;
const PREFIX_LEN_AT: usize = HEADER_LEN + 1;
const DESTINATION_AT: usize = HEADER_LEN + ROUTE_HEADER_LEN + ATTRIBUTE_HEADER_LEN;

fn flags_of(verb: Verb) -> u16 {
    match verb {
        Verb::Create => NLM_F_CREATE | NLM_F_EXCL,
        Verb::Replace => NLM_F_CREATE | NLM_F_REPLACE,
    }
}

impl Content {
    fn route_type(&self) -> u8 {
        match self.action {
            Action::Blackhole => RTN_BLACKHOLE,
            Action::Prohibit => RTN_PROHIBIT,
            Action::Unicast => RTN_UNICAST,
            Action::Unreachable => RTN_UNREACHABLE,
            Action::Other(other) => other,
        }
    }

    /// A route without any gateway leads to neighbours on the link itself.
    fn scope(&self) -> u8 {
        let is_link = !self.hops.is_empty() && self.hops.iter().all(|hop| hop.gateway.is_none());
        if is_link { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE }
    }

    fn flags(&self) -> u32 {
        match self.hops.as_slice() {
            [hop] if hop.onlink => RTNH_F_ONLINK,
            _ => 0,
        }
    }
}

fn encode_content(writer: &mut Writer, content: &Content, family: u8) {
    if content.nexthop_id != 0 {
        writer.attribute_u32(RTA_NH_ID, content.nexthop_id);
    }
    match content.hops.as_slice() {
        [] => {}
        [hop] => {
            if hop.interface != 0 {
                writer.attribute_u32(RTA_OIF, hop.interface);
            }
            encode_gateway(writer, hop.gateway, family);
        }
        hops => writer.nested(RTA_MULTIPATH, |writer| {
            for hop in hops {
                encode_multipath_hop(writer, hop, family);
            }
        }),
    }
    if let Some(source) = content.preferred_source {
        writer.attribute_ip(RTA_PREFSRC, source);
    }
    if let Some(mtu) = content.mtu {
        writer.nested(RTA_METRICS, |writer| writer.attribute_u32(RTAX_MTU, mtu));
    }
}

fn encode_multipath_hop(writer: &mut Writer, hop: &Hop, family: u8) {
    let start = writer.len();
    let flags = if hop.onlink { RTNH_F_ONLINK as u8 } else { 0 };
    // The kernel stores weight - 1 in one byte.
    let weight = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    writer.put(&[0, 0, flags, weight]);
    writer.put(&hop.interface.to_ne_bytes());
    encode_gateway(writer, hop.gateway, family);
    writer.patch_len(start);
}

/// A gateway of the route's own family, or an IPv6 one for an IPv4 route (RFC 5549), which has its own attribute.
fn encode_gateway(writer: &mut Writer, gateway: Option<IpAddr>, family: u8) {
    match gateway {
        Some(gateway) if family_of(gateway) == family => writer.attribute_ip(RTA_GATEWAY, gateway),
        Some(IpAddr::V6(gateway)) => {
            let mut via = [0; 18];
            via[..2].copy_from_slice(&u16::from(AF_INET6).to_ne_bytes());
            via[2..].copy_from_slice(&gateway.octets());
            writer.attribute(RTA_VIA, &via);
        }
        _ => {}
    }
}

/// A request for all links.
pub(super) fn dump_links(writer: &mut Writer, sequence: u32) {
    writer.clear();
    writer.begin(RTM_GETLINK, NLM_F_DUMP, sequence);
    writer.put(&[0; LINK_HEADER_LEN]);
    writer.attribute_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    writer.finish();
}

/// A request for all addresses.
pub(super) fn dump_addresses(writer: &mut Writer, sequence: u32) {
    writer.clear();
    writer.begin(RTM_GETADDR, NLM_F_DUMP, sequence);
    writer.put(&[0; ADDRESS_HEADER_LEN]);
    writer.finish();
}

/// A request for the routes of one family and table, and of one protocol unless that is 0.
pub(super) fn dump_routes(writer: &mut Writer, family: u8, table: u32, protocol: u8, sequence: u32) {
    writer.clear();
    writer.begin(RTM_GETROUTE, NLM_F_DUMP, sequence);
    let table_byte = u8::try_from(table).unwrap_or(RT_TABLE_UNSPEC);
    writer.put(&[family, 0, 0, 0, table_byte, protocol, 0, 0, 0, 0, 0, 0]);
    writer.attribute_u32(RTA_TABLE, table);
    writer.finish();
}

/// A deletion of a route that cannot exist: the answer tells whether deleting would be allowed.
pub(super) fn delete_nothing(encoder: &mut Encoder, sequence: u32) {
    let nowhere = IpNet::from(IpAddr::from([255, 255, 255, 255]));
    encoder.clear();
    encoder.encode_batch(&[Op::DeleteRoute { prefix: nowhere, metric: u32::MAX }], sequence, usize::MAX);
}
