//! AS_PATH.

use core::fmt;
use core::str::FromStr;

use bytes::BufMut;

use crate::error::AttributeErrorReason;
use crate::types::{Asn, ParseValueError};
use crate::wire::Reader;

/// A segment holds at most this many ASes: its count is one octet.
const MAX_SEGMENT_LEN: usize = 255;

/// The ASes that a route went through, nearest first (RFC 4271 §5.1.2, RFC 5065 §3).
///
/// ```text
/// +-------------------+-------------------+------------------------------+
/// | Segment type (1)  | AS count (1)      | ASes (2 or 4 octets each)    |   repeated
/// +-------------------+-------------------+------------------------------+
/// ```
///
/// No segment is empty and none is longer than 255: the constructors and the decoder see to that.
///
/// ```
/// use bgp_proto::{AsPath, Asn};
///
/// let mut path: AsPath = "65001 65002 {65003 65004}".parse()?;
/// assert_eq!(path.path_len(), 3);
/// path.prepend(Asn(64512), 2);
/// assert_eq!(path.to_string(), "64512 64512 65001 65002 {65003 65004}");
/// assert_eq!(path.first_asn(), Some(Asn(64512)));
/// # Ok::<(), bgp_proto::ParseValueError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsPath {
    segments: Vec<AsPathSegment>,
}

/// One segment of a path: 1 to 255 ASes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsPathSegment {
    /// Ordered or not, inside the confederation or not.
    pub kind: AsPathSegmentKind,
    /// The ASes.
    pub asns: Vec<Asn>,
}

/// The type of a segment; the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AsPathSegmentKind {
    /// Unordered (RFC 4271 §4.3).
    Set = 1,
    /// Ordered (RFC 4271 §4.3).
    Sequence = 2,
    /// Ordered members of the confederation (RFC 5065 §3).
    ConfedSequence = 3,
    /// Unordered members of the confederation (RFC 5065 §3).
    ConfedSet = 4,
}

impl AsPathSegmentKind {
    /// True for the two kinds that stay within a confederation.
    pub const fn is_confederation(self) -> bool {
        matches!(self, Self::ConfedSequence | Self::ConfedSet)
    }

    const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }
}

impl AsPath {
    /// The empty path.
    pub const fn new() -> AsPath {
        AsPath { segments: Vec::new() }
    }

    /// One sequence of ASes; split where it is longer than 255.
    pub fn sequence(asns: impl IntoIterator<Item = Asn>) -> AsPath {
        let asns = asns.into_iter().collect();
        AsPath::from_segments([AsPathSegment { kind: AsPathSegmentKind::Sequence, asns }])
    }

    /// A path of segments. Empty ones are left out, ones longer than 255 are split.
    pub fn from_segments(segments: impl IntoIterator<Item = AsPathSegment>) -> AsPath {
        let mut path = AsPath::new();
        for segment in segments {
            for chunk in segment.asns.chunks(MAX_SEGMENT_LEN) {
                path.segments.push(AsPathSegment { kind: segment.kind, asns: chunk.to_vec() });
            }
        }
        path
    }

    /// The segments, nearest first.
    pub fn segments(&self) -> &[AsPathSegment] {
        &self.segments
    }

    /// True without any AS: a route of the sender's own AS.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The length that the decision process compares: a set counts as one (RFC 4271 §9.1.2.2 (a)), confederation
    /// segments as nothing (RFC 5065 §5.3).
    pub fn path_len(&self) -> usize {
        self.segments.iter().map(AsPathSegment::path_len).fold(0, usize::saturating_add)
    }

    /// The neighbouring AS: the first of the leading sequence, past confederation segments. `None` if the path is
    /// empty or begins with a set (RFC 4271 §9.1.2.2 (c), RFC 5065 §5.3).
    pub fn first_asn(&self) -> Option<Asn> {
        let segment = self.segments.iter().find(|segment| !segment.kind.is_confederation())?;
        if segment.kind == AsPathSegmentKind::Sequence { segment.asns.first().copied() } else { None }
    }

    /// The AS that originated the route: the last one, unless the path is empty or ends in a set.
    pub fn origin_asn(&self) -> Option<Asn> {
        let segment = self.segments.last()?;
        if segment.kind == AsPathSegmentKind::Sequence { segment.asns.last().copied() } else { None }
    }

