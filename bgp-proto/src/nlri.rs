//! Prefixes as they appear in NLRI: iterated in place, nothing allocated.

mod form;
mod opaque;

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::NlriError;
use crate::types::{Afi, AfiSafi};

pub use opaque::{OpaqueNlri, OpaqueNlriBuf, OpaqueNlriIter};

pub(crate) use form::Form;
use form::last_octet_mask;

/// The longest canonical wire form: a length octet and sixteen address octets.
pub const MAX_PREFIX_WIRE_LEN: usize = 17;

/// One prefix in the buffer that it was received in.
///
/// ```text
/// +---------------------------+
/// |  Path identifier (4)      |  only with ADD-PATH (RFC 7911 §3)
/// +---------------------------+
/// |  Length in bits (1)       |
/// +---------------------------+
/// |  Prefix (0 to 16)         |  as many octets as the bits need
/// +---------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nlri<'a> {
    /// The path identifier, if the session uses them for the family.
    pub path_id: Option<u32>,
    /// Length in bits, at most 32 or 128.
    pub bits: u8,
    /// The prefix: `bits` rounded up to octets. Bits beyond the length may be set and mean nothing (RFC 4271 §4.3).
    pub octets: &'a [u8],
}

impl Nlri<'_> {
    /// Writes length octet and prefix with the meaningless bits cleared, and returns how many octets that makes
    /// (1 to 17). Two prefixes of a family are equal if and only if these octets are: a key for hash tables.
    #[inline]
    pub fn canonical(&self, out: &mut [u8; MAX_PREFIX_WIRE_LEN]) -> usize {
        let len = self.octets.len();
        let [head, tail @ ..] = out;
        *head = self.bits;
        let Some(target) = tail.get_mut(..len) else {
            // Only a hand-made value gets here: nothing but the length octet is sound.
            return 1;
        };
        target.copy_from_slice(self.octets);
        if let Some(last) = target.last_mut() {
            *last &= last_octet_mask(self.bits);
        }
        len.saturating_add(1)
    }

    /// The prefix as a network of the family, host bits cleared. `None` if the family has no IP prefixes.
    #[inline]
    pub fn to_ipnet(&self, family: AfiSafi) -> Option<IpNet> {
        to_ipnet(family.afi, self.bits, self.octets)
    }
}

/// Splits an NLRI or withdrawn routes field into prefixes.
///
/// Ends at the end of the field or after the first error: a field cannot be resynchronized. Each step consumes at
/// least one octet.
///
/// ```
/// use bgp_proto::{AfiSafi, NlriIter};
///
/// let field = [24, 192, 0, 2, 8, 10];
/// let prefixes = NlriIter::new(&field, AfiSafi::IPV4_UNICAST, false)
///     .map(|nlri| Ok(nlri?.to_ipnet(AfiSafi::IPV4_UNICAST).unwrap().to_string()))
///     .collect::<Result<Vec<_>, bgp_proto::NlriError>>()?;
/// assert_eq!(prefixes, ["192.0.2.0/24", "10.0.0.0/8"]);
/// # Ok::<(), bgp_proto::NlriError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NlriIter<'a> {
    rest: &'a [u8],
    /// Length of the whole field, for the offsets of errors.
    whole: usize,
    /// 32 or 128; `None` for families whose NLRI are not plain prefixes.
    max_bits: Option<u8>,
    family: AfiSafi,
    add_path: bool,
}

impl<'a> NlriIter<'a> {
    /// Iterates over `bytes`; `add_path` says whether each prefix is preceded by a path identifier.
    #[inline]
    pub fn new(bytes: &'a [u8], family: AfiSafi, add_path: bool) -> Self {
        NlriIter { rest: bytes, whole: bytes.len(), max_bits: max_bits(family), family, add_path }
    }

