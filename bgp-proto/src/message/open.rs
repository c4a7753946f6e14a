//! OPEN.

use bytes::{BufMut, BytesMut};

use crate::capability::Capability;
use crate::error::{DecodeError, EncodeError};
use crate::types::{AfiSafi, Asn, BgpId, HoldTime};
use crate::wire::{Reader, Short};

/// The first message of a session: who the speaker is and what it offers (RFC 4271 §4.2).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+
/// |    Version    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     My Autonomous System      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Hold Time           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                         BGP Identifier                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Opt Parm Len  |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |             Optional Parameters (variable)                    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// More than 255 octets of parameters take the extended form of RFC 9072.
///
/// ```
/// use bgp_proto::{AfiSafi, Asn, BgpId, Capability, Decoder, HoldTime, Message, Open, SessionParams};
/// use bytes::BytesMut;
///
/// let open = Open {
///     version: 4,
///     asn: Asn(4_200_000_000),
///     hold_time: HoldTime::try_from(90)?,
///     bgp_id: BgpId::from(std::net::Ipv4Addr::new(192, 0, 2, 1)),
///     capabilities: vec![
///         Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
///         Capability::FourOctetAs(Asn(4_200_000_000)),
///     ],
/// };
/// let params = SessionParams::default();
/// let mut bytes = BytesMut::new();
/// Message::Open(open.clone()).encode(&params, &mut bytes)?;
/// assert_eq!(Message::decode(&mut Decoder::new(params), &bytes)?, Message::Open(open));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// The protocol version, 4 in every OPEN that decodes.
    pub version: u8,
    /// The speaker's AS: from the four-octet AS capability if that is there.
    pub asn: Asn,
    /// The hold time that the speaker proposes; the smaller of the two proposals is used.
    pub hold_time: HoldTime,
    /// The speaker's identifier; not zero in any OPEN that decodes.
    pub bgp_id: BgpId,
    /// What the speaker offers, in the order sent.
    pub capabilities: Vec<Capability>,
}

/// Parameter type of capabilities (RFC 5492 §4).
const PARAMETER_CAPABILITIES: u8 = 2;
/// In place of the first parameter's type: the extended form follows (RFC 9072 §2).
const PARAMETER_EXTENDED: u8 = 255;
/// Octets before the optional parameters, their length included.
const FIXED_LEN: usize = 10;

impl Open {
    /// The only version.
    pub const VERSION: u8 = 4;

    /// True if the capability for the family is there. Without any, a speaker offers IPv4 unicast (RFC 4760 §8).
    pub fn offers_family(&self, family: AfiSafi) -> bool {
        let mut families = self.families().peekable();
        if families.peek().is_none() {
            return family == AfiSafi::IPV4_UNICAST;
        }
        families.any(|offered| offered == family)
    }

    /// The families of the multiprotocol capabilities, in the order sent.
    pub fn families(&self) -> impl Iterator<Item = AfiSafi> + '_ {
        self.capabilities.iter().filter_map(|capability| match capability {
            Capability::MultiProtocol(family) => Some(*family),
            _ => None,
        })
    }

    /// Reads a message body.
    ///
    /// # Errors
    ///
    /// RFC 4271 §6.2, in the order of the fields: [`DecodeError::UnsupportedVersion`], [`DecodeError::BadPeerAs`] for
    /// AS 0, [`DecodeError::UnacceptableHoldTime`] for 1 and 2, [`DecodeError::BadBgpId`] for 0,
    /// [`DecodeError::UnsupportedOptionalParameter`] for anything but capabilities, and
    /// [`DecodeError::MalformedOpen`] where lengths contradict each other. Whether AS, identifier and hold time are
    /// the ones expected is for the session to judge.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let version = reader.u8().map_err(|short| malformed(0, short))?;
        if version != Self::VERSION {
            return Err(DecodeError::UnsupportedVersion { version });
        }
        let asn = Asn(u32::from(reader.u16().map_err(|short| malformed(1, short))?));
        let hold_secs = reader.u16().map_err(|short| malformed(3, short))?;
        let bgp_id = BgpId(reader.u32().map_err(|short| malformed(5, short))?);
        let length = reader.u8().map_err(|short| malformed(9, short))?;
        if asn == Asn(0) {
            return Err(DecodeError::BadPeerAs { asn });
        }
        let hold_time =
            HoldTime::from_secs(hold_secs).ok_or(DecodeError::UnacceptableHoldTime { secs: hold_secs })?;
        if bgp_id == BgpId(0) {
            return Err(DecodeError::BadBgpId);
        }
        let capabilities = optional_parameters(length, reader.rest())?;
        let four_octet = capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        match four_octet {
            // RFC 7607 §2.
            Some(Asn(0)) => Err(DecodeError::BadPeerAs { asn: Asn(0) }),
            _ => Ok(Open { version, asn: four_octet.unwrap_or(asn), hold_time, bgp_id, capabilities }),
        }
    }

    /// Appends the message body.
    pub(crate) fn encode_body(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let carried = self.capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        if carried.map_or(self.asn.needs_four_octets(), |carried| carried != self.asn) {
            return Err(EncodeError::AsnNotCarried { asn: self.asn });
        }
        let mut capabilities = BytesMut::new();
        for capability in &self.capabilities {
            capability.put(&mut capabilities)?;
        }
        out.put_u8(self.version);
        out.put_u16(self.asn.to_two_octets());
        out.put_u16(self.hold_time.as_secs());
        out.put_u32(self.bgp_id.0);
        put_parameters(&capabilities, out)
    }
}

