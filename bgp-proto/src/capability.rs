//! Capabilities: what a speaker offers in its OPEN (RFC 5492).

mod display;

use bytes::{BufMut, BytesMut};

use crate::code_points::CapabilityCode;
use crate::error::EncodeError;
use crate::types::{Afi, AfiSafi, Asn, Safi};
use crate::wire::{Reader, Short};

/// One capability.
///
/// ```text
/// +------------------------------+
/// | Capability code (1 octet)    |
/// +------------------------------+
/// | Capability length (1 octet)  |
/// +------------------------------+
/// | Capability value (variable)  |
/// +------------------------------+
/// ```
///
/// A capability of an unknown code, or whose value is not what its RFC says, is kept as
/// [`Unknown`](Capability::Unknown): shown to operators and otherwise ignored (RFC 5492 §3). The exception is the
/// four-octet AS capability: a session must not be up with two readings of every AS_PATH.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// A family (RFC 4760 §8).
    MultiProtocol(AfiSafi),
    /// ROUTE-REFRESH is understood (RFC 2918 §2).
    RouteRefresh,
    /// BoRR and EoRR are understood (RFC 7313 §3.1).
    EnhancedRouteRefresh,
    /// AS numbers have four octets; with the speaker's own (RFC 6793 §3).
    FourOctetAs(Asn),
    /// Routes may be kept across a restart (RFC 4724 §3).
    GracefulRestart(GracefulRestart),
    /// Filters that a speaker asks its peer to apply (RFC 5291 §4). Understood, so that it can be shown; this crate has
    /// no filters to apply, and a speaker that does not offer it either receives none.
    OutboundRouteFiltering(Vec<OutboundFilterFamily>),
    /// Several paths per prefix, by family (RFC 7911 §4).
    AddPath(Vec<(AfiSafi, AddPathDirection)>),
    /// Messages of up to 65535 octets (RFC 8654 §3).
    ExtendedMessage,
    /// Families whose next hop may be of another address family (RFC 8950 §4).
    ExtendedNextHop(Vec<(AfiSafi, Afi)>),
    /// Stale routes may be kept for long (RFC 9494 §3).
    LongLivedGracefulRestart(Vec<LongLivedFamily>),
    /// The speaker's role: 0 provider, 1 route server, 2 its client, 3 customer, 4 peer (RFC 9234 §4.1).
    Role(u8),
    /// Anything else.
    Unknown {
        /// The code.
        code: u8,
        /// The value, at most 255 octets.
        value: Vec<u8>,
    },
}

/// The graceful restart capability (RFC 4724 §3, RFC 8538 §2).
///
/// ```text
///  0                   1
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |R|N|   |     Restart time      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |             AFI               |  repeated
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     SAFI      |F|             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GracefulRestart {
    /// R: the speaker has restarted.
    pub restarting: bool,
    /// N: graceful restart also covers NOTIFICATION and hold timer expiry (RFC 8538).
    pub notification: bool,
    /// How long a restart may take, in seconds. Twelve bits: larger values are sent as 4095.
    pub restart_time_secs: u16,
    /// The families covered. None at all still announces End-of-RIB markers.
    pub families: Vec<GracefulRestartFamily>,
}

impl GracefulRestart {
    /// The longest restart time that the field can hold.
    pub const MAX_RESTART_TIME_SECS: u16 = 0x0fff;
}

/// A family of [`GracefulRestart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GracefulRestartFamily {
    /// The family.
    pub family: AfiSafi,
    /// F: the forwarding state survived the last restart.
    pub forwarding_preserved: bool,
}

/// A family of the long-lived graceful restart capability (RFC 9494 §3).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |             AFI               |     SAFI      |F|             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |            Long-lived stale time              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LongLivedFamily {
    /// The family.
    pub family: AfiSafi,
    /// F: the forwarding state survived the last restart.
    pub forwarding_preserved: bool,
    /// How long stale routes may be kept, in seconds. 24 bits: larger values are sent as 16777215.
    pub stale_time_secs: u32,
}

impl LongLivedFamily {
    /// The longest stale time that the field can hold.
    pub const MAX_STALE_TIME_SECS: u32 = 0x00ff_ffff;
}

/// A family of the outbound route filtering capability (RFC 5291 §4).
///
/// ```text
/// +--------------------------------------------------+
/// | Address Family Identifier (2 octets)             |
/// +--------------------------------------------------+
/// | Reserved (1 octet)                               |
/// +--------------------------------------------------+
/// | Subsequent Address Family Identifier (1 octet)   |
/// +--------------------------------------------------+
/// | Number of filter types (1 octet)                 |
/// +--------------------------------------------------+
/// | Filter type (1 octet), send/receive (1 octet)    |  repeated
/// +--------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutboundFilterFamily {
    /// The family.
    pub family: AfiSafi,
    /// Filter types, 64 for address prefixes (RFC 5292), each with 1 to receive, 2 to send, 3 for both. At most 255.
    pub kinds: Vec<(u8, u8)>,
}