    /// True if the AS is anywhere in the path.
    pub fn contains(&self, asn: Asn) -> bool {
        self.asns().any(|other| other == asn)
    }

    /// Every AS of every segment, nearest first.
    pub fn asns(&self) -> impl Iterator<Item = Asn> + '_ {
        self.segments.iter().flat_map(|segment| segment.asns.iter().copied())
    }

    /// Puts an AS in front, `count` times (RFC 4271 §5.1.2): into the leading sequence while that has room, then into
    /// new ones.
    pub fn prepend(&mut self, asn: Asn, count: usize) {
        let mut left = count;
        if let Some(first) =
            self.segments.first_mut().filter(|first| first.kind == AsPathSegmentKind::Sequence)
        {
            let taken = left.min(MAX_SEGMENT_LEN.saturating_sub(first.asns.len()));
            first.asns.splice(0..0, core::iter::repeat_n(asn, taken));
            left = left.saturating_sub(taken);
        }
        while left > 0 {
            let taken = left.min(MAX_SEGMENT_LEN);
            let asns = vec![asn; taken];
            self.segments.insert(0, AsPathSegment { kind: AsPathSegmentKind::Sequence, asns });
            left = left.saturating_sub(taken);
        }
    }

    /// The path without confederation segments: what leaves a confederation, and what AS4_PATH may hold.
    pub fn without_confederation(&self) -> AsPath {
        let segments = self.segments.iter().filter(|segment| !segment.kind.is_confederation());
        AsPath { segments: segments.cloned().collect() }
    }

    /// Reads an attribute's value; confederation segments are refused unless `confederation` (RFC 5065 §5).
    pub(crate) fn read(
        value: &[u8],
        four_octet: bool,
        confederation: bool,
    ) -> Result<AsPath, AttributeErrorReason> {
        let mut reader = Reader::new(value);
        let mut segments = Vec::new();
        while !reader.is_empty() {
            segments.push(read_segment(&mut reader, four_octet, confederation)?);
        }
        Ok(AsPath { segments })
    }

    /// True if some AS does not fit two octets.
    pub(crate) fn needs_four_octets(&self) -> bool {
        self.asns().any(Asn::needs_four_octets)
    }

    /// Octets of the attribute's value.
    pub(crate) fn wire_len(&self, four_octet: bool) -> usize {
        let width: usize = if four_octet { 4 } else { 2 };
        let segments = self.segments.iter();
        let lens = segments.map(|segment| segment.asns.len().saturating_mul(width).saturating_add(2));
        lens.fold(0, usize::saturating_add)
    }

    /// Appends the attribute's value; AS_TRANS stands in where two octets do not suffice (RFC 6793 §4.2.2).
    pub(crate) fn put(&self, out: &mut impl BufMut, four_octet: bool) {
        for segment in &self.segments {
            out.put_u8(segment.kind as u8);
            out.put_u8(u8::try_from(segment.asns.len()).unwrap_or(u8::MAX));
            for asn in &segment.asns {
                if four_octet {
                    out.put_u32(asn.0);
                } else {
                    out.put_u16(asn.to_two_octets());
                }
            }
        }
    }

    /// Merges the AS4_PATH that came with this AS_PATH (RFC 6793 §4.2.3): its ASes replace the tail, and the ASes
    /// that two-octet speakers put in front stay. An AS4_PATH longer than this path is ignored.
    pub(crate) fn merge_as4(self, as4_path: AsPath) -> AsPath {
        let as4_path = as4_path.without_confederation();
        let Some(mut lead) = self.path_len().checked_sub(as4_path.path_len()) else {
            return self;
        };
        let mut merged = AsPath::new();
        for segment in self.segments {
            // Confederation segments cost nothing: those that lead, or follow what is kept, are kept.
            if segment.kind.is_confederation() {
                merged.segments.push(segment);
                continue;
            }
            if lead == 0 {
                break;
            }
            let kept = match segment.kind {
                AsPathSegmentKind::Sequence => segment.asns.iter().take(lead).copied().collect(),
                _ => segment.asns.clone(),
            };
            let kept = AsPathSegment { kind: segment.kind, asns: kept };
            lead = lead.saturating_sub(kept.path_len());
            let is_whole = kept.asns.len() == segment.asns.len();
            merged.segments.push(kept);
            if !is_whole {
                break;
            }
        }
        let mut tail = as4_path.segments.into_iter();
        if let Some(segment) = tail.next() {
            merged.join(segment);
        }
        merged.segments.extend(tail);
        merged
    }

    /// Appends a segment, into the last one if both are sequences and there is room.
    fn join(&mut self, segment: AsPathSegment) {
        if let Some(last) = self.segments.last_mut() {
            let fits = last.asns.len().saturating_add(segment.asns.len()) <= MAX_SEGMENT_LEN;
            if last.kind == AsPathSegmentKind::Sequence && segment.kind == last.kind && fits {
                last.asns.extend(segment.asns);
                return;
            }
        }
        self.segments.push(segment);
    }
}

