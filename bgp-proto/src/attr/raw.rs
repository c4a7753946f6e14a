//! The attribute block, split into attributes without looking into them.

use crate::attr::put_attribute_header;
use crate::code_points::{AttributeCode, AttributeFlags};
use crate::error::{AttributeError, AttributeErrorReason};

/// One attribute in the buffer that it was received in (RFC 4271 §4.3).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |O|T|P|E|  res. |   Type code   |  Length (1 octet, 2 with E)   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Value ...
/// +-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawAttribute<'a> {
    /// The flags as received.
    pub flags: AttributeFlags,
    /// The type code.
    pub code: AttributeCode,
    /// The value.
    pub value: &'a [u8],
    /// The whole attribute: flags, type code, length and value.
    pub tlv: &'a [u8],
}

impl RawAttribute<'_> {
    /// An error of this attribute, which starts at `offset` of the block.
    pub fn error(&self, offset: usize, reason: AttributeErrorReason) -> AttributeError {
        AttributeError { code: self.code, offset, reason, received: self.tlv.into() }
    }
}

/// Iterates over an attribute block. Ends at its end, or after an attribute that exceeds it (RFC 7606 §4).
///
/// Each step consumes at least three octets, and allocates only for an error.
#[derive(Clone, Debug)]
pub struct RawAttributes<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> RawAttributes<'a> {
    /// Iterates over the block.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        RawAttributes { rest: bytes, whole: bytes.len() }
    }

    /// Where in the block the next attribute starts.
    #[inline]
    pub fn offset(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    #[inline]
    fn split(start: &'a [u8]) -> Option<(RawAttribute<'a>, &'a [u8])> {
        let ([flags, code], rest) = start.split_first_chunk::<2>()?;
        let flags = AttributeFlags(*flags);
        let (len, rest) = if flags.contains(AttributeFlags::EXTENDED_LENGTH) {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        } else {
            let (len, rest) = rest.split_first()?;
            (usize::from(*len), rest)
        };
        let (value, rest) = rest.split_at_checked(len)?;
        let tlv = start.get(..start.len().saturating_sub(rest.len()))?;
        Some((RawAttribute { flags, code: AttributeCode(*code), value, tlv }, rest))
    }

    #[cold]
    fn overrun(&self) -> AttributeError {
        let at = |index: usize| self.rest.get(index).copied();
        let is_extended =
            at(0).is_some_and(|flags| AttributeFlags(flags).contains(AttributeFlags::EXTENDED_LENGTH));
        let header: usize = if is_extended { 4 } else { 3 };
        let len = match (is_extended, at(2), at(3)) {
            (false, Some(len), _) => usize::from(len),
            (true, Some(high), Some(low)) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        AttributeError {
            code: AttributeCode(at(1).unwrap_or_default()),
            offset: self.offset(),
            reason: AttributeErrorReason::Overrun {
                needed: header.saturating_add(len),
                available: self.rest.len(),
            },
            received: self.rest.into(),
        }
    }
}

impl<'a> Iterator for RawAttributes<'a> {
    type Item = Result<RawAttribute<'a>, AttributeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Self::split(self.rest) {
            Some((attribute, rest)) => {
                self.rest = rest;
                Some(Ok(attribute))
            }
            None => {
                let error = self.overrun();
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

impl core::iter::FusedIterator for RawAttributes<'_> {}

/// The attribute that a value was taken from, for errors of functions that see only the value.
pub(crate) fn rebuild(flags: AttributeFlags, code: AttributeCode, value: &[u8]) -> Box<[u8]> {
    let mut out = bytes::BytesMut::new();
    put_attribute_header(&mut out, flags, code, value.len());
    out.extend_from_slice(value);
    out.to_vec().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_length_forms() {
        let block = [0x40, 1, 1, 0, 0x50, 2, 0, 2, 7, 8, 0xc0, 200, 0];
        let found: Vec<_> = RawAttributes::new(&block).collect::<Result<_, _>>().unwrap();
        let seen: Vec<_> = found.iter().map(|raw| (raw.code.0, raw.value, raw.tlv.len())).collect();
        assert_eq!(seen, [(1, &[0][..], 4), (2, &[7, 8][..], 6), (200, &[][..], 3)]);
    }

    #[test]
    fn an_overrun_ends_the_iteration() {
        for (block, needed) in [
            (&[0x40][..], 3),
            (&[0x40, 1], 3),
            (&[0x40, 1, 2, 0], 5),
            (&[0x50, 1, 1], 4),
            (&[0x50, 1, 1, 0, 9], 260),
        ] {
            let mut attributes = RawAttributes::new(block);
            let error = attributes.next().unwrap().unwrap_err();
            assert_eq!(error.reason, AttributeErrorReason::Overrun { needed, available: block.len() });
            assert_eq!(&*error.received, block);
            assert_eq!(attributes.next(), None);
        }
    }
}
