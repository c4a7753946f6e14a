//! Just enough of RFC 4271 to write and read messages by hand, independent of the project's own codec.
//!
//! It judges the daemons from outside, so it must not share their mistakes: nothing here comes from `bgp-proto`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::seen::SeenRoute;

/// Length of the header: marker, length, type.
pub const HEADER_LENGTH: usize = 19;
/// Message types of RFC 4271 §4.1 and RFC 2918.
pub const OPEN: u8 = 1;
/// UPDATE.
pub const UPDATE: u8 = 2;
/// NOTIFICATION.
pub const NOTIFICATION: u8 = 3;
/// KEEPALIVE.
pub const KEEPALIVE: u8 = 4;
/// ROUTE-REFRESH.
pub const ROUTE_REFRESH: u8 = 5;

/// A message with a correct header.
///
/// # Panics
/// If the body does not fit the length field: a mistake of the test.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LENGTH + body.len()).expect("a body of at most 64 KiB");
    let mut bytes = vec![0xff; 16];
    bytes.extend(length.to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// KEEPALIVE.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

/// The fields of an OPEN; change one to make it unacceptable.
#[derive(Clone, Debug)]
pub struct Open {
    /// Protocol version.
    pub version: u8,
    /// AS number; the two-octet field follows from it.
    pub asn: u32,
    /// Hold time in seconds.
    pub hold_time: u16,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Capabilities as (code, value).
    pub capabilities: Vec<(u8, Vec<u8>)>,
}

impl Open {
    /// An OPEN that every speaker accepts: both families, route refresh, four-octet AS.
    #[must_use]
    pub fn new(asn: u32, router_id: Ipv4Addr, hold_time: u16) -> Open {
        let capabilities =
            vec![(1, vec![0, 1, 0, 1]), (1, vec![0, 2, 0, 1]), (2, vec![]), (65, asn.to_be_bytes().to_vec())];
        Open { version: 4, asn, hold_time, router_id, capabilities }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for (code, value) in &self.capabilities {
            capabilities.push(*code);
            push_length(&mut capabilities, value.len());
            capabilities.extend(value);
        }
        // RFC 6793: AS_TRANS where the number does not fit.
        let short_asn = u16::try_from(self.asn).unwrap_or(23456);
        let mut body = vec![self.version];
        body.extend(short_asn.to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.router_id.octets());
        push_length(&mut body, capabilities.len() + 2);
        body.push(2);
        push_length(&mut body, capabilities.len());
        body.extend(capabilities);
        message(OPEN, &body)
    }
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.push(u8::try_from(length).expect("test messages are short"));
}

fn push_prefix(bytes: &mut Vec<u8>, address: &[u8], length: u8) {
    bytes.push(length);
    bytes.extend(&address[..usize::from(length).div_ceil(8)]);
}

fn push_net(bytes: &mut Vec<u8>, prefix: IpNet) {
    match prefix {
        IpNet::V4(net) => push_prefix(bytes, &net.network().octets(), net.prefix_len()),
        IpNet::V6(net) => push_prefix(bytes, &net.network().octets(), net.prefix_len()),
    }
}

/// One path attribute with its flags.
#[must_use]
pub fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags, code];
    push_length(&mut bytes, value.len());
    bytes.extend(value);
    bytes
}

/// An UPDATE from its three parts (RFC 4271 §4.3).
///
/// # Panics
/// If a part does not fit its length field: a mistake of the test.
#[must_use]
pub fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(withdrawn.len()).expect("short").to_be_bytes().to_vec();
    body.extend(withdrawn);
    body.extend(u16::try_from(attributes.len()).expect("short").to_be_bytes());
    body.extend(attributes);
    body.extend(nlri);
    message(UPDATE, &body)
}

