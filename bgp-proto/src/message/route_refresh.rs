//! ROUTE-REFRESH.

use bytes::{BufMut, BytesMut};

use crate::error::DecodeError;
use crate::message::header::{Frame, HEADER_LEN};
use crate::types::{Afi, AfiSafi, Safi};
use crate::wire::Reader;

/// A request to send a family's routes again (RFC 2918), or the mark before or after doing so (RFC 7313).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |             AFI               |    Subtype    |     SAFI      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// A request may be followed by outbound route filters (RFC 5291). We never offer them, so a peer has no reason to send
/// any; if one does, they are skipped and the request stands. [`OutboundFilters`](crate::OutboundFilters) shows them.
///
/// ```
/// use bgp_proto::{AfiSafi, Decoder, Message, RouteRefresh, SessionParams};
/// use bytes::BytesMut;
///
/// let params = SessionParams::default();
/// let request = Message::RouteRefresh(RouteRefresh::request(AfiSafi::IPV6_UNICAST));
/// let mut bytes = BytesMut::new();
/// request.encode(&params, &mut bytes)?;
/// assert_eq!(&bytes[16..], [0, 23, 5, 0, 2, 0, 1]);
/// assert_eq!(Message::decode(&mut Decoder::new(params), &bytes)?, request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family.
    pub family: AfiSafi,
    /// [`REQUEST`](Self::REQUEST), [`BORR`](Self::BORR), [`EORR`](Self::EORR), or something to ignore (RFC 7313 §5).
    pub subtype: u8,
}

impl RouteRefresh {
    /// A plain request.
    pub const REQUEST: u8 = 0;
    /// Beginning of route refresh.
    pub const BORR: u8 = 1;
    /// End of route refresh.
    pub const EORR: u8 = 2;

    /// A request for a family's routes.
    pub const fn request(family: AfiSafi) -> Self {
        RouteRefresh { family, subtype: Self::REQUEST }
    }

    /// Reads a message of type ROUTE-REFRESH.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadMessageLength`] below four octets of body; [`DecodeError::RouteRefreshLength`] for a BoRR or
    /// EoRR that is longer.
    pub fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.body());
        let (Ok(afi), Ok(subtype), Ok(safi)) = (reader.u16(), reader.u8(), reader.u8()) else {
            let length = u16::try_from(frame.bytes.len().max(HEADER_LEN)).unwrap_or(u16::MAX);
            return Err(DecodeError::BadMessageLength { length });
        };
        if matches!(subtype, Self::BORR | Self::EORR) && !reader.is_empty() {
            return Err(DecodeError::RouteRefreshLength { message: frame.bytes.to_vec() });
        }
        Ok(RouteRefresh { family: AfiSafi::new(Afi(afi), Safi(safi)), subtype })
    }

    pub(crate) fn encode_body(&self, out: &mut BytesMut) {
        out.put_u16(self.family.afi.0);
        out.put_u8(self.subtype);
        out.put_u8(self.family.safi.0);
    }
}