/// What a speaker is able to do with several paths per prefix (RFC 7911 §4); the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddPathDirection {
    /// Receive them.
    Receive = 1,
    /// Send them.
    Send = 2,
    /// Both.
    Both = 3,
}

impl AddPathDirection {
    /// True if it includes receiving.
    pub const fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Both)
    }

    /// True if it includes sending.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Send | Self::Both)
    }
}

const FLAG_RESTARTING: u16 = 0x8000;
const FLAG_NOTIFICATION: u16 = 0x4000;
const FLAG_FORWARDING: u8 = 0x80;

impl Capability {
    /// The capability's code.
    pub fn code(&self) -> CapabilityCode {
        match self {
            Self::MultiProtocol(_) => CapabilityCode::MULTI_PROTOCOL,
            Self::RouteRefresh => CapabilityCode::ROUTE_REFRESH,
            Self::EnhancedRouteRefresh => CapabilityCode::ENHANCED_ROUTE_REFRESH,
            Self::FourOctetAs(_) => CapabilityCode::FOUR_OCTET_AS,
            Self::GracefulRestart(_) => CapabilityCode::GRACEFUL_RESTART,
            Self::OutboundRouteFiltering(_) => CapabilityCode::OUTBOUND_ROUTE_FILTERING,
            Self::AddPath(_) => CapabilityCode::ADD_PATH,
            Self::ExtendedMessage => CapabilityCode::EXTENDED_MESSAGE,
            Self::ExtendedNextHop(_) => CapabilityCode::EXTENDED_NEXT_HOP,
            Self::LongLivedGracefulRestart(_) => CapabilityCode::LONG_LIVED_GRACEFUL_RESTART,
            Self::Role(_) => CapabilityCode::ROLE,
            Self::Unknown { code, .. } => CapabilityCode(*code),
        }
    }

    /// Reads code, length and value.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Capability, Short> {
        let code = reader.u8()?;
        let length = reader.u8()?;
        let value = reader.take(usize::from(length))?;
        if CapabilityCode(code) == CapabilityCode::FOUR_OCTET_AS && value.len() != 4 {
            return Err(Short { needed: 4, available: value.len() });
        }
        let unknown = || Capability::Unknown { code, value: value.to_vec() };
        let mut fields = Reader::new(value);
        let known = Self::known(CapabilityCode(code), &mut fields);
        Ok(known.ok().flatten().filter(|_| fields.is_empty()).unwrap_or_else(unknown))
    }

    /// Appends code, length and value.
    pub(crate) fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut value = BytesMut::new();
        self.put_value(&mut value);
        let code = self.code().0;
        let length = u8::try_from(value.len())
            .map_err(|_| EncodeError::CapabilityTooLong { code, length: value.len() })?;
        out.put_slice(&[code, length]);
        out.put_slice(&value);
        Ok(())
    }

    /// `None` and leftover octets alike mean: not what the RFC says.
    fn known(code: CapabilityCode, fields: &mut Reader<'_>) -> Result<Option<Capability>, Short> {
        Ok(Some(match code {
            CapabilityCode::MULTI_PROTOCOL => {
                let afi = fields.u16()?;
                let _reserved = fields.u8()?;
                Self::MultiProtocol(AfiSafi::new(Afi(afi), Safi(fields.u8()?)))
            }
            CapabilityCode::ROUTE_REFRESH => Self::RouteRefresh,
            CapabilityCode::ENHANCED_ROUTE_REFRESH => Self::EnhancedRouteRefresh,
            CapabilityCode::EXTENDED_MESSAGE => Self::ExtendedMessage,
            CapabilityCode::FOUR_OCTET_AS => Self::FourOctetAs(Asn(fields.u32()?)),
            CapabilityCode::ROLE => Self::Role(fields.u8()?),
            CapabilityCode::GRACEFUL_RESTART => Self::GracefulRestart(graceful_restart(fields)?),
            CapabilityCode::OUTBOUND_ROUTE_FILTERING => {
                let mut families = Vec::new();
                while !fields.is_empty() {
                    families.push(outbound_filter_family(fields)?);
                }
                Self::OutboundRouteFiltering(families)
            }
            CapabilityCode::ADD_PATH => {
                let mut families = Vec::new();
                while !fields.is_empty() {
                    let family = family(fields)?;
                    let direction = match fields.u8()? {
                        1 => AddPathDirection::Receive,
                        2 => AddPathDirection::Send,
                        3 => AddPathDirection::Both,
                        // RFC 7911 §4: not understood, and ignored.
                        _ => return Ok(None),
                    };
                    families.push((family, direction));
                }
                Self::AddPath(families)
            }
            CapabilityCode::EXTENDED_NEXT_HOP => {
                let mut families = Vec::new();
                while !fields.is_empty() {
                    let afi = Afi(fields.u16()?);
                    // Two octets here, one everywhere else (RFC 8950 §4).
                    let Ok(safi) = u8::try_from(fields.u16()?) else {
                        return Ok(None);
                    };
                    families.push((AfiSafi::new(afi, Safi(safi)), Afi(fields.u16()?)));
                }
                Self::ExtendedNextHop(families)
            }
            CapabilityCode::LONG_LIVED_GRACEFUL_RESTART => {
                let mut families = Vec::new();
                while !fields.is_empty() {
                    families.push(long_lived_family(fields)?);
                }
                Self::LongLivedGracefulRestart(families)
            }
            _ => return Ok(None),
        }))
    }

    fn put_value(&self, out: &mut BytesMut) {
        match self {
            Self::MultiProtocol(family) => {
                out.put_u16(family.afi.0);
                out.put_slice(&[0, family.safi.0]);
            }
            Self::RouteRefresh | Self::EnhancedRouteRefresh | Self::ExtendedMessage => {}
            Self::FourOctetAs(asn) => out.put_u32(asn.0),
            Self::Role(role) => out.put_u8(*role),
            Self::GracefulRestart(restart) => {
                let mut head = restart.restart_time_secs.min(GracefulRestart::MAX_RESTART_TIME_SECS);
                head |= if restart.restarting { FLAG_RESTARTING } else { 0 };
                head |= if restart.notification { FLAG_NOTIFICATION } else { 0 };
                out.put_u16(head);
                for covered in &restart.families {
                    put_family(out, covered.family);
                    out.put_u8(if covered.forwarding_preserved { FLAG_FORWARDING } else { 0 });
                }
            }
            Self::OutboundRouteFiltering(families) => {
                for covered in families {
                    out.put_u16(covered.family.afi.0);
                    out.put_slice(&[0, covered.family.safi.0]);
                    // Saturation is harmless: so many make the capability too long, which the caller checks.
                    out.put_u8(u8::try_from(covered.kinds.len()).unwrap_or(u8::MAX));
                    for (kind, direction) in &covered.kinds {
                        out.put_slice(&[*kind, *direction]);
                    }
                }
            }
            Self::AddPath(families) => {
                for (family, direction) in families {
                    put_family(out, *family);
                    out.put_u8(*direction as u8);
                }
            }
            Self::ExtendedNextHop(families) => {
                for (family, next_hop) in families {
                    out.put_u16(family.afi.0);
                    out.put_u16(u16::from(family.safi.0));
                    out.put_u16(next_hop.0);
                }
            }
            Self::LongLivedGracefulRestart(families) => {
                for covered in families {
                    put_family(out, covered.family);
                    out.put_u8(if covered.forwarding_preserved { FLAG_FORWARDING } else { 0 });
                    let secs = covered.stale_time_secs.min(LongLivedFamily::MAX_STALE_TIME_SECS);
                    out.put_uint(u64::from(secs), 3);
                }
            }
            Self::Unknown { value, .. } => out.put_slice(value),
        }
    }
}

