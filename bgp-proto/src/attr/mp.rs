//! MP_REACH_NLRI and MP_UNREACH_NLRI.

use crate::attr::next_hop::NextHop;
use crate::attr::raw::rebuild;
use crate::code_points::{AttributeCode, AttributeFlags};
use crate::error::{AttributeError, AttributeErrorReason, NlriError};
use crate::nlri::{NlriIter, PathNlri};
use crate::session_params::SessionParams;
use crate::types::{Afi, AfiSafi, Safi};
use crate::wire::{Reader, Short};

/// Announced prefixes of any family, in the buffer that they were received in (RFC 4760 §3).
///
/// ```text
/// +---------------------------------------------------------+
/// | Address Family Identifier (2 octets)                    |
/// +---------------------------------------------------------+
/// | Subsequent Address Family Identifier (1 octet)          |
/// +---------------------------------------------------------+
/// | Length of Next Hop Network Address (1 octet)            |
/// +---------------------------------------------------------+
/// | Network Address of Next Hop (variable)                  |
/// +---------------------------------------------------------+
/// | Reserved (1 octet)                                      |
/// +---------------------------------------------------------+
/// | Network Layer Reachability Information (variable)       |
/// +---------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpReachView<'a> {
    /// The family.
    pub family: AfiSafi,
    /// The next hop; its length fits the family, its address is not judged ([`NextHop::is_host`]).
    pub next_hop: NextHop,
    /// The prefixes, not yet split.
    pub nlri: &'a [u8],
}

impl<'a> MpReachView<'a> {
    /// Reads an attribute's value.
    ///
    /// # Errors
    ///
    /// [`Length`](AttributeErrorReason::Length) if a field exceeds the value;
    /// [`NextHopLength`](AttributeErrorReason::NextHopLength) if the next hop does not fit the family: 4 octets for
    /// IPv4, 16 or 32 for IPv6, and for IPv4 only if the session negotiated it (RFC 8950 §4). The action is
    /// session reset, since the prefixes cannot be trusted (RFC 7606 §7.11). Families that this crate cannot read are an
    /// [`UnsupportedFamily`](NlriError::UnsupportedFamily): the action is AFI/SAFI disable, so that the attribute is
    /// ignored (RFC 4760 §7).
    pub fn parse(value: &'a [u8], params: &SessionParams) -> Result<Self, AttributeError> {
        Self::read(value, params).map_err(|reason| mp_error(AttributeCode::MP_REACH_NLRI, value, reason))
    }

    /// The prefixes.
    pub fn iter(&self, params: &SessionParams) -> NlriIter<'a> {
        NlriIter::new(self.nlri, self.family, params.add_path_rx(self.family))
    }

    fn read(value: &'a [u8], params: &SessionParams) -> Result<Self, AttributeErrorReason> {
        let mut reader = Reader::new(value);
        let family = read_family(&mut reader)?;
        let length = reader.u8().map_err(|short| inner(&reader, short))?;
        let octets = reader.take(usize::from(length)).map_err(|short| inner(&reader, short))?;
        // Formerly the number of SNPAs; ignored (RFC 4760 §3).
        reader.u8().map_err(|short| inner(&reader, short))?;
        let next_hop = match (family.afi, family.safi) {
            (Afi::IPV4 | Afi::IPV6, Safi::UNICAST | Safi::MULTICAST) => NextHop::from_octets(octets)
                .filter(|next_hop| fits(*next_hop, family, params))
                .ok_or(AttributeErrorReason::NextHopLength { family, length })?,
            _ => return Err(NlriError::UnsupportedFamily { family }.into()),
        };
        Ok(MpReachView { family, next_hop, nlri: reader.rest() })
    }
}

/// Withdrawn prefixes of any family, in the buffer that they were received in (RFC 4760 §4).
///
/// ```text
/// +---------------------------------------------------------+
/// | Address Family Identifier (2 octets)                    |
/// +---------------------------------------------------------+
/// | Subsequent Address Family Identifier (1 octet)          |
/// +---------------------------------------------------------+
/// | Withdrawn Routes (variable)                             |
/// +---------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpUnreachView<'a> {
    /// The family.
    pub family: AfiSafi,
    /// The prefixes, not yet split. None at all, in an UPDATE with nothing else, is End-of-RIB (RFC 4724 §2).
    pub nlri: &'a [u8],
}

