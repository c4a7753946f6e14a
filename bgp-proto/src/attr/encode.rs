//! Values into an attribute block.

use bytes::{BufMut, BytesMut};

use crate::attr::{AsPath, PathAttributes};
use crate::code_points::{AttributeCode, AttributeFlags};
use crate::session_params::SessionParams;
use crate::types::Asn;

/// Appends one attribute; the length has two octets if the value is longer than 255.
///
/// The Extended Length bit and the reserved bits of `flags` are ignored.
#[inline]
pub fn put_attribute(out: &mut BytesMut, flags: AttributeFlags, code: AttributeCode, value: &[u8]) {
    put_attribute_header(out, flags, code, value.len());
    out.put_slice(value);
}

/// Appends flags, type code and length of an attribute whose value of `len` octets the caller appends next.
///
/// A value longer than 65535 octets fits no message; its length is written as 65535, and the check of the message's
/// length refuses the whole.
#[inline]
pub fn put_attribute_header(out: &mut BytesMut, flags: AttributeFlags, code: AttributeCode, len: usize) {
    let flags = flags.canonical();
    match u8::try_from(len) {
        Ok(len) => {
            out.put_slice(&[flags.0, code.0, len]);
        }
        Err(_) => {
            out.put_slice(&[(flags | AttributeFlags::EXTENDED_LENGTH).0, code.0]);
            out.put_u16(u16::try_from(len).unwrap_or(u16::MAX));
        }
    }
}

impl PathAttributes {
    /// Appends the attribute block: ascending by type code, minimal length fields, reserved bits clear. Equal
    /// attributes give equal bytes.
    ///
    /// NEXT_HOP is written if it is there. On a session with two-octet AS numbers, AS4_PATH and AS4_AGGREGATOR join in
    /// where a number needs them (RFC 6793 §4.2.2). Nothing is filtered: that LOCAL_PREF stays inside the AS is the
    /// caller's concern.
    pub fn encode(&self, params: &SessionParams, out: &mut BytesMut) {
        let mut writer = Writer { attributes: self, four_octet: params.four_octet_as, next_unknown: 0, out };
        writer.well_known();
        writer.optional();
        writer.unknown_up_to(u8::MAX);
    }
}

/// Writes the attributes of one block in order.
struct Writer<'a> {
    attributes: &'a PathAttributes,
    four_octet: bool,
    /// How many of the unknown attributes, which ascend too, are written.
    next_unknown: usize,
    out: &'a mut BytesMut,
}

