//! Nexthop objects (`RTM_NEWNEXTHOP`): a next hop with a number, which routes refer to.
//!
//! ```text
//! struct nhmsg { u8 family; u8 scope; u8 protocol; u8 reserved; u32 flags; }   followed by NHA_* attributes
//! struct nexthop_grp { u32 id; u8 weight - 1; u8 weight_high; u16 reserved; }  array in NHA_GROUP
//! ```

use super::wire::*;
use crate::kernel::{KernelNexthop, NexthopContent};

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// Multipath by hash; the other type (resilient) is not ours.
const NEXTHOP_GRP_TYPE_MPATH: u16 = 0;
const NEXTHOP_HEADER_LEN: usize = 8;
const GROUP_MEMBER_LEN: usize = 8;

pub(super) fn encode_set(
    writer: &mut Writer,
    id: u32,
    content: &NexthopContent,
    protocol: u8,
    flags: u16,
    sequence: u32,
) {
    writer.begin(RTM_NEWNEXTHOP, flags, sequence);
    match content {
        NexthopContent::Group(members) => {
            put_header(writer, AF_UNSPEC, protocol, 0);
            writer.attribute_u32(NHA_ID, id);
            writer.nested(NHA_GROUP, |writer| {
                for (member, weight) in members {
                    let weight = u8::try_from(weight.saturating_sub(1)).unwrap_or(u8::MAX);
                    writer.put(&member.to_ne_bytes());
                    writer.put(&[weight, 0, 0, 0]);
                }
            });
        }
        NexthopContent::Single { gateway, interface, onlink } => {
            let family = gateway.map_or(AF_INET, family_of);
            put_header(writer, family, protocol, if *onlink { RTNH_F_ONLINK } else { 0 });
            writer.attribute_u32(NHA_ID, id);
            writer.attribute_u32(NHA_OIF, *interface);
            if let Some(gateway) = gateway {
                writer.attribute_ip(NHA_GATEWAY, *gateway);
            }
        }
        // The planner writes no others; an object without content is refused by the kernel.
        NexthopContent::Other => {
            put_header(writer, AF_UNSPEC, protocol, 0);
            writer.attribute_u32(NHA_ID, id);
        }
    }
    writer.finish();
}

pub(super) fn encode_delete(writer: &mut Writer, id: u32, sequence: u32) {
    writer.begin(RTM_DELNEXTHOP, 0, sequence);
    put_header(writer, AF_UNSPEC, 0, 0);
    writer.attribute_u32(NHA_ID, id);
    writer.finish();
}

/// A request for all nexthop objects; also the probe for a kernel that has them.
pub(super) fn encode_dump(writer: &mut Writer, sequence: u32) {
    writer.clear();
    writer.begin(RTM_GETNEXTHOP, NLM_F_DUMP, sequence);
    put_header(writer, AF_UNSPEC, 0, 0);
    writer.finish();
}

fn put_header(writer: &mut Writer, family: u8, protocol: u8, flags: u32) {
    writer.put(&[family, RT_SCOPE_UNIVERSE, protocol, 0]);
    writer.put(&flags.to_ne_bytes());
}

pub(super) fn decode(payload: &[u8]) -> Option<KernelNexthop> {
    let protocol = *payload.get(2)?;
    let flags = u32_at(payload, 4)?;
    let (mut id, mut interface, mut gateway, mut members) = (0, 0, None, None);
    let mut is_other = false;
    for (attribute_type, value) in attributes(payload.get(NEXTHOP_HEADER_LEN..)?) {
        match attribute_type {
            NHA_ID => id = u32_at(value, 0)?,
            NHA_GROUP => members = Some(decode_members(value)),
            NHA_GROUP_TYPE => is_other |= u16_at(value, 0)? != NEXTHOP_GRP_TYPE_MPATH,
            NHA_BLACKHOLE => is_other = true,
            NHA_OIF => interface = u32_at(value, 0)?,
            NHA_GATEWAY => gateway = ip_from(value),
            _ => {}
        }
    }
    let content = match members {
        _ if is_other => NexthopContent::Other,
        Some(members) => NexthopContent::Group(members),
        None => NexthopContent::Single { gateway, interface, onlink: flags & RTNH_F_ONLINK != 0 },
    };
    (id != 0).then_some(KernelNexthop { id, protocol, content })
}

fn decode_members(value: &[u8]) -> Vec<(u32, u16)> {
    let member = |bytes: &[u8]| Some((u32_at(bytes, 0)?, u16::from(*bytes.get(4)?) + 1));
    let mut members: Vec<_> = value.chunks_exact(GROUP_MEMBER_LEN).filter_map(member).collect();
    members.sort_unstable();
    members
}