    /// What has not been consumed yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn step(&mut self) -> Result<Nlri<'a>, NlriError> {
        let start = self.rest;
        let Some(max) = self.max_bits else {
            return Err(NlriError::UnsupportedFamily { family: self.family });
        };
        let (path_id, rest) = if self.add_path {
            let Some((raw, rest)) = start.split_first_chunk::<4>() else {
                return Err(self.truncated(5));
            };
            (Some(u32::from_be_bytes(*raw)), rest)
        } else {
            (None, start)
        };
        let Some((&bits, rest)) = rest.split_first() else {
            return Err(self.truncated(5));
        };
        if bits > max {
            return Err(NlriError::PrefixTooLong { offset: self.offset(), bits, max });
        }
        let len = octets_of(bits);
        let Some((octets, rest)) = rest.split_at_checked(len) else {
            let header = if self.add_path { 5 } else { 1 };
            return Err(self.truncated(len.saturating_add(header)));
        };
        self.rest = rest;
        Ok(Nlri { path_id, bits, octets })
    }

    fn offset(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    #[cold]
    fn truncated(&self, needed: usize) -> NlriError {
        NlriError::Truncated { offset: self.offset(), needed, available: self.rest.len() }
    }
}

impl<'a> Iterator for NlriIter<'a> {
    type Item = Result<Nlri<'a>, NlriError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.step();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

impl core::iter::FusedIterator for NlriIter<'_> {}

/// A prefix with its path identifier: the owned form of [`Nlri`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathNlri {
    /// The path identifier; there if and only if the session uses them for the family.
    pub path_id: Option<u32>,
    /// The prefix. Bits beyond its length are not sent.
    pub prefix: IpNet,
}

impl From<IpNet> for PathNlri {
    fn from(prefix: IpNet) -> Self {
        PathNlri { path_id: None, prefix }
    }
}

/// `192.0.2.0/24`, or `192.0.2.0/24 path 7`.
impl core::fmt::Display for PathNlri {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.path_id {
            None => write!(f, "{}", self.prefix),
            Some(path_id) => write!(f, "{} path {path_id}", self.prefix),
        }
    }
}

/// Checks that a field of any family that this crate knows splits without a rest, and returns into how many NLRI.
///
/// # Errors
///
/// The first error in the field.
pub fn check_nlri(bytes: &[u8], family: AfiSafi, add_path: bool) -> Result<usize, NlriError> {
    if max_bits(family).is_none() {
        return OpaqueNlriIter::new(bytes, family, add_path)
            .try_fold(0_usize, |count, nlri| nlri.map(|_| count.saturating_add(1)));
    }
    NlriIter::new(bytes, family, add_path)
        .try_fold(0_usize, |count, nlri| nlri.map(|_| count.saturating_add(1)))
}

/// Writes the canonical wire form, length octet and prefix with host bits cleared, and returns its length (1 to 17).
#[inline]
pub fn encode_prefix(prefix: IpNet, out: &mut [u8; MAX_PREFIX_WIRE_LEN]) -> usize {
    let bits = prefix.prefix_len();
    let len = octets_of(bits);
    let canonical = |octets: &[u8], out: &mut [u8; MAX_PREFIX_WIRE_LEN]| {
        Nlri { path_id: None, bits, octets: octets.get(..len).unwrap_or_default() }.canonical(out)
    };
    match prefix {
        IpNet::V4(net) => canonical(&net.addr().octets(), out),
        IpNet::V6(net) => canonical(&net.addr().octets(), out),
    }
}

/// Reads one wire form written by [`encode_prefix`] or [`Nlri::canonical`]; `None` if it is not exactly one prefix of
/// the family.
#[inline]
pub fn decode_prefix(family: AfiSafi, wire: &[u8]) -> Option<IpNet> {
    let (&bits, octets) = wire.split_first()?;
    (octets.len() == octets_of(bits)).then(|| to_ipnet(family.afi, bits, octets))?
}