/// All capabilities as one parameter (RFC 5492 §4), in the extended form if need be (RFC 9072 §2).
fn put_parameters(capabilities: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    let len = capabilities.len();
    let too_long = EncodeError::MessageTooLong { length: len, max: usize::from(u16::MAX) };
    if len == 0 {
        out.put_u8(0);
    } else if let Ok(total) = u8::try_from(len.saturating_add(2)) {
        out.put_slice(&[total, PARAMETER_CAPABILITIES, total.saturating_sub(2)]);
    } else {
        let Ok(total) = u16::try_from(len.saturating_add(3)) else {
            return Err(too_long);
        };
        out.put_slice(&[PARAMETER_EXTENDED, PARAMETER_EXTENDED]);
        out.put_u16(total);
        out.put_u8(PARAMETER_CAPABILITIES);
        out.put_u16(total.saturating_sub(3));
    }
    out.put_slice(capabilities);
    Ok(())
}

/// What follows the length octet, in either form.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Length != 0   |  Type = 255   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Extended Opt. Parm. Length   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Parm. Type   |        Parameter Length       |  value ...   (RFC 9072)
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
fn optional_parameters(length: u8, rest: &[u8]) -> Result<Vec<Capability>, DecodeError> {
    let mut reader = Reader::new(rest);
    // RFC 9072 §2: with type 255 the one-octet length means nothing, as long as it is not zero.
    if let Some((&PARAMETER_EXTENDED, _)) = rest.split_first()
        && length != 0
    {
        let _ = reader.u8();
        let total = reader.u16().map_err(|short| malformed(FIXED_LEN.saturating_add(1), short))?;
        expect_rest(&reader, usize::from(total), FIXED_LEN.saturating_add(3))?;
        return parameters(reader.rest(), FIXED_LEN.saturating_add(3), true);
    }
    expect_rest(&reader, usize::from(length), FIXED_LEN)?;
    parameters(reader.rest(), FIXED_LEN, false)
}

fn expect_rest(reader: &Reader<'_>, needed: usize, offset: usize) -> Result<(), DecodeError> {
    let available = reader.rest().len();
    if needed == available { Ok(()) } else { Err(DecodeError::MalformedOpen { offset, needed, available }) }
}

/// The parameters, which start at `base` of the body.
fn parameters(bytes: &[u8], base: usize, is_extended: bool) -> Result<Vec<Capability>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut capabilities = Vec::new();
    while !reader.is_empty() {
        let start = base.saturating_add(reader.offset());
        let error = |short| malformed(start, short);
        let code = reader.u8().map_err(error)?;
        let length = if is_extended { reader.u16() } else { reader.u8().map(u16::from) }.map_err(error)?;
        let value_start = base.saturating_add(reader.offset());
        let value = reader.take(usize::from(length)).map_err(error)?;
        if code != PARAMETER_CAPABILITIES {
            return Err(DecodeError::UnsupportedOptionalParameter { code });
        }
        let mut fields = Reader::new(value);
        while !fields.is_empty() {
            let at = value_start.saturating_add(fields.offset());
            capabilities.push(Capability::read(&mut fields).map_err(|short| malformed(at, short))?);
        }
    }
    Ok(capabilities)
}

fn malformed(offset: usize, short: Short) -> DecodeError {
    DecodeError::MalformedOpen { offset, needed: short.needed, available: short.available }
}
