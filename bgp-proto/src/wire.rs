//! Bounded reading of big-endian fields. The only module that knows nom; its types do not leave it.

use nom::{
    Parser,
    bytes::complete::take,
    error::{ErrorKind, ParseError},
    number::complete::{be_u8, be_u16, be_u32},
};

/// A field needs more octets than its enclosing field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short {
    pub(crate) needed: usize,
    pub(crate) available: usize,
}

/// A cursor over one field's octets. Every read is checked; a failed read consumes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { whole: bytes.len(), rest: bytes }
    }

    /// Octets consumed so far.
    pub(crate) fn offset(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, without consuming it.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Short> {
        self.run(1, be_u8)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Short> {
        self.run(2, be_u16)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        self.run(4, be_u32)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Short> {
        self.run(count, take(count))
    }

    fn run<O>(
        &mut self,
        needed: usize,
        mut parser: impl Parser<&'a [u8], Output = O, Error = Eof>,
    ) -> Result<O, Short> {
        match parser.parse(self.rest) {
            Ok((rest, value)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(_) => Err(Short { needed, available: self.rest.len() }),
        }
    }
}

/// nom's error reduced to nothing: `Reader` knows what was needed and what was there.
struct Eof;

impl ParseError<&[u8]> for Eof {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Eof
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_big_endian_and_reports_what_is_missing() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.u32(), Ok(0x0405_0607));
        assert_eq!(reader.offset(), 7);
        assert_eq!(reader.u32(), Err(Short { needed: 4, available: 2 }));
        assert_eq!(reader.rest(), &[8, 9], "a failed read consumes nothing");
        assert_eq!(reader.take(2), Ok(&[8, 9][..]));
        assert!(reader.is_empty());
    }
}