fn graceful_restart(fields: &mut Reader<'_>) -> Result<GracefulRestart, Short> {
    let head = fields.u16()?;
    let mut families = Vec::new();
    while !fields.is_empty() {
        let family = family(fields)?;
        families.push(GracefulRestartFamily {
            family,
            forwarding_preserved: fields.u8()? & FLAG_FORWARDING != 0,
        });
    }
    Ok(GracefulRestart {
        restarting: head & FLAG_RESTARTING != 0,
        notification: head & FLAG_NOTIFICATION != 0,
        restart_time_secs: head & GracefulRestart::MAX_RESTART_TIME_SECS,
        families,
    })
}

fn outbound_filter_family(fields: &mut Reader<'_>) -> Result<OutboundFilterFamily, Short> {
    let afi = fields.u16()?;
    let _reserved = fields.u8()?;
    let family = AfiSafi::new(Afi(afi), Safi(fields.u8()?));
    let count = usize::from(fields.u8()?);
    let (pairs, _) = fields.take(count.saturating_mul(2))?.as_chunks::<2>();
    Ok(OutboundFilterFamily {
        family,
        kinds: pairs.iter().map(|[kind, direction]| (*kind, *direction)).collect(),
    })
}

fn long_lived_family(fields: &mut Reader<'_>) -> Result<LongLivedFamily, Short> {
    let family = family(fields)?;
    let forwarding_preserved = fields.u8()? & FLAG_FORWARDING != 0;
    let high = fields.u8()?;
    let low = fields.u16()?;
    Ok(LongLivedFamily {
        family,
        forwarding_preserved,
        stale_time_secs: u32::from(high) << 16 | u32::from(low),
    })
}

fn family(fields: &mut Reader<'_>) -> Result<AfiSafi, Short> {
    let afi = fields.u16()?;
    Ok(AfiSafi::new(Afi(afi), Safi(fields.u8()?)))
}

fn put_family(out: &mut BytesMut, family: AfiSafi) {
    out.put_u16(family.afi.0);
    out.put_u8(family.safi.0);
}