/// An UPDATE that announces one route, four-octet AS numbers in the path.
///
/// # Panics
/// If the route has no next hop: a mistake of the test.
#[must_use]
pub fn announce(route: &SeenRoute) -> Vec<u8> {
    let next_hop = route.next_hop.expect("a route to announce has a next hop");
    let origin = match route.origin.as_str() {
        "igp" => 0,
        "egp" => 1,
        _ => 2,
    };
    let mut attributes = attribute(0x40, 1, &[origin]);
    let mut path = Vec::new();
    if !route.as_path.is_empty() {
        path.push(2);
        push_length(&mut path, route.as_path.len());
        path.extend(route.as_path.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    attributes.extend(attribute(0x40, 2, &path));
    if let (IpNet::V4(_), IpAddr::V4(hop)) = (route.prefix, next_hop) {
        attributes.extend(attribute(0x40, 3, &hop.octets()));
    }
    if let Some(med) = route.med {
        attributes.extend(attribute(0x80, 4, &med.to_be_bytes()));
    }
    if let Some(local_pref) = route.local_pref {
        attributes.extend(attribute(0x40, 5, &local_pref.to_be_bytes()));
    }
    if !route.communities.is_empty() {
        let halves = route.communities.iter().flat_map(|text| text.split(':'));
        let value: Vec<u8> =
            halves.flat_map(|half| half.parse::<u16>().expect("a community").to_be_bytes()).collect();
        attributes.extend(attribute(0xc0, 8, &value));
    }
    let mut nlri = Vec::new();
    push_net(&mut nlri, route.prefix);
    if let IpAddr::V6(hop) = next_hop {
        let mut reach = vec![0, 2, 1, 16];
        reach.extend(hop.octets());
        reach.push(0);
        reach.extend(&nlri);
        attributes.extend(attribute(0x80, 14, &reach));
        nlri.clear();
    }
    if !route.large_communities.is_empty() {
        let parts = route.large_communities.iter().flat_map(|text| text.split(':'));
        let value: Vec<u8> =
            parts.flat_map(|part| part.parse::<u32>().expect("a community").to_be_bytes()).collect();
        attributes.extend(attribute(0xc0, 32, &value));
    }
    update(&[], &attributes, &nlri)
}

/// An UPDATE that withdraws one prefix.
#[must_use]
pub fn withdraw(prefix: IpNet) -> Vec<u8> {
    let mut nlri = Vec::new();
    push_net(&mut nlri, prefix);
    match prefix {
        IpNet::V4(_) => update(&nlri, &[], &[]),
        IpNet::V6(_) => {
            let mut unreach = vec![0, 2, 1];
            unreach.extend(nlri);
            update(&[], &attribute(0x80, 15, &unreach), &[])
        }
    }
}

/// What one UPDATE says.
#[derive(Debug, Default)]
pub struct Update {
    /// Prefixes that are gone.
    pub withdrawn: Vec<IpNet>,
    /// Routes that are new or changed.
    pub announced: Vec<SeenRoute>,
}

/// Reads the body of an UPDATE of a session with four-octet AS numbers; nothing if it is malformed.
#[must_use]
pub fn read_update(body: &[u8]) -> Option<Update> {
    let mut reader = Reader(body);
    let mut update = Update::default();
    let mut withdrawn = Reader(reader.sized_u16()?);
    let mut attributes = Reader(reader.sized_u16()?);
    while !withdrawn.0.is_empty() {
        update.withdrawn.push(withdrawn.prefix(false)?);
    }
    let mut route = SeenRoute::new(IpNet::V4(Ipv4Net::default()));
    let mut destinations = Vec::new();
    let mut next_hop_v6 = None;
    while !attributes.0.is_empty() {
        let [flags, code] = *attributes.take(2)? else { return None };
        let length =
            if flags & 0x10 == 0 { usize::from(attributes.u8()?) } else { usize::from(attributes.u16()?) };
        let mut value = Reader(attributes.take(length)?);
        match code {
            14 => {
                value.take(3)?;
                let hop_length = usize::from(value.u8()?);
                let hop: [u8; 16] = value.take(hop_length)?.get(..16)?.try_into().ok()?;
                next_hop_v6 = Some(IpAddr::from(Ipv6Addr::from(hop)));
                value.take(1)?;
                while !value.0.is_empty() {
                    destinations.push(value.prefix(true)?);
                }
            }
            15 => {
                value.take(3)?;
                while !value.0.is_empty() {
                    update.withdrawn.push(value.prefix(true)?);
                }
            }
            _ => read_attribute(&mut route, code, value)?,
        }
    }
    while !reader.0.is_empty() {
        destinations.push(reader.prefix(false)?);
    }
    update.announced = destinations
        .into_iter()
        .map(|prefix| SeenRoute {
            prefix,
            next_hop: if prefix.addr().is_ipv6() { next_hop_v6 } else { route.next_hop },
            ..route.clone()
        })
        .collect();
    Some(update)
}

fn read_attribute(route: &mut SeenRoute, code: u8, mut value: Reader<'_>) -> Option<()> {
    match code {
        1 => route.origin = ["igp", "egp", "incomplete"].get(usize::from(value.u8()?))?.to_string(),
        2 => {
            while !value.0.is_empty() {
                let [_kind, count] = *value.take(2)? else { return None };
                for _ in 0..count {
                    route.as_path.push(value.u32()?);
                }
            }
        }
        3 => route.next_hop = Some(Ipv4Addr::from(value.u32()?).into()),
        4 => route.med = Some(value.u32()?),
        5 => route.local_pref = Some(value.u32()?),
        8 => {
            route.communities = tuples::<4>(value.0, |part| u16::from_be_bytes([part[0], part[1]]).into(), 2)
        }
        9 => route.originator_id = Some(Ipv4Addr::from(value.u32()?)),
        10 => {
            while !value.0.is_empty() {
                route.cluster_list.push(Ipv4Addr::from(value.u32()?));
            }
        }
        32 => {
            let number = |part: &[u8]| u32::from_be_bytes([part[0], part[1], part[2], part[3]]);
            route.large_communities = tuples::<12>(value.0, number, 4);
        }
        _ => {}
    }
    Some(())
}

/// Values of `SIZE` bytes, each a tuple of parts of `width` bytes, written with colons.
fn tuples<const SIZE: usize>(bytes: &[u8], number: impl Fn(&[u8]) -> u32, width: usize) -> BTreeSet<String> {
    let tuple =
        |value: &[u8]| value.chunks_exact(width).map(|part| number(part).to_string()).collect::<Vec<_>>();
    bytes.chunks_exact(SIZE).map(|value| tuple(value).join(":")).collect()
}

/// Takes from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn sized_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn prefix(&mut self, is_v6: bool) -> Option<IpNet> {
        let length = self.u8()?;
        let bytes = self.take(usize::from(length).div_ceil(8))?;
        let mut octets = [0; 16];
        octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
        if is_v6 {
            return Ipv6Net::new(Ipv6Addr::from(octets), length).ok().map(IpNet::V6);
        }
        let [a, b, c, d, ..] = octets;
        Ipv4Net::new(Ipv4Addr::new(a, b, c, d), length).ok().map(IpNet::V4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::RouteSpec;

    #[test]
    fn what_is_announced_is_read_back() {
        for (prefix, next_hop) in [("10.60.1.0/24", "10.9.0.3"), ("fd60:1::/64", "fd00:9::3")] {
            let mut route = SeenRoute::of(&RouteSpec::rich(prefix, 60), next_hop.parse().unwrap());
            route.as_path = vec![65010, 70000];
            route.origin = "incomplete".into();
            let read = read_update(&announce(&route)[HEADER_LENGTH..]).unwrap();
            assert_eq!(read.announced, [route.clone()]);
            let read = read_update(&withdraw(route.prefix)[HEADER_LENGTH..]).unwrap();
            assert_eq!(read.withdrawn, [route.prefix]);
        }
    }

    #[test]
    fn a_cut_update_is_malformed_not_a_panic() {
        let route = SeenRoute::of(&RouteSpec::rich("10.60.1.0/24", 60), "10.9.0.3".parse().unwrap());
        let bytes = announce(&route);
        for end in HEADER_LENGTH..bytes.len() - 5 {
            assert!(read_update(&bytes[HEADER_LENGTH..end]).is_none(), "cut at {end}");
        }
    }
}
