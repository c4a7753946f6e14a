//! Sets of prefixes: each a network and the lengths that count.

use ipnet::IpNet;
use std::fmt;
use std::str::FromStr;

/// Prefixes inside a network, of some lengths. Written as `10.0.0.0/8` (this one), `10.0.0.0/8+` (it and all inside it)
/// or `10.0.0.0/8{16,24}` (those inside it with 16 to 24 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixRange {
    network: IpNet,
    min: u8,
    max: u8,
}

impl PrefixRange {
    /// Only this prefix.
    pub fn exact(network: IpNet) -> Self {
        Self { network: network.trunc(), min: network.prefix_len(), max: network.prefix_len() }
    }

    /// This prefix and every more specific one.
    pub fn within(network: IpNet) -> Self {
        Self { network: network.trunc(), min: network.prefix_len(), max: network.max_prefix_len() }
    }

    /// This prefix and every more specific one, as far as its length is in the range. Lengths that are shorter than the
    /// network's own or longer than an address do not count. `None`: there is no such prefix.
    pub fn lengths(network: IpNet, min: u8, max: u8) -> Option<Self> {
        let (min, max) = (min.max(network.prefix_len()), max.min(network.max_prefix_len()));
        (min <= max).then(|| Self { network: network.trunc(), min, max })
    }

    /// Is it one of these?
    pub fn contains(&self, prefix: &IpNet) -> bool {
        (self.min..=self.max).contains(&prefix.prefix_len()) && self.network.contains(prefix)
    }
}

impl fmt::Display for PrefixRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.network.prefix_len();
        write!(f, "{}", self.network)?;
        match (self.min, self.max) {
            (min, max) if (min, max) == (own, own) => Ok(()),
            (min, max) if (min, max) == (own, self.network.max_prefix_len()) => f.write_str("+"),
            (min, max) => write!(f, "{{{min},{max}}}"),
        }
    }
}

impl FromStr for PrefixRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_a_range = || {
            format!(
                "\"{}\" is not a prefix, with \"+\" for all inside it, or \"{{24,28}}\" for those with 24 to 28 bits",
                text.escape_debug()
            )
        };
        let end = text.find(['+', '{']).unwrap_or(text.len());
        let (network, lengths) = text.split_at(end);
        let network: IpNet = network.parse().map_err(|_| not_a_range())?;
        if network.trunc() != network {
            return Err(format!(
                "{network} has bits set beyond its length; did you mean \"{}{lengths}\"?",
                network.trunc()
            ));
        }
        match lengths {
            "" => Ok(Self::exact(network)),
            "+" => Ok(Self::within(network)),
            _ => {
                let inner = lengths.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                let (min, max) = inner.and_then(|inner| inner.split_once(',')).ok_or_else(not_a_range)?;
                let number = |text: &str| text.trim().parse::<u8>().map_err(|_| not_a_range());
                Self::lengths(network, number(min)?, number(max)?)
                    .ok_or_else(|| format!("no prefix is inside {network} and has {min} to {max} bits"))
            }
        }
    }
}

/// A set of prefixes. Asking it costs a binary search for each length that its networks have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSet {
    name: Option<String>,
    /// Ascending.
    ranges: Vec<PrefixRange>,
    /// Lengths of IPv4 networks that occur.
    v4_lengths: u64,
    /// Lengths of IPv6 networks that occur, up to 127.
    v6_lengths: u128,
    /// Does a network of 128 bits occur?
    has_v6_hosts: bool,
}

impl PrefixSet {
    /// The union of these. Of none: no prefix is in it.
    pub fn new(ranges: impl IntoIterator<Item = PrefixRange>) -> Self {
        let mut set = Self { ranges: ranges.into_iter().collect(), ..Self::default() };
        set.ranges.sort_unstable();
        set.ranges.dedup();
        for range in &set.ranges {
            match range.network {
                IpNet::V4(v4) => set.v4_lengths |= 1 << v4.prefix_len(),
                IpNet::V6(v6) if v6.prefix_len() == 128 => set.has_v6_hosts = true,
                IpNet::V6(v6) => set.v6_lengths |= 1 << v6.prefix_len(),
            }
        }
        set
    }

