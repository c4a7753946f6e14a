//! Netlink framing: headers, attributes, padding. Values are in host byte order unless a name says otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `nlmsghdr`: length, type, flags, sequence number, port id.
pub(super) const HEADER_LEN: usize = 16;
/// Length and type before an attribute's value.
pub(super) const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The two high bits of an attribute's type are flags (nested, network byte order).
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

// linux/netlink.h
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const NLM_F_REPLACE: u16 = 0x100;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_CAPPED: u16 = 0x100;
pub(super) const NLM_F_ACK_TLVS: u16 = 0x200;
pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;

// linux/rtnetlink.h: message types
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;

// linux/rtnetlink.h: multicast groups
pub(super) const RTNLGRP_LINK: u32 = 1;
pub(super) const RTNLGRP_IPV4_IFADDR: u32 = 5;
pub(super) const RTNLGRP_IPV4_ROUTE: u32 = 7;
pub(super) const RTNLGRP_IPV6_IFADDR: u32 = 9;
pub(super) const RTNLGRP_IPV6_ROUTE: u32 = 11;
pub(super) const RTNLGRP_NEXTHOP: u32 = 32;

// linux/rtnetlink.h: routes
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_METRICS: u16 = 8;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
pub(super) const RTA_NH_ID: u16 = 30;
pub(super) const RTAX_MTU: u16 = 2;
pub(super) const RTN_UNICAST: u8 = 1;
pub(super) const RTN_BLACKHOLE: u8 = 6;
pub(super) const RTN_UNREACHABLE: u8 = 7;
pub(super) const RTN_PROHIBIT: u8 = 8;
pub(super) const RTNH_F_ONLINK: u32 = 4;
pub(super) const RTM_F_CLONED: u32 = 0x200;
pub(super) const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
pub(super) const RTM_F_FIB_MATCH: u32 = 0x2000;
pub(super) const RTPROT_UNSPEC: u8 = 0;
pub(super) const RTPROT_KERNEL: u8 = 2;
pub(super) const RT_SCOPE_UNIVERSE: u8 = 0;
pub(super) const RT_SCOPE_LINK: u8 = 253;
pub(super) const RT_SCOPE_NOWHERE: u8 = 255;
pub(super) const RT_TABLE_UNSPEC: u8 = 0;
pub(super) const RT_TABLE_MAIN: u32 = 254;
/// `rtmsg` without its attributes.
pub(super) const ROUTE_HEADER_LEN: usize = 12;
/// `rtnexthop` without its attributes.
pub(super) const MULTIPATH_HOP_LEN: usize = 8;

// linux/if_addr.h
pub(super) const IFA_ADDRESS: u16 = 1;
/// Of an IPv4 address: another one of the interface stands for its network.
pub(super) const IFA_F_SECONDARY: u8 = 1;
/// `ifaddrmsg`.
pub(super) const ADDRESS_HEADER_LEN: usize = 8;

// linux/if_link.h
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_EXT_MASK: u16 = 29;
pub(super) const RTEXT_FILTER_SKIP_STATS: u32 = 8;
pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_LOWER_UP: u32 = 0x10000;
/// `ifinfomsg`.
pub(super) const LINK_HEADER_LEN: usize = 16;

/// Appends messages to a buffer. One at a time is open; its length is filled in when it is finished.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    message_start: usize,
}

impl Writer {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    pub(super) fn begin(&mut self, message_type: u16, flags: u16, sequence: u32) {
        self.message_start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&message_type.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
    }

    pub(super) fn finish(&mut self) {
        let len = (self.bytes.len() - self.message_start) as u32;
        self.patch(self.message_start, &len.to_ne_bytes());
    }

    /// Adds flags to the message that starts at `start`.
    pub(super) fn add_flags_at(&mut self, start: usize, flags: u16) {
        let at = start + 6;
        let old = u16_at(&self.bytes, at).unwrap_or(0);
        self.patch(at, &(old | flags).to_ne_bytes());
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn attribute(&mut self, attribute_type: u16, value: &[u8]) {
        let len = (ATTRIBUTE_HEADER_LEN + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&attribute_type.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn attribute_u32(&mut self, attribute_type: u16, value: u32) {
        self.attribute(attribute_type, &value.to_ne_bytes());
    }

    pub(super) fn attribute_ip(&mut self, attribute_type: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(attribute_type, &address.octets()),
            IpAddr::V6(address) => self.attribute(attribute_type, &address.octets()),
        }
    }

    /// Writes an attribute whose value is written by `fill`.
    pub(super) fn nested(&mut self, attribute_type: u16, fill: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&attribute_type.to_ne_bytes());
        fill(self);
        self.patch_len(start);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Fills in a 16-bit length at `start` that reaches to the end of what is written.
    pub(super) fn patch_len(&mut self, start: usize) {
        let len = (self.bytes.len() - start) as u16;
        self.patch(start, &len.to_ne_bytes());
    }

    /// Writes over what is there.
    pub(super) fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// One message of a received buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) message_type: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// Everything after the header.
    pub(super) payload: &'a [u8],
}

/// The messages of a received buffer; ends at the first that is cut short.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(bytes, 0)? as usize;
        let payload = bytes.get(HEADER_LEN..len)?;
        let message = Message {
            message_type: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload,
        };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The attributes of a message's tail; ends at the first that is cut short.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let attribute_type = u16_at(bytes, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((attribute_type, value))
    })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn ip_from(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

pub(super) fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}