impl Writer<'_> {
    fn well_known(&mut self) {
        let from = self.attributes;
        if let Some(origin) = from.origin {
            self.put(AttributeFlags::WELL_KNOWN, AttributeCode::ORIGIN, &[origin as u8]);
        }
        if let Some(as_path) = &from.as_path {
            let four_octet = self.four_octet;
            self.put_path(AttributeFlags::WELL_KNOWN, AttributeCode::AS_PATH, as_path, four_octet);
        }
        if let Some(next_hop) = from.next_hop {
            self.put(AttributeFlags::WELL_KNOWN, AttributeCode::NEXT_HOP, &next_hop.octets());
        }
        if let Some(med) = from.med {
            self.put(AttributeFlags::OPTIONAL, AttributeCode::MED, &med.to_be_bytes());
        }
        if let Some(local_pref) = from.local_pref {
            self.put(AttributeFlags::WELL_KNOWN, AttributeCode::LOCAL_PREF, &local_pref.to_be_bytes());
        }
        if from.atomic_aggregate {
            self.put(AttributeFlags::WELL_KNOWN, AttributeCode::ATOMIC_AGGREGATE, &[]);
        }
    }

    fn optional(&mut self) {
        let from = self.attributes;
        let transitive = AttributeFlags::OPTIONAL_TRANSITIVE;
        if let Some(aggregator) = from.aggregator {
            let len = if self.four_octet { 8 } else { 6 };
            self.begin(transitive, AttributeCode::AGGREGATOR, len);
            if self.four_octet {
                self.out.put_u32(aggregator.asn.0);
            } else {
                self.out.put_u16(aggregator.asn.to_two_octets());
            }
            self.out.put_slice(&aggregator.address.octets());
        }
        let communities = from.communities.iter().map(|community| community.0.to_be_bytes());
        self.put_list(transitive, AttributeCode::COMMUNITIES, communities);
        if let Some(originator_id) = from.originator_id {
            let value = originator_id.0.to_be_bytes();
            self.put(AttributeFlags::OPTIONAL, AttributeCode::ORIGINATOR_ID, &value);
        }
        let cluster_list = from.cluster_list.iter().map(|id| id.0.to_be_bytes());
        self.put_list(AttributeFlags::OPTIONAL, AttributeCode::CLUSTER_LIST, cluster_list);
        let extended = from.extended_communities.iter().map(|community| community.0);
        self.put_list(transitive, AttributeCode::EXTENDED_COMMUNITIES, extended);
        if !self.four_octet {
            self.as4();
        }
        let addresses = from.ipv6_extended_communities.iter().map(|community| community.0);
        self.put_list(transitive, AttributeCode::IPV6_EXTENDED_COMMUNITIES, addresses);
        if let Some(aigp) = &from.aigp {
            self.put(AttributeFlags::OPTIONAL, AttributeCode::AIGP, aigp.tlvs());
        }
        let len = from.large_communities.len().saturating_mul(12);
        if len > 0 {
            self.begin(transitive, AttributeCode::LARGE_COMMUNITIES, len);
            for community in &from.large_communities {
                self.out.put_u32(community.global);
                self.out.put_u32(community.local1);
                self.out.put_u32(community.local2);
            }
        }
        if let Some(Asn(otc)) = from.otc {
            self.put(transitive, AttributeCode::OTC, &otc.to_be_bytes());
        }
    }

    /// What two octets cannot hold (RFC 6793 §4.2.2).
    fn as4(&mut self) {
        let from = self.attributes;
        let transitive = AttributeFlags::OPTIONAL_TRANSITIVE;
        if let Some(as_path) = &from.as_path
            && as_path.needs_four_octets()
        {
            self.put_path(transitive, AttributeCode::AS4_PATH, &as_path.without_confederation(), true);
        }
        if let Some(aggregator) = from.aggregator
            && aggregator.asn.needs_four_octets()
        {
            let Asn(asn) = aggregator.asn;
            self.begin(transitive, AttributeCode::AS4_AGGREGATOR, 8);
            self.out.put_u32(asn);
            self.out.put_slice(&aggregator.address.octets());
        }
    }

    fn put(&mut self, flags: AttributeFlags, code: AttributeCode, value: &[u8]) {
        self.begin(flags, code, value.len());
        self.out.put_slice(value);
    }

    fn put_path(&mut self, flags: AttributeFlags, code: AttributeCode, path: &AsPath, four_octet: bool) {
        self.begin(flags, code, path.wire_len(four_octet));
        path.put(self.out, four_octet);
    }

    /// An attribute of equal members; absent if there are none (RFC 7606 §3 (c) forbids an empty one).
    fn put_list<const N: usize>(
        &mut self,
        flags: AttributeFlags,
        code: AttributeCode,
        values: impl ExactSizeIterator<Item = [u8; N]>,
    ) {
        if values.len() == 0 {
            return;
        }
        self.begin(flags, code, values.len().saturating_mul(N));
        for value in values {
            self.out.put_slice(&value);
        }
    }

    fn begin(&mut self, flags: AttributeFlags, code: AttributeCode, len: usize) {
        self.unknown_up_to(code.0);
        let is_partial = self.attributes.partial.contains(code);
        let flags = if is_partial && flags == AttributeFlags::OPTIONAL_TRANSITIVE {
            flags | AttributeFlags::PARTIAL
        } else {
            flags
        };
        put_attribute_header(self.out, flags, code, len);
    }

    /// The unknown attributes that come before `code`.
    fn unknown_up_to(&mut self, code: u8) {
        let from = self.attributes;
        while let Some(attribute) = from.unknown.get(self.next_unknown).filter(|next| next.code.0 <= code) {
            put_attribute(self.out, attribute.flags, attribute.code, &attribute.value);
            self.next_unknown = self.next_unknown.saturating_add(1);
        }
    }
}
