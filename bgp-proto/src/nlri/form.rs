//! How the NLRI of a family are laid out: where one ends, and which of its octets identify the route.

use bytes::BufMut;

use crate::error::NlriError;
use crate::types::{Afi, AfiSafi, Safi};

/// Octets of an MPLS label in NLRI.
const LABEL_LEN: usize = 3;
/// Bits of a route distinguisher.
const RD_BITS: u8 = 64;
const LABEL_BITS: u8 = 24;
/// From this value on, a flow specification's length has two octets and twelve bits (RFC 8955 §4.1).
const FLOW_SPEC_LONG: u8 = 0xf0;

/// The layout of one family's NLRI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Length in bits and prefix; the longest prefix.
    Prefix(u8),
    /// Length in bits, label, prefix; the longest prefix.
    Labelled(u8),
    /// Length in bits, label, route distinguisher, prefix; the longest prefix.
    Vpn(u8),
    /// Length in bits, origin AS, route target.
    RouteTarget,
    /// Type, length in octets, value.
    Evpn,
    /// Length in octets, components.
    FlowSpec,
}

impl Form {
    /// `None`: this crate does not know where such NLRI end.
    #[inline]
    pub(crate) fn of(family: AfiSafi) -> Option<Form> {
        let max = match family.afi {
            Afi::IPV4 => 32,
            Afi::IPV6 => 128,
            Afi::L2VPN if family.safi == Safi::EVPN => return Some(Form::Evpn),
            _ => return None,
        };
        match family.safi {
            Safi::UNICAST | Safi::MULTICAST => Some(Form::Prefix(max)),
            Safi::MPLS_LABEL => Some(Form::Labelled(max)),
            Safi::MPLS_VPN => Some(Form::Vpn(max)),
            Safi::FLOW_SPEC | Safi::FLOW_SPEC_VPN => Some(Form::FlowSpec),
            Safi::RT_CONSTRAINT if family.afi == Afi::IPV4 => Some(Form::RouteTarget),
            _ => None,
        }
    }

    pub(crate) const fn has_label(self) -> bool {
        matches!(self, Form::Labelled(_) | Form::Vpn(_))
    }

