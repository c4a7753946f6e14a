//! MP_REACH_NLRI and MP_UNREACH_NLRI.

use bytes::{BufMut, BytesMut};
use ipnet::IpNet;

use crate::attr::next_hop::{NextHop, OpaqueNextHop};
use crate::attr::raw::rebuild;
use crate::code_points::{AttributeCode, AttributeFlags};
use crate::error::{AttributeError, AttributeErrorReason, EncodeError, NlriError};
use crate::nlri::{Form, NlriIter, OpaqueNlriBuf, OpaqueNlriIter, PathNlri, check_nlri, put_nlri};
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
    /// IPv4, 16 or 32 for IPv6, and for IPv4 only if the session negotiated it (RFC 8950 §4); 8 more per address for
    /// VPNs; 4 or 16 for EVPN; up to 48 for flow specifications, which have none. The action is
    /// session reset, since the prefixes cannot be trusted (RFC 7606 §7.11). Families that this crate cannot split are an
    /// [`UnsupportedFamily`](NlriError::UnsupportedFamily): the action is AFI/SAFI disable, so that the attribute is
    /// ignored (RFC 4760 §7).
    pub fn parse(value: &'a [u8], params: &SessionParams) -> Result<Self, AttributeError> {
        Self::read(value, params).map_err(|reason| mp_error(AttributeCode::MP_REACH_NLRI, value, reason))
    }

    /// The prefixes of a unicast or multicast family; any other is an
    /// [`UnsupportedFamily`](NlriError::UnsupportedFamily).
    pub fn iter(&self, params: &SessionParams) -> NlriIter<'a> {
        NlriIter::new(self.nlri, self.family, params.add_path_rx(self.family))
    }

    /// The NLRI of any family, verbatim.
    pub fn opaque(&self, params: &SessionParams) -> OpaqueNlriIter<'a> {
        OpaqueNlriIter::new(self.nlri, self.family, params.add_path_rx(self.family))
    }

    fn read(value: &'a [u8], params: &SessionParams) -> Result<Self, AttributeErrorReason> {
        let mut reader = Reader::new(value);
        let family = read_family(&mut reader)?;
        let length = reader.u8().map_err(|short| inner(&reader, short))?;
        let octets = reader.take(usize::from(length)).map_err(|short| inner(&reader, short))?;
        // Formerly the number of SNPAs; ignored (RFC 4760 §3).
        reader.u8().map_err(|short| inner(&reader, short))?;
        let form = Form::of(family).ok_or(NlriError::UnsupportedFamily { family })?;
        let next_hop = match form {
            Form::Vpn(_) | Form::FlowSpec => OpaqueNextHop::new(octets).map(NextHop::Opaque),
            _ => NextHop::from_octets(octets),
        };
        let next_hop = next_hop
            .filter(|next_hop| fits(*next_hop, family, params))
            .ok_or(AttributeErrorReason::NextHopLength { family, length })?;
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

    /// The prefixes of a unicast or multicast family; any other is an
    /// [`UnsupportedFamily`](NlriError::UnsupportedFamily).
    pub fn iter(&self, params: &SessionParams) -> NlriIter<'a> {
        NlriIter::new(self.nlri, self.family, params.add_path_rx(self.family))
    }

    /// The NLRI of any family, verbatim.
    pub fn opaque(&self, params: &SessionParams) -> OpaqueNlriIter<'a> {
        OpaqueNlriIter::new(self.nlri, self.family, params.add_path_rx(self.family))
    }
}

/// The routes of an [`MpReach`] or [`MpUnreach`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MpNlri {
    /// Prefixes of a unicast or multicast family.
    Prefixes(Vec<PathNlri>),
    /// NLRI of another family, verbatim.
    Opaque(Vec<OpaqueNlriBuf>),
}

