//! UPDATE, owned.

use bytes::{BufMut, BytesMut};

use crate::attr::{
    AttributesReport, MpNlri, MpReach, MpReachView, MpUnreach, MpUnreachView, PathAttributes, RawAttribute,
    RawAttributes, decode_attributes, fits, put_attribute_header, put_prefixes, read_prefixes,
};
use crate::code_points::{AttributeCode, AttributeFlags};
use crate::error::{AttributeErrorReason, AttributeProblem, DecodeError, EncodeError, UpdateErrorAction};
use crate::message::update_view::UpdateView;
use crate::nlri::PathNlri;
use crate::session_params::SessionParams;
use crate::types::AfiSafi;

/// Announced and withdrawn routes as values: for tools and tests. A speaker works on [`UpdateView`].
///
/// ```
/// use bgp_proto::{AfiSafi, AsPath, Asn, Decoder, Message, MpNlri, MpReach, Origin, PathAttributes, PeerType};
/// use bgp_proto::{SessionParams, Update};
/// use bytes::BytesMut;
///
/// let params = SessionParams { peer_type: PeerType::Internal, four_octet_as: true, ..SessionParams::default() };
/// let update = Update {
///     attributes: PathAttributes {
///         origin: Some(Origin::Igp),
///         as_path: Some(AsPath::new()),
///         local_pref: Some(100),
///         ..PathAttributes::default()
///     },
///     mp_reach: Some(MpReach {
///         family: AfiSafi::IPV6_UNICAST,
///         next_hop: "2001:db8::1".parse::<std::net::IpAddr>()?.into(),
///         nlri: MpNlri::Prefixes(vec!["2001:db8:1::/48".parse::<ipnet::IpNet>()?.into()]),
///     }),
///     ..Update::default()
/// };
/// let mut bytes = BytesMut::new();
/// Message::Update(update.clone()).encode(&params, &mut bytes)?;
/// assert_eq!(Message::decode(&mut Decoder::new(params), &bytes)?, Message::Update(update));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Withdrawn IPv4 unicast prefixes.
    pub withdrawn: Vec<PathNlri>,
    /// The attributes of all announced prefixes.
    pub attributes: PathAttributes,
    /// Announced IPv4 unicast prefixes.
    pub nlri: Vec<PathNlri>,
    /// Announced prefixes of any family.
    pub mp_reach: Option<MpReach>,
    /// Withdrawn prefixes of any family.
    pub mp_unreach: Option<MpUnreach>,
    /// What was wrong, but did not end the session. Not sent.
    pub problems: Vec<AttributeProblem>,
}

impl Update {
    /// The End-of-RIB marker of a family (RFC 4724 §2).
    pub fn end_of_rib(family: AfiSafi) -> Update {
        let mp_unreach =
            (family != AfiSafi::IPV4_UNICAST).then_some(MpUnreach { family, nlri: MpNlri::empty(family) });
        Update { mp_unreach, ..Update::default() }
    }

    /// The family whose End-of-RIB marker this is, if it is one. Attributes that were dropped unread leave no trace here;
    /// [`UpdateView::end_of_rib`] sees the octets.
    pub fn is_end_of_rib(&self) -> Option<AfiSafi> {
        let is_empty = self.withdrawn.is_empty()
            && self.nlri.is_empty()
            && self.mp_reach.is_none()
            && self.attributes == PathAttributes::default();
        match &self.mp_unreach {
            _ if !is_empty => None,
            None => Some(AfiSafi::IPV4_UNICAST),
            Some(unreach) => unreach.nlri.is_empty().then_some(unreach.family),
        }
    }

    /// The strongest action that the problems ask for. At
    /// [`TreatAsWithdraw`](UpdateErrorAction::TreatAsWithdraw) the announced prefixes are to be handled as withdrawn.
    pub fn action(&self) -> Option<UpdateErrorAction> {
        self.problems.iter().map(|problem| problem.action).max()
    }

    /// Reads a message body.
    ///
    /// # Errors
    ///
    /// What ends the session: lengths that contradict each other, prefixes that cannot be split, and attribute errors
    /// whose action is session reset. Everything weaker is in [`problems`](Self::problems).
    pub fn decode(body: &[u8], params: &SessionParams) -> Result<Self, DecodeError> {
        let view = UpdateView::parse(body)?;
        let withdrawn = read_prefixes(view.withdrawn, AfiSafi::IPV4_UNICAST, params)?;
        let nlri = read_prefixes(view.nlri, AfiSafi::IPV4_UNICAST, params)?;
        let report = decode_attributes(view.attributes, params, view.mandatory_needs());
        if report.action == Some(UpdateErrorAction::SessionReset)
            && let Some(worst) = report.worst()
        {
            return Err(worst.error.clone().into());
        }
        let AttributesReport { attributes, problems, .. } = report;
        let mut update = Update { withdrawn, attributes, nlri, problems, ..Update::default() };
        update.read_mp(view.attributes, params)?;
        Ok(update)
    }

