//! NLRI of every family as verbatim octets: what a reflector carries without interpreting it.

use bytes::{BufMut, Bytes};

use crate::error::NlriError;
use crate::nlri::form::Form;
use crate::types::AfiSafi;

/// One NLRI of any family in the buffer that it was received in.
///
/// ```text
///                      +----------------------------------------------------------+
/// IPv4, IPv6           | bits (1) | prefix                                        |  RFC 4271 §4.3
/// labelled unicast     | bits (1) | labels (3 each) | prefix                      |  RFC 8277 §2
/// VPN                  | bits (1) | labels (3 each) | RD (8) | prefix             |  RFC 4364 §4.3.4
/// route targets        | bits (1) | origin AS (4) | route target (8)              |  RFC 4684 §4
/// EVPN                 | type (1) | octets (1) | value                            |  RFC 7432 §7
/// flow specifications  | octets (1, or 2 from 240 on) | components                |  RFC 8955 §4.1
///                      +----------------------------------------------------------+
/// ```
///
/// Each is preceded by a path identifier if the session uses them for the family (RFC 7911 §3).
///
/// Labels end with the one whose bottom-of-stack bit is set. RFC 8277 §2.2 knows only one label where nothing else was
/// agreed upon, and ignores that bit; real speakers set it, and some send several labels unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpaqueNlri<'a> {
    /// The path identifier, if the session uses them for the family.
    pub path_id: Option<u32>,
    /// Everything after the path identifier, verbatim, length octets included.
    pub octets: &'a [u8],
    form: Form,
}

impl<'a> OpaqueNlri<'a> {
    /// Appends what identifies the route among those of its family: two NLRI mean the same route if and only if these
    /// octets (and the path identifiers) are equal.
    ///
    /// Labels are no part of it (RFC 8277 §2.4), nor are bits beyond a prefix's length, the labels, the ESI and the
    /// gateway that EVPN routes carry beside their key (RFC 7432 §7, RFC 9136 §3.1), and the form in which a flow
    /// specification states its length.
    pub fn put_key(&self, out: &mut impl BufMut) {
        self.form.put_key(self.octets, out);
    }

    /// Appends the octets with which the route is withdrawn: the same ones, but for the labels, which become 0x800000
    /// (RFC 8277 §2.4).
    pub fn put_withdrawal(&self, out: &mut impl BufMut) {
        match self.octets {
            [bits, rest @ ..] if self.form.has_label() => {
                let (bits, rest) = self.form.without_labels(*bits, rest);
                out.put_slice(&[bits.saturating_add(24), 0x80, 0, 0]);
                out.put_slice(rest);
            }
            octets => out.put_slice(octets),
        }
    }
}

/// Splits an NLRI or withdrawn routes field of any family that this crate knows, copying nothing.
///
/// Ends at the end of the field or after the first error. Each step consumes at least one octet.
///
/// ```
/// use bgp_proto::{Afi, AfiSafi, OpaqueNlriIter, Safi};
///
/// let family = AfiSafi::new(Afi::IPV4, Safi::MPLS_VPN);
/// // Label 16, route distinguisher 0:65000:1, 10.1.0.0/16.
/// let field = [104, 0, 1, 1, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 10, 1];
/// let mut routes = OpaqueNlriIter::new(&field, family, false);
/// let route = routes.next().unwrap()?;
/// assert_eq!(route.octets, field);
/// let (mut key, mut withdrawal) = (Vec::new(), Vec::new());
/// route.put_key(&mut key);
/// assert_eq!(key, [80, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 10, 1], "without the label");
/// route.put_withdrawal(&mut withdrawal);
/// assert_eq!(withdrawal[..4], [104, 0x80, 0, 0]);
/// assert_eq!(routes.next(), None);
/// # Ok::<(), bgp_proto::NlriError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpaqueNlriIter<'a> {
    rest: &'a [u8],
    whole: usize,
    form: Option<Form>,
    family: AfiSafi,
    add_path: bool,
}

impl<'a> OpaqueNlriIter<'a> {
    /// Iterates over `bytes`; `add_path` says whether each NLRI is preceded by a path identifier.
    #[inline]
    pub fn new(bytes: &'a [u8], family: AfiSafi, add_path: bool) -> Self {
        OpaqueNlriIter { rest: bytes, whole: bytes.len(), form: Form::of(family), family, add_path }
    }

    /// What has not been consumed yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn step(&mut self) -> Result<OpaqueNlri<'a>, NlriError> {
        let form = self.form.ok_or(NlriError::UnsupportedFamily { family: self.family })?;
        let offset = self.whole.saturating_sub(self.rest.len());
        let available = self.rest.len();
        let truncated = |needed: usize| NlriError::Truncated { offset, needed, available };
        let (path_id, rest, before) = if self.add_path {
            let (raw, rest) = self.rest.split_first_chunk::<4>().ok_or_else(|| truncated(5))?;
            (Some(u32::from_be_bytes(*raw)), rest, 4_usize)
        } else {
            (None, self.rest, 0)
        };
        let len = form.measure(rest, offset, before, available)?;
        let (octets, rest) =
            rest.split_at_checked(len).ok_or_else(|| truncated(before.saturating_add(len)))?;
        self.rest = rest;
        Ok(OpaqueNlri { path_id, octets, form })
    }
}

impl<'a> Iterator for OpaqueNlriIter<'a> {
    type Item = Result<OpaqueNlri<'a>, NlriError>;

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

impl core::iter::FusedIterator for OpaqueNlriIter<'_> {}

/// The owned form of [`OpaqueNlri`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpaqueNlriBuf {
    /// The path identifier; there if and only if the session uses them for the family.
    pub path_id: Option<u32>,
    /// Everything after the path identifier, verbatim.
    pub octets: Bytes,
}

impl From<OpaqueNlri<'_>> for OpaqueNlriBuf {
    fn from(nlri: OpaqueNlri<'_>) -> Self {
        OpaqueNlriBuf { path_id: nlri.path_id, octets: Bytes::copy_from_slice(nlri.octets) }
    }
}

impl OpaqueNlriBuf {
    /// True if the octets are exactly one NLRI of the family.
    pub(crate) fn is_of(&self, family: AfiSafi) -> bool {
        let mut split = OpaqueNlriIter::new(&self.octets, family, false);
        matches!(split.next(), Some(Ok(_))) && split.rest().is_empty()
    }
}