impl MpNlri {
    /// How many routes.
    pub fn len(&self) -> usize {
        match self {
            MpNlri::Prefixes(prefixes) => prefixes.len(),
            MpNlri::Opaque(routes) => routes.len(),
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The empty list for a family.
    pub(crate) fn empty(family: AfiSafi) -> MpNlri {
        match Form::of(family) {
            Some(Form::Prefix(_)) => MpNlri::Prefixes(Vec::new()),
            _ => MpNlri::Opaque(Vec::new()),
        }
    }

    /// Splits a field of the family.
    pub(crate) fn read(bytes: &[u8], family: AfiSafi, params: &SessionParams) -> Result<MpNlri, NlriError> {
        if let MpNlri::Prefixes(_) = MpNlri::empty(family) {
            return read_prefixes(bytes, family, params).map(MpNlri::Prefixes);
        }
        // Counted first: a list that grows costs twice what it holds.
        let mut routes = Vec::with_capacity(check_nlri(bytes, family, params.add_path_rx(family))?);
        for nlri in OpaqueNlriIter::new(bytes, family, params.add_path_rx(family)) {
            routes.push(nlri?.into());
        }
        Ok(MpNlri::Opaque(routes))
    }

    /// Appends the field.
    pub(crate) fn put(
        &self,
        out: &mut BytesMut,
        family: AfiSafi,
        params: &SessionParams,
    ) -> Result<(), EncodeError> {
        let routes = match self {
            MpNlri::Prefixes(prefixes) => return put_prefixes(out, prefixes, family, params),
            MpNlri::Opaque(routes) => routes,
        };
        for route in routes {
            if !route.is_of(family) {
                return Err(EncodeError::FamilyMismatch { family });
            }
            if route.path_id.is_some() != params.add_path_tx(family) {
                return Err(EncodeError::PathIdMismatch { family });
            }
            if let Some(path_id) = route.path_id {
                out.put_u32(path_id);
            }
            out.put_slice(&route.octets);
        }
        Ok(())
    }
}

impl From<Vec<PathNlri>> for MpNlri {
    fn from(prefixes: Vec<PathNlri>) -> Self {
        MpNlri::Prefixes(prefixes)
    }
}

impl From<Vec<OpaqueNlriBuf>> for MpNlri {
    fn from(routes: Vec<OpaqueNlriBuf>) -> Self {
        MpNlri::Opaque(routes)
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
    pub nlri: MpNlri,
}

/// The owned form of [`MpUnreachView`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MpUnreach {
    /// The family.
    pub family: AfiSafi,
    /// The prefixes, in the order received.
    pub nlri: MpNlri,
}

/// Splits a field of plain prefixes.
pub(crate) fn read_prefixes(
    bytes: &[u8],
    family: AfiSafi,
    params: &SessionParams,
) -> Result<Vec<PathNlri>, NlriError> {
    let mut prefixes = Vec::with_capacity(check_nlri(bytes, family, params.add_path_rx(family))?);
    for nlri in NlriIter::new(bytes, family, params.add_path_rx(family)) {
        let nlri = nlri?;
        let prefix = nlri.to_ipnet(family).ok_or(NlriError::UnsupportedFamily { family })?;
        prefixes.push(PathNlri { path_id: nlri.path_id, prefix });
    }
    Ok(prefixes)
}

/// Appends a field of plain prefixes.
pub(crate) fn put_prefixes(
    out: &mut BytesMut,
    nlri: &[PathNlri],
    family: AfiSafi,
    params: &SessionParams,
) -> Result<(), EncodeError> {
    let has_path_ids = params.add_path_tx(family);
    for entry in nlri {
        let afi = if matches!(entry.prefix, IpNet::V4(_)) { Afi::IPV4 } else { Afi::IPV6 };
        if afi != family.afi {
            return Err(EncodeError::FamilyMismatch { family });
        }
        if entry.path_id.is_some() != has_path_ids {
            return Err(EncodeError::PathIdMismatch { family });
        }
        put_nlri(out, entry);
    }
    Ok(())
}

/// True if a next hop of this form may stand for the family on this session.
pub(crate) fn fits(next_hop: NextHop, family: AfiSafi, params: &SessionParams) -> bool {
    let takes_ipv6 = family.afi == Afi::IPV6 || params.extended_next_hop(family);
    match (Form::of(family), next_hop) {
        (Some(Form::Prefix(_) | Form::Labelled(_)), NextHop::V4(_)) => family.afi == Afi::IPV4,
        (Some(Form::Prefix(_) | Form::Labelled(_)), NextHop::V6(_) | NextHop::V6WithLinkLocal { .. }) => {
            takes_ipv6
        }
        (Some(Form::Vpn(_)), NextHop::Opaque(opaque)) => match opaque.octets().len() {
            12 => family.afi == Afi::IPV4,
            24 | 48 => takes_ipv6,
            _ => false,
        },
        // The length alone tells which it is (RFC 7432 §7, RFC 4684 §5).
        (Some(Form::Evpn | Form::RouteTarget), NextHop::V4(_) | NextHop::V6(_)) => true,
        (Some(Form::RouteTarget), NextHop::V6WithLinkLocal { .. }) => true,
        // RFC 8955 §4: none is sent, and whatever comes is ignored.
        (Some(Form::FlowSpec), NextHop::Opaque(_)) => true,
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