impl AsPathSegment {
    fn path_len(&self) -> usize {
        match self.kind {
            AsPathSegmentKind::Sequence => self.asns.len(),
            AsPathSegmentKind::Set => 1,
            AsPathSegmentKind::ConfedSequence | AsPathSegmentKind::ConfedSet => 0,
        }
    }

    const fn brackets(&self) -> (&'static str, &'static str) {
        match self.kind {
            AsPathSegmentKind::Sequence => ("", ""),
            AsPathSegmentKind::Set => ("{", "}"),
            AsPathSegmentKind::ConfedSequence => ("(", ")"),
            AsPathSegmentKind::ConfedSet => ("[", "]"),
        }
    }
}

/// `65001 65002 {65003 65004}`; confederation sequences in `( )`, confederation sets in `[ ]`.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for segment in &self.segments {
            let (open, close) = segment.brackets();
            write!(f, "{separator}{open}")?;
            separator = "";
            for asn in &segment.asns {
                write!(f, "{separator}{asn}")?;
                separator = " ";
            }
            f.write_str(close)?;
            separator = " ";
        }
        Ok(())
    }
}

/// Reads what `Display` writes. Blanks and commas separate.
impl FromStr for AsPath {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseValueError::new("an AS path such as 65001 65002 {65003 65004}", text))
    }
}

fn read_segment(
    reader: &mut Reader<'_>,
    four_octet: bool,
    confederation: bool,
) -> Result<AsPathSegment, AttributeErrorReason> {
    let start = reader.offset();
    let whole = reader.rest().len();
    let short = |needed: usize| AttributeErrorReason::Length {
        needed: start.saturating_add(needed),
        available: start.saturating_add(whole),
    };
    let value = reader.u8().map_err(|_| short(2))?;
    let kind = AsPathSegmentKind::from_wire(value)
        .filter(|kind| confederation || !kind.is_confederation())
        .ok_or(AttributeErrorReason::SegmentType { value })?;
    let count = usize::from(reader.u8().map_err(|_| short(2))?);
    if count == 0 {
        return Err(AttributeErrorReason::EmptySegment);
    }
    let len = count.saturating_mul(if four_octet { 4 } else { 2 });
    let octets = reader.take(len).map_err(|_| short(len.saturating_add(2)))?;
    let asns: Vec<Asn> = if four_octet {
        let (chunks, _) = octets.as_chunks::<4>();
        chunks.iter().map(|raw| Asn(u32::from_be_bytes(*raw))).collect()
    } else {
        let (chunks, _) = octets.as_chunks::<2>();
        chunks.iter().map(|raw| Asn(u32::from(u16::from_be_bytes(*raw)))).collect()
    };
    // RFC 7607 §2.
    if asns.contains(&Asn(0)) {
        return Err(AttributeErrorReason::AsZero);
    }
    Ok(AsPathSegment { kind, asns })
}

