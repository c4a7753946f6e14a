//! Outbound route filters of a ROUTE-REFRESH: recognized, and not applied.

use crate::error::FilterError;
use crate::message::header::Frame;
use crate::wire::Reader;

/// What follows a ROUTE-REFRESH request that carries outbound route filters (RFC 5291 §5).
///
/// ```text
/// +--------------------------------------------------+
/// | When to refresh (1 octet)                        |
/// +--------------------------------------------------+
/// | Filter type (1 octet)                            |  repeated
/// +--------------------------------------------------+
/// | Length of the entries (2 octets)                 |
/// +--------------------------------------------------+
/// | Entries (variable)                               |
/// +--------------------------------------------------+
/// ```
///
/// A speaker that never offers the capability has no reason to receive any. This view is for saying so: the request
/// stands, the filters are shown to the operator and dropped, the session stays.
///
/// ```
/// use bgp_proto::{OutboundFilters, SessionParams, frame};
///
/// let mut bytes = vec![0xff; 16];
/// bytes.extend([0, 31, 5, 0, 1, 0, 1]);
/// bytes.extend([OutboundFilters::IMMEDIATE, 64, 0, 4, 0x80, 0, 0, 1]);
/// let found = frame(&bytes, &SessionParams::default())?.expect("a whole message");
/// let filters = OutboundFilters::find(found).expect("filters");
/// let blocks = filters.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!((blocks[0].kind, blocks[0].entries), (64, &[0x80, 0, 0, 1][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OutboundFilters<'a> {
    /// [`IMMEDIATE`](Self::IMMEDIATE) or [`DEFER`](Self::DEFER).
    pub when: u8,
    reader: Reader<'a>,
}

/// The entries of one filter type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundFilterBlock<'a> {
    /// The type: 64 for address prefixes (RFC 5292).
    pub kind: u8,
    /// The entries, not looked into.
    pub entries: &'a [u8],
}

impl<'a> OutboundFilters<'a> {
    /// Routes are to be sent again at once.
    pub const IMMEDIATE: u8 = 1;
    /// Routes are to be sent again on a later request.
    pub const DEFER: u8 = 2;

    /// The filters of a ROUTE-REFRESH message; `None` for a plain request.
    pub fn find(frame: Frame<'a>) -> Option<OutboundFilters<'a>> {
        let (when, rest) = frame.body().get(4..)?.split_first()?;
        Some(OutboundFilters { when: *when, reader: Reader::new(rest) })
    }
}

impl<'a> Iterator for OutboundFilters<'a> {
    type Item = Result<OutboundFilterBlock<'a>, FilterError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let offset = self.reader.offset();
        let read = |reader: &mut Reader<'a>| {
            let kind = reader.u8()?;
            let length = reader.u16()?;
            Ok(OutboundFilterBlock { kind, entries: reader.take(usize::from(length))? })
        };
        let block = read(&mut self.reader);
        if block.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(block.map_err(|short: crate::wire::Short| FilterError {
            offset,
            needed: short.needed,
            available: short.available,
        }))
    }
}

impl core::iter::FusedIterator for OutboundFilters<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_points::MessageType;

    fn find(body: &[u8]) -> Option<Vec<Result<(u8, usize), FilterError>>> {
        let bytes = [&[0; 19][..], body].concat();
        let filters = OutboundFilters::find(Frame { kind: MessageType::ROUTE_REFRESH, bytes: &bytes })?;
        Some(filters.map(|block| block.map(|block| (block.kind, block.entries.len()))).collect())
    }

    #[test]
    fn blocks_end_where_their_length_says() {
        assert_eq!(find(&[0, 1, 0, 1]), None);
        assert_eq!(find(&[0, 1, 0, 1, 1]), Some(vec![]));
        assert_eq!(find(&[0, 1, 0, 1, 2, 64, 0, 1, 9, 3, 0, 0]), Some(vec![Ok((64, 1)), Ok((3, 0))]));
        let error = |needed, available| FilterError { offset: 0, needed, available };
        assert_eq!(find(&[0, 1, 0, 1, 1, 64]), Some(vec![Err(error(2, 0))]));
        assert_eq!(find(&[0, 1, 0, 1, 1, 64, 0, 4, 1]), Some(vec![Err(error(4, 1))]));
    }
}
