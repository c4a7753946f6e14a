//! Rewriting attribute blocks as bytes: what is not changed is copied, not decoded.

use bgp_proto::{
    Asn, AttributeCode, AttributeFlags, PathAttributes, PeerType, RawAttributes, SessionParams,
    put_attribute_header,
};
use bytes::{BufMut, BytesMut};
use std::ops::Range;

/// The encoding in which attribute sets are interned: everything internal, four-octet AS numbers.
pub fn canonical_params() -> SessionParams {
    SessionParams { peer_type: PeerType::Internal, four_octet_as: true, ..SessionParams::default() }
}

/// Attributes to put, to replace or to drop, by ascending type code. One serves many blocks.
#[derive(Debug, Default)]
pub struct Edits {
    list: Vec<(AttributeCode, Range<usize>)>,
    octets: BytesMut,
}

impl Edits {
    /// None any more.
    pub fn clear(&mut self) {
        self.list.clear();
        self.octets.clear();
    }

    /// The attribute with this value, given in two parts, whether it was there or not.
    pub fn put(&mut self, flags: AttributeFlags, code: AttributeCode, value: [&[u8]; 2]) {
        let start = self.octets.len();
        put_attribute_header(&mut self.octets, flags, code, value[0].len() + value[1].len());
        value.iter().for_each(|part| self.octets.put_slice(part));
        self.push(code, start..self.octets.len());
    }

    /// Not the attribute.
    pub fn drop(&mut self, code: AttributeCode) {
        self.push(code, 0..0);
    }

    fn push(&mut self, code: AttributeCode, tlv: Range<usize>) {
        debug_assert!(self.list.last().is_none_or(|(last, _)| *last < code), "ascending");
        self.list.push((code, tlv));
    }
}

/// Writes a canonical block with edits applied; it stays in ascending order.
pub fn rewrite(canonical: &[u8], edits: &Edits, out: &mut BytesMut) {
    let tlv_of = |(_, tlv): &(AttributeCode, Range<usize>)| &edits.octets[tlv.clone()];
    let mut rest = edits.list.iter().peekable();
    for attribute in RawAttributes::new(canonical).flatten() {
        while let Some(edit) = rest.next_if(|(code, _)| *code < attribute.code) {
            out.put_slice(tlv_of(edit));
        }
        match rest.next_if(|(code, _)| *code == attribute.code) {
            Some(edit) => out.put_slice(tlv_of(edit)),
            None => out.put_slice(attribute.tlv),
        }
    }
    rest.for_each(|edit| out.put_slice(tlv_of(edit)));
}

/// The value of an attribute in a canonical block.
pub fn value_of(canonical: &[u8], code: AttributeCode) -> Option<&[u8]> {
    RawAttributes::new(canonical).flatten().find(|attribute| attribute.code == code).map(|a| a.value)
}

/// The set behind a canonical block.
pub fn decode_canonical(canonical: &[u8]) -> PathAttributes {
    let needs = bgp_proto::MandatoryNeeds::default();
    bgp_proto::decode_attributes(canonical, &canonical_params(), needs).attributes
}

/// An AS_PATH value (four-octet) with `asn` in front (RFC 4271 §5.1.2 b).
pub fn prepend_as(path: &[u8], asn: Asn) -> Vec<u8> {
    const SEQUENCE: u8 = 2;
    let mut out = Vec::with_capacity(path.len() + 6);
    match path {
        [SEQUENCE, count, rest @ ..] if *count < u8::MAX => {
            out.extend([SEQUENCE, count + 1]);
            out.extend(asn.0.to_be_bytes());
            out.extend(rest);
        }
        _ => {
            out.extend([SEQUENCE, 1]);
            out.extend(asn.0.to_be_bytes());
            out.extend(path);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::{AsPath, Community, Origin};

    fn block() -> BytesMut {
        let set = PathAttributes {
            origin: Some(Origin::Igp),
            as_path: Some("65001 65002".parse::<AsPath>().unwrap()),
            med: Some(7),
            communities: vec![Community(1)],
            ..PathAttributes::default()
        };
        let mut out = BytesMut::new();
        set.encode(&canonical_params(), &mut out);
        out
    }

    #[test]
    fn edits_are_merged_in_ascending_order() {
        let mut edits = Edits::default();
        edits.put(AttributeFlags::WELL_KNOWN, AttributeCode::NEXT_HOP, [&[10, 0], &[0, 1]]);
        edits.drop(AttributeCode::MED);
        edits.put(AttributeFlags::WELL_KNOWN, AttributeCode::LOCAL_PREF, [&[0, 0, 0, 100], &[]]);
        edits.put(AttributeFlags::OPTIONAL, AttributeCode::ORIGINATOR_ID, [&[1, 1, 1, 1], &[]]);
        let mut out = BytesMut::new();
        rewrite(&block(), &edits, &mut out);
        let codes: Vec<u8> = RawAttributes::new(&out).map(|a| a.unwrap().code.0).collect();
        assert_eq!(codes, [1, 2, 3, 5, 8, 9]);
    }

    #[test]
    fn prepending_extends_the_first_sequence_or_starts_one() {
        let path = |text: &str| {
            let as_path = Some(text.parse::<AsPath>().unwrap());
            let mut out = BytesMut::new();
            PathAttributes { as_path, ..PathAttributes::default() }.encode(&canonical_params(), &mut out);
            value_of(&out, AttributeCode::AS_PATH).unwrap().to_vec()
        };
        assert_eq!(prepend_as(&path("65002"), Asn(65001)), path("65001 65002"));
        assert_eq!(prepend_as(&[], Asn(65001)), path("65001"));
        let full = vec!["1"; 255].join(" ");
        let prepended = prepend_as(&path(&full), Asn(9));
        assert_eq!(prepended[..8], [2, 1, 0, 0, 0, 9, 2, 255]);
    }
}