    fn read_mp(&mut self, block: &[u8], params: &SessionParams) -> Result<(), DecodeError> {
        let mut attributes = RawAttributes::new(block);
        loop {
            let offset = attributes.offset();
            // An attribute that exceeds the block is among the problems already.
            let Some(Ok(raw)) = attributes.next() else {
                return Ok(());
            };
            let result = match raw.code {
                AttributeCode::MP_REACH_NLRI => self.read_reach(&raw, params),
                AttributeCode::MP_UNREACH_NLRI => self.read_unreach(&raw, params),
                _ => Ok(()),
            };
            if let Err(reason) = result {
                let error = raw.error(offset, reason);
                let action = error.action();
                if action == UpdateErrorAction::SessionReset {
                    return Err(error.into());
                }
                self.problems.push(AttributeProblem { error, action });
            }
        }
    }

    fn read_reach(
        &mut self,
        raw: &RawAttribute<'_>,
        params: &SessionParams,
    ) -> Result<(), AttributeErrorReason> {
        let view = MpReachView::parse(raw.value, params).map_err(|error| error.reason)?;
        let nlri = MpNlri::read(view.nlri, view.family, params)?;
        self.mp_reach = Some(MpReach { family: view.family, next_hop: view.next_hop, nlri });
        // Last: the prefixes are sound, only where to send packets is not.
        if view.next_hop.is_host() { Ok(()) } else { Err(AttributeErrorReason::InvalidNextHop) }
    }

    fn read_unreach(
        &mut self,
        raw: &RawAttribute<'_>,
        params: &SessionParams,
    ) -> Result<(), AttributeErrorReason> {
        let view = MpUnreachView::parse(raw.value).map_err(|error| error.reason)?;
        let nlri = MpNlri::read(view.nlri, view.family, params)?;
        self.mp_unreach = Some(MpUnreach { family: view.family, nlri });
        Ok(())
    }

    /// Appends the message body. MP_REACH_NLRI and MP_UNREACH_NLRI come first (RFC 7606 §5.1).
    pub(crate) fn encode_body(&self, params: &SessionParams, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_counted(out, |out| put_prefixes(out, &self.withdrawn, AfiSafi::IPV4_UNICAST, params))?;
        put_counted(out, |out| {
            if let Some(reach) = &self.mp_reach {
                put_reach(out, reach, params)?;
            }
            if let Some(unreach) = &self.mp_unreach {
                put_unreach(out, unreach, params)?;
            }
            self.attributes.encode(params, out);
            Ok(())
        })?;
        put_prefixes(out, &self.nlri, AfiSafi::IPV4_UNICAST, params)
    }
}

/// A length of two octets and what it counts.
fn put_counted(
    out: &mut BytesMut,
    content: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    out.put_u16(0);
    let start = out.len();
    content(out)?;
    // Saturation is harmless: what does not fit here makes the message too long, which the caller checks.
    let length = u16::try_from(out.len().saturating_sub(start)).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(at..start) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn put_unreach(out: &mut BytesMut, unreach: &MpUnreach, params: &SessionParams) -> Result<(), EncodeError> {
    let mut nlri = BytesMut::new();
    unreach.nlri.put(&mut nlri, unreach.family, params)?;
    let len = nlri.len().saturating_add(3);
    put_attribute_header(out, AttributeFlags::OPTIONAL, AttributeCode::MP_UNREACH_NLRI, len);
    out.put_u16(unreach.family.afi.0);
    out.put_u8(unreach.family.safi.0);
    out.put_slice(&nlri);
    Ok(())
}

fn put_reach(out: &mut BytesMut, reach: &MpReach, params: &SessionParams) -> Result<(), EncodeError> {
    let MpReach { family, next_hop, nlri } = reach;
    if !fits(*next_hop, *family, params) {
        return Err(EncodeError::FamilyMismatch { family: *family });
    }
    let mut field = BytesMut::new();
    nlri.put(&mut field, *family, params)?;
    let len = field.len().saturating_add(usize::from(next_hop.wire_len())).saturating_add(5);
    put_attribute_header(out, AttributeFlags::OPTIONAL, AttributeCode::MP_REACH_NLRI, len);
    out.put_u16(family.afi.0);
    out.put_u8(family.safi.0);
    next_hop.put(out);
    out.put_u8(0);
    out.put_slice(&field);
    Ok(())
}