/// Appends the canonical wire form: length octet and prefix with host bits cleared.
///
/// ```
/// use bgp_proto::put_prefix;
///
/// let mut out = bytes::BytesMut::new();
/// put_prefix(&mut out, "192.0.2.77/25".parse()?);
/// assert_eq!(out[..], [25, 192, 0, 2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn put_prefix(out: &mut BytesMut, prefix: IpNet) {
    let bits = prefix.prefix_len();
    let end = out.len().saturating_add(octets_of(bits)).saturating_add(1);
    // A whole address and then cut: a copy of a fixed length costs less than one of any other.
    match prefix {
        IpNet::V4(net) => {
            let [a, b, c, d] = (net.addr().to_bits() & ipv4_mask(bits)).to_be_bytes();
            out.extend_from_slice(&[bits, a, b, c, d]);
        }
        IpNet::V6(net) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(bits))).unwrap_or_default();
            out.extend_from_slice(&[bits]);
            out.extend_from_slice(&(net.addr().to_bits() & mask).to_be_bytes());
        }
    }
    out.truncate(end);
}

/// Appends path identifier, length octet and prefix.
pub(crate) fn put_nlri(out: &mut BytesMut, nlri: &PathNlri) {
    if let Some(path_id) = nlri.path_id {
        out.put_u32(path_id);
    }
    put_prefix(out, nlri.prefix);
}

/// As many ones as the prefix is long; all of them from 32 on.
#[inline]
fn ipv4_mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(bits))).unwrap_or_default()
}

/// Octets that hold the bits: at most 32 for any octet value.
#[inline]
fn octets_of(bits: u8) -> usize {
    usize::from(bits).div_ceil(8)
}

/// The longest prefix of families whose NLRI are plain prefixes.
#[inline]
fn max_bits(family: AfiSafi) -> Option<u8> {
    match Form::of(family) {
        Some(Form::Prefix(max)) => Some(max),
        _ => None,
    }
}

