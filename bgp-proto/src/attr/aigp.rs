//! AIGP.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::AttributeErrorReason;
use crate::wire::Reader;

/// Type of the TLV that holds the metric.
const TYPE_METRIC: u8 = 1;
/// Octets of that TLV.
const METRIC_LEN: u16 = 11;

/// The accumulated IGP metric (RFC 7311 §3): TLVs, of which the first of type 1 counts. Kept verbatim, because a speaker
/// that does not change the next hop passes all of them on (§3.4.3).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Type      |         Length                |               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+               ~
/// ~                           Value                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// ```
/// use bgp_proto::Aigp;
///
/// assert_eq!(Aigp::new(1500).metric(), Some(1500));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aigp {
    /// Whole TLVs.
    tlvs: Bytes,
}

impl Aigp {
    /// One TLV with the metric.
    pub fn new(metric: u64) -> Aigp {
        let mut tlvs = BytesMut::with_capacity(usize::from(METRIC_LEN));
        tlvs.put_u8(TYPE_METRIC);
        tlvs.put_u16(METRIC_LEN);
        tlvs.put_u64(metric);
        Aigp { tlvs: tlvs.freeze() }
    }

    /// The metric of the first TLV that holds one.
    pub fn metric(&self) -> Option<u64> {
        read(&self.tlvs).ok().flatten()
    }

    /// All TLVs as received.
    pub fn tlvs(&self) -> &[u8] {
        &self.tlvs
    }

    /// Reads an attribute's value: every TLV must end within it, and one of type 1 must have its length.
    pub(crate) fn decode(value: &[u8]) -> Result<Aigp, AttributeErrorReason> {
        read(value)?;
        Ok(Aigp { tlvs: Bytes::copy_from_slice(value) })
    }
}

fn read(value: &[u8]) -> Result<Option<u64>, AttributeErrorReason> {
    let mut reader = Reader::new(value);
    let mut metric = None;
    while !reader.is_empty() {
        let start = reader.offset();
        let length = |needed: u16| AttributeErrorReason::Length {
            needed: start.saturating_add(usize::from(needed)),
            available: value.len(),
        };
        let (Ok(kind), Ok(len)) = (reader.u8(), reader.u16()) else {
            return Err(length(3));
        };
        // The length counts type and length too.
        let Some(Ok(content)) = usize::from(len).checked_sub(3).map(|rest| reader.take(rest)) else {
            return Err(length(len.max(3)));
        };
        if kind == TYPE_METRIC {
            let octets = <[u8; 8]>::try_from(content).map_err(|_| length(METRIC_LEN))?;
            metric = metric.or(Some(u64::from_be_bytes(octets)));
        }
    }
    Ok(metric)
}

/// The metric, or `none` where no TLV holds one.
impl fmt::Display for Aigp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.metric() {
            Some(metric) => write!(f, "{metric}"),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_metric_counts_and_all_tlvs_stay() {
        let value = [&[9, 0, 4, 7][..], &[1, 0, 11, 0, 0, 0, 0, 0, 0, 1, 0], &[1, 0, 11], &[9; 8]].concat();
        let aigp = Aigp::decode(&value).unwrap();
        assert_eq!(aigp.metric(), Some(256));
        assert_eq!(aigp.to_string(), "256");
        assert_eq!(aigp.tlvs(), value);
        assert_eq!(Aigp::decode(&[9, 0, 3]).unwrap().to_string(), "none");
    }

    #[test]
    fn tlvs_must_end_within_the_value() {
        for (value, needed) in [
            (&[1][..], 3),
            (&[1, 0, 2], 3),
            (&[9, 0, 5, 0], 5),
            (&[1, 0, 4, 0], 11),
            (&[9, 0, 3, 1, 0, 12], 15),
        ] {
            let expected = AttributeErrorReason::Length { needed, available: value.len() };
            assert_eq!(Aigp::decode(value), Err(expected), "{value:?}");
        }
    }
}