    /// How many labels what follows the length octet begins with. Daemons send several without having agreed on it
    /// (RFC 8277 §2.1), and mark the last one; a withdrawal has one, which is not marked (§2.4).
    fn labels(self, bits: u8, octets: &[u8]) -> u8 {
        if !self.has_label() {
            return 0;
        }
        // A route distinguisher always follows in a VPN: its bits are no labels, nor is what exceeds the length.
        let after = if matches!(self, Form::Vpn(_)) { RD_BITS } else { 0 };
        let room = usize::from(bits.saturating_sub(after) / LABEL_BITS);
        let (labels, _) = octets.as_chunks::<LABEL_LEN>();
        let labels = labels.get(..room).unwrap_or(labels);
        let is_last = |label: &[u8; LABEL_LEN]| {
            label.last().is_some_and(|low| low & 1 == 1) || matches!(label, [0 | 0x80, 0, 0])
        };
        // None marked: then the first is the only one.
        let count = labels.iter().position(is_last).map_or(1, |at| at.saturating_add(1));
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    /// Length in bits and octets without the labels.
    pub(crate) fn without_labels(self, bits: u8, octets: &[u8]) -> (u8, &[u8]) {
        let count = self.labels(bits, octets);
        let rest = octets.get(usize::from(count).saturating_mul(LABEL_LEN)..).unwrap_or_default();
        (bits.saturating_sub(count.saturating_mul(LABEL_BITS)), rest)
    }

    /// Octets of the NLRI at the start of `rest`, which may hold fewer. `offset`, `before` and `available` are for
    /// errors: where the entry starts, how much of it precedes `rest`, how much is left from there.
    pub(crate) fn measure(
        self,
        rest: &[u8],
        offset: usize,
        before: usize,
        available: usize,
    ) -> Result<usize, NlriError> {
        let head = |count: usize| {
            let needed = before.saturating_add(count);
            rest.get(count.saturating_sub(1)).copied().ok_or(NlriError::Truncated {
                offset,
                needed,
                available,
            })
        };
        match self {
            Form::Evpn => Ok(usize::from(head(2)?).saturating_add(2)),
            Form::FlowSpec => match head(1)? {
                short if short < FLOW_SPEC_LONG => Ok(usize::from(short).saturating_add(1)),
                high => {
                    let length = u16::from_be_bytes([high & 0x0f, head(2)?]);
                    Ok(usize::from(length).saturating_add(2))
                }
            },
            _ => {
                let bits = head(1)?;
                let (min, max) = self.bits();
                let len = usize::from(bits).div_ceil(8).saturating_add(1);
                // Labels beyond the first count too; octets that are not there are for the caller to miss.
                let labels = self.labels(bits, rest.get(1..len).unwrap_or_default());
                let max = max.saturating_add(LABEL_BITS.saturating_mul(labels.saturating_sub(1)));
                if bits > max {
                    return Err(NlriError::PrefixTooLong { offset, bits, max });
                }
                // RFC 4684 §4: nothing at all is the default route target, anything else has an origin AS.
                if bits < min && !(bits == 0 && self == Form::RouteTarget) {
                    return Err(NlriError::PrefixTooShort { offset, bits, min });
                }
                Ok(len)
            }
        }
    }

    /// Appends what identifies the route of an NLRI that [`measure`](Self::measure) found.
    pub(crate) fn put_key(self, octets: &[u8], out: &mut impl BufMut) {
        match (self, octets) {
            (Form::FlowSpec, [FLOW_SPEC_LONG..=u8::MAX, _, components @ ..] | [_, components @ ..]) => {
                out.put_slice(components);
            }
            (Form::Evpn, [kind, _, value @ ..]) => {
                out.put_u8(*kind);
                put_evpn_key(*kind, value, out);
            }
            (_, [bits, rest @ ..]) => {
                let (bits, rest) = self.without_labels(*bits, rest);
                out.put_u8(bits);
                if let Some((last, prefix)) = rest.split_last() {
                    out.put_slice(prefix);
                    out.put_u8(*last & last_octet_mask(bits));
                }
            }
            _ => {}
        }
    }

    /// The fewest and the most bits of an NLRI whose length is in bits.
    fn bits(self) -> (u8, u8) {
        match self {
            Form::Prefix(max) => (0, max),
            Form::Labelled(max) => (LABEL_BITS, max.saturating_add(LABEL_BITS)),
            Form::Vpn(max) => {
                let before = LABEL_BITS.saturating_add(RD_BITS);
                (before, max.saturating_add(before))
            }
            Form::RouteTarget => (32, 96),
            Form::Evpn | Form::FlowSpec => (0, u8::MAX),
        }
    }
}

/// The key of an EVPN route; the whole value where a type is unknown or its value is not what the RFC says.
fn put_evpn_key(kind: u8, value: &[u8], out: &mut impl BufMut) {
    let parts: Option<[&[u8]; 2]> = match kind {
        // Ethernet auto-discovery: RD, ESI, Ethernet tag; then a label (RFC 7432 §7.1).
        1 => value.get(..22).filter(|_| value.len() == 25).map(|key| [key, &[]]),
        // MAC/IP advertisement: RD; ESI; Ethernet tag, MAC, IP; then one or two labels (RFC 7432 §7.2).
        2 => mac_ip_key(value),
        // IP prefix: RD; ESI; Ethernet tag, length, prefix; then gateway and label (RFC 9136 §3.1).
        5 => match value.len() {
            34 => value.get(..8).zip(value.get(18..27)).map(|(rd, rest)| [rd, rest]),
            58 => value.get(..8).zip(value.get(18..39)).map(|(rd, rest)| [rd, rest]),
            _ => None,
        },
        _ => None,
    };
    for part in parts.unwrap_or([value, &[]]) {
        out.put_slice(part);
    }
}

fn mac_ip_key(value: &[u8]) -> Option<[&[u8]; 2]> {
    // RD 8, ESI 10, tag 4, MAC length 1, MAC 6, IP length 1.
    let ip_len = match value.get(29)? {
        0 => 0_usize,
        32 => 4,
        128 => 16,
        _ => return None,
    };
    let end = ip_len.saturating_add(30);
    let labels = value.len().checked_sub(end)?;
    matches!(labels, 3 | 6).then(|| Some([value.get(..8)?, value.get(18..end)?]))?
}

/// The bits of the last octet that belong to a prefix of so many bits.
#[inline]
pub(crate) fn last_octet_mask(bits: u8) -> u8 {
    match bits & 7 {
        0 => 0xff,
        used => !(0xff_u8 >> used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlri::opaque::OpaqueNlriIter;

    const LABELLED: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::MPLS_LABEL);
    const VPN4: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::MPLS_VPN);
    const VPN6: AfiSafi = AfiSafi::new(Afi::IPV6, Safi::MPLS_VPN);
    const TARGETS: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::RT_CONSTRAINT);
    const FLOW: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::FLOW_SPEC);
    const EVPN: AfiSafi = AfiSafi::new(Afi::L2VPN, Safi::EVPN);

    fn split(bytes: &[u8], family: AfiSafi, add_path: bool) -> Result<Vec<(Option<u32>, usize)>, NlriError> {
        OpaqueNlriIter::new(bytes, family, add_path)
            .map(|nlri| nlri.map(|nlri| (nlri.path_id, nlri.octets.len())))
            .collect()
    }

    fn key(bytes: &[u8], family: AfiSafi) -> Vec<u8> {
        let nlri = OpaqueNlriIter::new(bytes, family, false).next().unwrap().unwrap();
        let mut out = Vec::new();
        nlri.put_key(&mut out);
        out
    }

    #[test]
    fn every_form_ends_where_its_length_says() {
        let mut long_flow = vec![0xf1, 0x00];
        long_flow.extend([1; 256]);
        long_flow.extend([2, 9, 9]);
        for (family, bytes, lens) in [
            (AfiSafi::IPV4_UNICAST, vec![8, 10, 0], vec![2, 1]),
            (LABELLED, vec![32, 0, 1, 1, 10, 24, 0, 1, 1], vec![5, 4]),
            (VPN4, [&[96, 0, 1, 1][..], &[7; 8], &[10], &[88, 0, 1, 1], &[7; 8]].concat(), vec![13, 12]),
            (VPN6, [&[216, 0, 1, 1][..], &[7; 24]].concat(), vec![28]),
            (TARGETS, [&[0, 96][..], &[7; 12], &[32, 0, 0, 0, 1]].concat(), vec![1, 13, 5]),
            (EVPN, vec![3, 1, 9, 200, 0], vec![3, 2]),
            (FLOW, long_flow, vec![258, 3]),
        ] {
            let found = split(&bytes, family, false).unwrap();
            assert_eq!(found.iter().map(|(_, len)| *len).collect::<Vec<_>>(), lens, "{family}");
        }
        assert_eq!(split(&[0, 0, 0, 7, 3, 1, 9], EVPN, true), Ok(vec![(Some(7), 3)]));
    }

    #[test]
    fn errors_say_where_and_how_much() {
        let short = |bits, min| NlriError::PrefixTooShort { offset: 0, bits, min };
        let long = |bits, max| NlriError::PrefixTooLong { offset: 0, bits, max };
        let truncated = |needed, available| NlriError::Truncated { offset: 0, needed, available };
        for (family, add_path, bytes, error) in [
            (LABELLED, false, &[23, 0, 1, 1][..], short(23, 24)),
            (LABELLED, false, &[57, 0, 1, 1, 1, 1, 1, 1, 1], long(57, 56)),
            (LABELLED, false, &[81, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1], long(81, 80)),
            (VPN4, false, &[87], short(87, 88)),
            (VPN4, false, &[121], long(121, 120)),
            (VPN6, false, &[217], long(217, 216)),
            (VPN4, false, &[96, 0, 1, 1], truncated(13, 4)),
            (TARGETS, false, &[8, 1], short(8, 32)),
            (TARGETS, false, &[97], long(97, 96)),
            (EVPN, false, &[2], truncated(2, 1)),
            (EVPN, false, &[2, 5, 0], truncated(7, 3)),
            (EVPN, true, &[0, 0, 0, 1, 2], truncated(6, 5)),
            (EVPN, true, &[0, 0, 0], truncated(5, 3)),
            (FLOW, false, &[0xf0], truncated(2, 1)),
            (FLOW, false, &[0xf1, 0, 9], truncated(258, 3)),
            (FLOW, false, &[5, 1], truncated(6, 2)),
        ] {
            assert_eq!(split(bytes, family, add_path), Err(error), "{family} {bytes:?}");
        }
        let unknown = AfiSafi::new(Afi::BGP_LS, Safi(71));
        assert_eq!(split(&[0], unknown, false), Err(NlriError::UnsupportedFamily { family: unknown }));
    }

    #[test]
    fn labels_and_host_bits_are_no_part_of_a_key() {
        let one = [&[95, 0, 1, 1][..], &[7; 8], &[0xff]].concat();
        let other = [&[95, 0x80, 0, 0][..], &[7; 8], &[0xfe]].concat();
        assert_eq!(key(&one, VPN4), key(&other, VPN4));
        assert_eq!(key(&[32, 0, 1, 1, 10], LABELLED), [8, 10]);
        assert_eq!(key(&[56, 0, 1, 0, 0, 1, 1, 10], LABELLED), [8, 10], "two labels");
        assert_eq!(key(&[32, 0x80, 0, 0, 10], LABELLED), [8, 10], "a withdrawal");
        let unmarked = [&[88, 0, 1, 0][..], &[0, 0, 1, 0, 0, 0, 0, 1]].concat();
        assert_eq!(key(&unmarked, VPN4).len(), 9, "the route distinguisher holds no label");
        assert_eq!(key(&[24, 0, 1, 1], LABELLED), [0], "the default route");
        assert_eq!(key(&[9, 10, 0xff], AfiSafi::IPV4_UNICAST), [9, 10, 0x80]);
    }

    #[test]
    fn both_lengths_of_a_flow_specification_mean_the_same() {
        assert_eq!(key(&[3, 1, 8, 10], FLOW), [1, 8, 10]);
        assert_eq!(key(&[0xf0, 3, 1, 8, 10], FLOW), [1, 8, 10]);
    }

    #[test]
    fn evpn_keys_leave_out_what_routes_merely_carry() {
        // RD, ESI, tag, MAC, IPv4, label.
        let mac_ip = |esi: u8, label: u8| {
            let tail = [&[48][..], &[0xaa; 6], &[32, 10, 0, 0, 1], &[0, 0, label]].concat();
            [&[2, 37][..], &[1; 8], &[esi; 10], &[0; 4], &tail].concat()
        };
        assert_eq!(key(&mac_ip(0, 1), EVPN), key(&mac_ip(7, 2), EVPN));
        assert_eq!(key(&mac_ip(0, 1), EVPN).len(), 1 + 8 + 4 + 7 + 5);
        let prefix = |gateway: u8| {
            [&[5, 34][..], &[1; 8], &[gateway; 10], &[0; 4], &[24, 10, 0, 0, 0], &[gateway; 7]].concat()
        };
        assert_eq!(key(&prefix(0), EVPN), key(&prefix(9), EVPN));
        let discovery = |label: u8| [&[1, 25][..], &[1; 22], &[0, 0, label]].concat();
        assert_eq!(key(&discovery(1), EVPN), key(&discovery(2), EVPN));
        assert_eq!(key(&[2, 3, 1, 2, 3], EVPN), [2, 1, 2, 3], "not what the RFC says: all of it");
        assert_eq!(key(&[99, 1, 5], EVPN), [99, 5]);
    }
}
