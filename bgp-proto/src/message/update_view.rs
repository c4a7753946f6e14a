//! UPDATE, in place.

use crate::attr::{MandatoryNeeds, MpUnreachView, RawAttributes, announces_anything};
use crate::code_points::AttributeCode;
use crate::error::DecodeError;
use crate::types::AfiSafi;
use crate::wire::Reader;

/// The three fields of an UPDATE, not yet looked into (RFC 4271 §4.3). Copies and allocates nothing.
///
/// ```text
/// +-----------------------------------------------------+
/// |   Withdrawn Routes Length (2 octets)                |
/// +-----------------------------------------------------+
/// |   Withdrawn Routes (variable)                       |
/// +-----------------------------------------------------+
/// |   Total Path Attribute Length (2 octets)            |
/// +-----------------------------------------------------+
/// |   Path Attributes (variable)                        |
/// +-----------------------------------------------------+
/// |   Network Layer Reachability Information (variable) |
/// +-----------------------------------------------------+
/// ```
///
/// The attribute bytes are there to be looked up before they are parsed: most UPDATEs repeat attributes already seen.
///
/// ```
/// use bgp_proto::{AfiSafi, NlriIter, UpdateView};
///
/// let body = [0, 2, 8, 10, 0, 0];
/// let view = UpdateView::parse(&body)?;
/// let withdrawn = NlriIter::new(view.withdrawn, AfiSafi::IPV4_UNICAST, false).next().unwrap()?;
/// assert_eq!(withdrawn.to_ipnet(AfiSafi::IPV4_UNICAST), Some("10.0.0.0/8".parse().unwrap()));
/// # Ok::<(), bgp_proto::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateView<'a> {
    /// Withdrawn IPv4 unicast prefixes.
    pub withdrawn: &'a [u8],
    /// The attribute block.
    pub attributes: &'a [u8],
    /// Announced IPv4 unicast prefixes.
    pub nlri: &'a [u8],
}

impl<'a> UpdateView<'a> {
    /// Finds the fields in a message body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::MalformedUpdate`] if the two lengths exceed the body (RFC 4271 §6.3).
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let withdrawn = counted(&mut reader)?;
        let attributes = counted(&mut reader)?;
        Ok(UpdateView { withdrawn, attributes, nlri: reader.rest() })
    }

    /// True for the IPv4 unicast End-of-RIB marker: an UPDATE without anything (RFC 4724 §2).
    pub fn is_end_of_rib_ipv4(&self) -> bool {
        self.withdrawn.is_empty() && self.attributes.is_empty() && self.nlri.is_empty()
    }

    /// The family whose End-of-RIB marker this is, if it is one (RFC 4724 §2).
    pub fn end_of_rib(&self) -> Option<AfiSafi> {
        if self.is_end_of_rib_ipv4() {
            return Some(AfiSafi::IPV4_UNICAST);
        }
        if !self.withdrawn.is_empty() || !self.nlri.is_empty() {
            return None;
        }
        let mut attributes = RawAttributes::new(self.attributes);
        let only = attributes.next()?.ok().filter(|raw| raw.code == AttributeCode::MP_UNREACH_NLRI)?;
        let unreach = MpUnreachView::parse(only.value).ok()?;
        (attributes.next().is_none() && unreach.nlri.is_empty()).then_some(unreach.family)
    }

    /// What [`decode_attributes`](crate::decode_attributes) has to know about the rest of the UPDATE. An MP_REACH_NLRI
    /// that holds no prefix announces nothing.
    pub fn mandatory_needs(&self) -> MandatoryNeeds {
        let has_classic_nlri = !self.nlri.is_empty();
        let has_mp_nlri = || {
            RawAttributes::new(self.attributes).any(|raw| {
                raw.is_ok_and(|raw| raw.code == AttributeCode::MP_REACH_NLRI && announces_anything(raw.value))
            })
        };
        MandatoryNeeds { has_nlri: has_classic_nlri || has_mp_nlri(), has_classic_nlri }
    }
}

/// A length of two octets and as many octets.
#[inline]
fn counted<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let offset = reader.offset();
    let length = reader.u16();
    length.and_then(|length| reader.take(usize::from(length))).map_err(|short| DecodeError::MalformedUpdate {
        offset,
        needed: short.needed,
        available: short.available,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Afi;

    #[test]
    fn lengths_must_stay_within_the_body() {
        for body in [&[][..], &[0], &[0, 1], &[0, 0], &[0, 0, 0], &[0, 0, 0, 1], &[0xff, 0xff, 0, 0]] {
            assert!(matches!(UpdateView::parse(body), Err(DecodeError::MalformedUpdate { .. })), "{body:?}");
        }
    }

    #[test]
    fn end_of_rib_of_either_form() {
        let view = |body| UpdateView::parse(body).unwrap();
        assert_eq!(view(&[0, 0, 0, 0]).end_of_rib(), Some(AfiSafi::IPV4_UNICAST));
        let v6 = [0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1];
        assert_eq!(view(&v6).end_of_rib().map(|family| family.afi), Some(Afi::IPV6));
        assert!(!view(&v6).is_end_of_rib_ipv4());
        let not_alone = [0, 0, 0, 10, 0x80, 15, 3, 0, 2, 1, 0x40, 1, 1, 0];
        assert_eq!(view(&not_alone).end_of_rib(), None);
        assert_eq!(view(&[0, 0, 0, 0, 0]).end_of_rib(), None);
        assert_eq!(view(&[0, 1, 0, 0, 0]).end_of_rib(), None);
    }
}