fn parse(text: &str) -> Option<AsPath> {
    let mut segments: Vec<AsPathSegment> = Vec::new();
    let mut open: Option<AsPathSegmentKind> = None;
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some(head) = rest.chars().next() {
        let kind = match head {
            '{' => Some(AsPathSegmentKind::Set),
            '(' => Some(AsPathSegmentKind::ConfedSequence),
            '[' => Some(AsPathSegmentKind::ConfedSet),
            _ => None,
        };
        let mut consumed = 1;
        if let Some(kind) = kind {
            if open.replace(kind).is_some() {
                return None;
            }
            segments.push(AsPathSegment { kind, asns: Vec::new() });
        } else if matches!(head, '}' | ')' | ']') {
            let closed = segments.last().filter(|last| last.brackets().1.starts_with(head))?;
            if open.take() != Some(closed.kind) || closed.asns.is_empty() {
                return None;
            }
        } else {
            consumed = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let asn: Asn = rest.get(..consumed)?.parse().ok()?;
            let is_continued = open.is_some()
                || segments.last().is_some_and(|last| last.kind == AsPathSegmentKind::Sequence);
            if !is_continued {
                segments.push(AsPathSegment { kind: AsPathSegmentKind::Sequence, asns: Vec::new() });
            }
            segments.last_mut()?.asns.push(asn);
        }
        rest = rest.get(consumed..)?.trim_start_matches([' ', ',']);
    }
    open.is_none().then(|| AsPath::from_segments(segments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_reads_back() {
        for text in ["", "1", "65001 65002 {1 2}", "(64512 64513) [3 4] 5 {6} 7"] {
            assert_eq!(text.parse::<AsPath>().unwrap().to_string(), text);
        }
        for text in ["{", "}", "{1", "1}", "{}", "{(1)}", "(1]", "a", "1 -2", "4294967296", "1..2"] {
            assert!(text.parse::<AsPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn length_and_ends() {
        for (text, len, first, origin) in [
            ("", 0, None, None),
            ("1 2 3", 3, Some(1), Some(3)),
            ("1 {2 3}", 2, Some(1), None),
            ("{1 2} 3", 2, None, Some(3)),
            ("(64512) 1", 1, Some(1), Some(1)),
            ("(64512) [64513]", 0, None, None),
        ] {
            let path: AsPath = text.parse().unwrap();
            assert_eq!(path.path_len(), len, "{text}");
            assert_eq!(path.first_asn(), first.map(Asn), "{text}");
            assert_eq!(path.origin_asn(), origin.map(Asn), "{text}");
        }
    }

    #[test]
    fn prepending_splits_at_255() {
        let mut path = AsPath::sequence((1..=250).map(Asn));
        path.prepend(Asn(9), 300);
        let lens: Vec<_> = path.segments().iter().map(|segment| segment.asns.len()).collect();
        assert_eq!(lens, [40, 255, 255]);
        assert_eq!(path.path_len(), 550);
        let mut set: AsPath = "{1 2}".parse().unwrap();
        set.prepend(Asn(7), 1);
        assert_eq!(set.to_string(), "7 {1 2}");
    }

    #[test]
    fn as4_path_replaces_the_tail() {
        for (as_path, as4_path, merged) in [
            ("23456 23456", "70000 70001", "70000 70001"),
            ("1 2 23456 4", "70000 4", "1 2 70000 4"),
            ("1 23456", "1 2 3", "1 23456"),
            ("(64512) 23456", "70000", "(64512) 70000"),
            ("1 {2 3} 23456", "70000", "1 {2 3} 70000"),
            ("1 23456", "(5) 70000", "1 70000"),
            ("23456 5", "", "23456 5"),
        ] {
            let path: AsPath = as_path.parse().unwrap();
            let result = path.merge_as4(as4_path.parse().unwrap());
            assert_eq!(result.to_string(), merged, "{as_path} with {as4_path}");
        }
    }

    #[test]
    fn malformed_values() {
        use AttributeErrorReason as Reason;
        for (value, reason) in [
            (&[2][..], Reason::Length { needed: 2, available: 1 }),
            (&[2, 2, 0, 1], Reason::Length { needed: 6, available: 4 }),
            (&[2, 0], Reason::EmptySegment),
            (&[0, 1, 0, 1], Reason::SegmentType { value: 0 }),
            (&[5, 1, 0, 1], Reason::SegmentType { value: 5 }),
            (&[3, 1, 0, 1], Reason::SegmentType { value: 3 }),
            (&[2, 1, 0, 0], Reason::AsZero),
        ] {
            assert_eq!(AsPath::read(value, false, false), Err(reason), "{value:?}");
        }
        assert!(AsPath::read(&[3, 1, 0, 1], false, true).is_ok());
    }
}