impl<'a> MpUnreachView<'a> {
    /// Reads an attribute's value.
    ///
    /// # Errors
    ///
    /// [`Length`](AttributeErrorReason::Length) if it is shorter than a family; the action is session reset.
    pub fn parse(value: &'a [u8]) -> Result<Self, AttributeError> {
        let mut reader = Reader::new(value);
        match read_family(&mut reader) {
            Ok(family) => Ok(MpUnreachView { family, nlri: reader.rest() }),
            Err(reason) => Err(mp_error(AttributeCode::MP_UNREACH_NLRI, value, reason)),
        }
    }

    /// The prefixes.
    pub fn iter(&self, params: &SessionParams) -> NlriIter<'a> {
        NlriIter::new(self.nlri, self.family, params.add_path_rx(self.family))
    }
}

/// The owned form of [`MpReachView`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MpReach {
    /// The family.
    pub family: AfiSafi,
    /// The next hop.
    pub next_hop: NextHop,
    /// The prefixes, in the order received.
    pub nlri: Vec<PathNlri>,
}

/// The owned form of [`MpUnreachView`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MpUnreach {
    /// The family.
    pub family: AfiSafi,
    /// The prefixes, in the order received.
    pub nlri: Vec<PathNlri>,
}

/// True if a next hop of this form may stand for the family on this session.
pub(crate) fn fits(next_hop: NextHop, family: AfiSafi, params: &SessionParams) -> bool {
    match (next_hop, family.afi) {
        (NextHop::V4(_), afi) => afi == Afi::IPV4,
        (_, Afi::IPV6) => true,
        (_, Afi::IPV4) => params.extended_next_hop(family),
        _ => false,
    }
}

/// True if the value of an MP_REACH_NLRI holds any NLRI, of whatever family.
pub(crate) fn announces_anything(value: &[u8]) -> bool {
    let mut reader = Reader::new(value);
    let skipped =
        reader.take(3).and_then(|_| reader.u8()).and_then(|length| reader.take(usize::from(length)));
    skipped.and_then(|_| reader.u8()).is_ok() && !reader.is_empty()
}

fn read_family(reader: &mut Reader<'_>) -> Result<AfiSafi, AttributeErrorReason> {
    let afi = reader.u16().map_err(|short| inner(reader, short))?;
    let safi = reader.u8().map_err(|short| inner(reader, short))?;
    Ok(AfiSafi::new(Afi(afi), Safi(safi)))
}

/// Lengths counted from the start of the value.
fn inner(reader: &Reader<'_>, short: Short) -> AttributeErrorReason {
    let before = reader.offset();
    AttributeErrorReason::Length {
        needed: before.saturating_add(short.needed),
        available: before.saturating_add(short.available),
    }
}

#[cold]
fn mp_error(code: AttributeCode, value: &[u8], reason: AttributeErrorReason) -> AttributeError {
    AttributeError { code, offset: 0, reason, received: rebuild(AttributeFlags::OPTIONAL, code, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_must_fit_family_and_session() {
        let plain = SessionParams::default();
        let extended = SessionParams { extended_next_hop: [AfiSafi::IPV4_UNICAST].into(), ..plain.clone() };
        for (afi, len, params, accepted) in [
            (1, 4, &plain, true),
            (1, 16, &plain, false),
            (1, 16, &extended, true),
            (1, 32, &extended, true),
            (1, 0, &plain, false),
            (2, 16, &plain, true),
            (2, 32, &plain, true),
            (2, 4, &plain, false),
            (2, 15, &plain, false),
            (2, 48, &plain, false),
            (25, 4, &plain, false),
        ] {
            let mut value = vec![0, afi, 1, len];
            value.extend(vec![1; usize::from(len)]);
            value.push(0);
            assert_eq!(MpReachView::parse(&value, params).is_ok(), accepted, "AFI {afi}, {len} octets");
        }
    }

    #[test]
    fn truncation_says_what_is_missing() {
        let value = [0, 2, 1, 16, 1, 2, 3];
        let error = MpReachView::parse(&value, &SessionParams::default()).unwrap_err();
        assert_eq!(error.reason, AttributeErrorReason::Length { needed: 20, available: 7 });
        assert_eq!(error.received[..], [0x80, 14, 7, 0, 2, 1, 16, 1, 2, 3]);
        let error = MpUnreachView::parse(&[0, 2]).unwrap_err();
        assert_eq!(error.reason, AttributeErrorReason::Length { needed: 3, available: 2 });
    }
}