fn to_ipnet(afi: Afi, bits: u8, octets: &[u8]) -> Option<IpNet> {
    match afi {
        Afi::IPV4 => {
            // Spelled out: a copy of one to four octets costs more than all the rest.
            let address = match *octets {
                [] => [0; 4],
                [a] => [a, 0, 0, 0],
                [a, b] => [a, b, 0, 0],
                [a, b, c] => [a, b, c, 0],
                [a, b, c, d] => [a, b, c, d],
                _ => return None,
            };
            let address = Ipv4Addr::from_bits(u32::from_be_bytes(address) & ipv4_mask(bits));
            Some(IpNet::V4(Ipv4Net::new(address, bits).ok()?))
        }
        Afi::IPV6 => {
            let mut address = [0; 16];
            address.get_mut(..octets.len())?.copy_from_slice(octets);
            Some(IpNet::V6(Ipv6Net::new(Ipv6Addr::from(address), bits).ok()?.trunc()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Safi;

    fn collect(bytes: &[u8], family: AfiSafi, add_path: bool) -> Result<Vec<String>, NlriError> {
        NlriIter::new(bytes, family, add_path)
            .map(|nlri| {
                let nlri = nlri?;
                let prefix = nlri.to_ipnet(family).unwrap();
                Ok(PathNlri { path_id: nlri.path_id, prefix }.to_string())
            })
            .collect()
    }

    #[test]
    fn splits_prefixes_of_every_length() {
        assert_eq!(
            collect(&[0, 1, 0x80, 32, 1, 2, 3, 4], AfiSafi::IPV4_UNICAST, false).unwrap(),
            ["0.0.0.0/0", "128.0.0.0/1", "1.2.3.4/32"]
        );
        assert_eq!(
            collect(&[0, 0, 0, 7, 16, 10, 1], AfiSafi::IPV4_UNICAST, true).unwrap(),
            ["10.1.0.0/16 path 7"]
        );
        let mut host = vec![128];
        host.extend([0xfd; 16]);
        assert_eq!(check_nlri(&host, AfiSafi::IPV6_UNICAST, false), Ok(1));
    }

    #[test]
    fn errors_say_where_and_how_much() {
        let v4 = AfiSafi::IPV4_UNICAST;
        let other = AfiSafi::new(Afi::L2VPN, Safi::UNICAST);
        for (bytes, family, add_path, error) in [
            (&[8, 10, 33, 1][..], v4, false, NlriError::PrefixTooLong { offset: 2, bits: 33, max: 32 }),
            (
                &[129],
                AfiSafi::IPV6_UNICAST,
                false,
                NlriError::PrefixTooLong { offset: 0, bits: 129, max: 128 },
            ),
            (&[8, 10, 24, 1], v4, false, NlriError::Truncated { offset: 2, needed: 4, available: 2 }),
            (&[0, 0, 0], v4, true, NlriError::Truncated { offset: 0, needed: 5, available: 3 }),
            (&[0, 0, 0, 1], v4, true, NlriError::Truncated { offset: 0, needed: 5, available: 4 }),
            (&[0, 0, 0, 1, 9, 1], v4, true, NlriError::Truncated { offset: 0, needed: 7, available: 6 }),
            (&[0], other, false, NlriError::UnsupportedFamily { family: other }),
        ] {
            assert_eq!(check_nlri(bytes, family, add_path), Err(error), "{bytes:?}");
        }
        assert_eq!(check_nlri(&[], other, false), Ok(0));
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut iter = NlriIter::new(&[33, 8, 10], AfiSafi::IPV4_UNICAST, false);
        assert!(iter.next().unwrap().is_err());
        assert_eq!(iter.next(), None);
        assert_eq!(iter.next(), None);
    }

    #[test]
    fn canonical_forms_ignore_host_bits() {
        let mut a = [0xaa; 17];
        let mut b = [0xbb; 17];
        let dirty = Nlri { path_id: None, bits: 9, octets: &[10, 0xff] };
        let clean = Nlri { path_id: Some(1), bits: 9, octets: &[10, 0x80] };
        let len = dirty.canonical(&mut a);
        assert_eq!(len, 3);
        assert_eq!(clean.canonical(&mut b), len);
        assert_eq!(a[..len], b[..len]);
        assert_eq!(decode_prefix(AfiSafi::IPV4_UNICAST, &a[..len]), "10.128.0.0/9".parse().ok());
        let oversized = Nlri { path_id: None, bits: 200, octets: &[0; 25] };
        assert_eq!(oversized.canonical(&mut a), 1, "a hand-made value does no harm");
    }

    #[test]
    fn prefixes_survive_the_wire() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.255/32", "::/0", "2001:db8::/33", "2001:db8::1/128"]
        {
            let prefix: IpNet = text.parse().unwrap();
            let family = if prefix.addr().is_ipv4() { AfiSafi::IPV4_UNICAST } else { AfiSafi::IPV6_UNICAST };
            let mut wire = [0; 17];
            let len = encode_prefix(prefix, &mut wire);
            assert_eq!(decode_prefix(family, &wire[..len]), Some(prefix), "{text}");
            assert_eq!(decode_prefix(family, &wire[..len - 1]), None, "{text}");
        }
        let host_bits: IpNet = "10.1.2.3/8".parse().unwrap();
        let mut wire = [0; 17];
        assert_eq!(encode_prefix(host_bits, &mut wire), 2);
        assert_eq!(wire[..2], [8, 10]);
        for bits in 0..=128 {
            let ones = IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(u128::MAX), bits).unwrap());
            let short = Ipv4Net::new(Ipv4Addr::from_bits(u32::MAX), bits).map(IpNet::V4);
            for prefix in [Some(ones), short.ok()].into_iter().flatten() {
                let mut out = BytesMut::from(&b"earlier"[..]);
                put_prefix(&mut out, prefix);
                let len = encode_prefix(prefix, &mut wire);
                assert_eq!(out[7..], wire[..len], "{prefix}");
            }
        }
    }
}