    /// The same set with a name, for people.
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// What it is called, if it is called anything.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its parts, in order.
    pub fn ranges(&self) -> &[PrefixRange] {
        &self.ranges
    }

    /// Is the prefix in it?
    pub fn contains(&self, prefix: &IpNet) -> bool {
        (0..=prefix.prefix_len()).filter(|length| self.has_length(prefix, *length)).any(|length| {
            let Ok(network) = IpNet::new(prefix.addr(), length).map(|network| network.trunc()) else {
                return false;
            };
            let first = self.ranges.partition_point(|range| range.network < network);
            self.ranges[first..]
                .iter()
                .take_while(|range| range.network == network)
                .any(|range| (range.min..=range.max).contains(&prefix.prefix_len()))
        })
    }

    fn has_length(&self, prefix: &IpNet, length: u8) -> bool {
        match prefix {
            IpNet::V4(_) => self.v4_lengths >> length & 1 == 1,
            IpNet::V6(_) if length == 128 => self.has_v6_hosts,
            IpNet::V6(_) => self.v6_lengths >> length & 1 == 1,
        }
    }
}

impl FromIterator<PrefixRange> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = PrefixRange>>(ranges: I) -> Self {
        Self::new(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notations() {
        for text in
            ["10.0.0.0/8", "10.0.0.0/8+", "10.0.0.0/8{16,24}", "::/0+", "fd00::/16{64,64}", "10.0.0.1/32"]
        {
            assert_eq!(text.parse::<PrefixRange>().map(|range| range.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("10.0.0.0/8{0,99}".parse::<PrefixRange>().unwrap().to_string(), "10.0.0.0/8+");
        for (text, expected) in [
            ("10.0.0.0", "not a prefix"),
            ("10.0.0.0/33", "not a prefix"),
            ("10.0.0.0/8{1", "not a prefix"),
            ("10.0.0.0/8{1,256}", "not a prefix"),
            ("10.0.0.0/8++", "not a prefix"),
            ("10.1.0.0/8+", "did you mean \"10.0.0.0/8+\""),
            ("10.0.0.0/8{2,7}", "no prefix is inside"),
        ] {
            let error = text.parse::<PrefixRange>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    fn arbitrary_prefix() -> impl Strategy<Value = IpNet> {
        // Few bits, so that prefixes contain each other.
        prop_oneof![
            (0u32..16, 0u8..=8)
                .prop_map(|(bits, len)| IpNet::new((bits << 28).to_be_bytes().into(), len).unwrap()),
            (0u32..4, Just(32))
                .prop_map(|(bits, len)| IpNet::new((bits << 28).to_be_bytes().into(), len).unwrap()),
            (0u128..16, prop_oneof![0u8..=8, Just(127), Just(128)]).prop_map(|(bits, len)| IpNet::new(
                (bits << 124).to_be_bytes().into(),
                len
            )
            .unwrap()),
        ]
        .prop_map(|prefix| prefix.trunc())
    }

    fn arbitrary_range() -> impl Strategy<Value = PrefixRange> {
        (arbitrary_prefix(), any::<(u8, u8)>()).prop_map(|(network, (min, max))| {
            PrefixRange::lengths(network, min % 34, max).unwrap_or(PrefixRange::exact(network))
        })
    }

    proptest! {
        #[test]
        fn a_set_contains_what_one_of_its_ranges_does(
            ranges in proptest::collection::vec(arbitrary_range(), 0..12),
            prefix in arbitrary_prefix(),
        ) {
            let naive = ranges.iter().any(|range| {
                range.network.contains(&prefix) && prefix.prefix_len() >= range.min && prefix.prefix_len() <= range.max
            });
            prop_assert_eq!(PrefixSet::new(ranges.clone()).contains(&prefix), naive);
            prop_assert_eq!(ranges.iter().any(|range| range.contains(&prefix)), naive);
        }
    }
}
