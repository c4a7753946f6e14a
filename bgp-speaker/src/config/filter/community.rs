//! Communities of the three kinds as one value, and patterns of them.

use bgp_proto::{Community, ExtendedCommunity, LargeCommunity};
use std::fmt;
use std::str::FromStr;

/// A community of any kind, in the notation of its kind: `65000:100`, `no-export`, `rt:65000:100`, `64496:1:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommunityValue {
    /// RFC 1997.
    Standard(Community),
    /// RFC 4360.
    Extended(ExtendedCommunity),
    /// RFC 8092.
    Large(LargeCommunity),
}

impl fmt::Display for CommunityValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommunityValue::Standard(community) => community.fmt(f),
            CommunityValue::Extended(community) => community.fmt(f),
            CommunityValue::Large(community) => community.fmt(f),
        }
    }
}

impl FromStr for CommunityValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let standard = text.parse().map(CommunityValue::Standard).ok();
        standard
            .or_else(|| text.parse().map(CommunityValue::Large).ok())
            .or_else(|| text.parse().map(CommunityValue::Extended).ok())
            .ok_or_else(|| {
                format!(
                    "\"{}\" is not a community such as \"65000:100\", \"no-export\", \"64496:1:2\" or \"rt:65000:100\"",
                    text.escape_debug()
                )
            })
    }
}

/// Communities that fit: one of them, or with `*` in place of numbers, many: `65000:*`, `64496:*:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommunityPattern {
    /// Exactly this one.
    Exact(CommunityValue),
    /// Standard communities; `None` fits any number.
    Standard(Option<u16>, Option<u16>),
    /// Large communities; `None` fits any number.
    Large(Option<u32>, Option<u32>, Option<u32>),
}

impl CommunityPattern {
    /// Does a standard community fit?
    pub fn fits_standard(&self, community: Community) -> bool {
        match *self {
            CommunityPattern::Exact(value) => value == CommunityValue::Standard(community),
            CommunityPattern::Standard(high, low) => {
                fits(high, (community.0 >> 16) as u16) && fits(low, community.0 as u16)
            }
            CommunityPattern::Large(..) => false,
        }
    }

    /// Does an extended community fit?
    pub fn fits_extended(&self, community: ExtendedCommunity) -> bool {
        *self == CommunityPattern::Exact(CommunityValue::Extended(community))
    }

    /// Does a large community fit?
    pub fn fits_large(&self, community: LargeCommunity) -> bool {
        match *self {
            CommunityPattern::Exact(value) => value == CommunityValue::Large(community),
            CommunityPattern::Large(global, local1, local2) => {
                fits(global, community.global)
                    && fits(local1, community.local1)
                    && fits(local2, community.local2)
            }
            CommunityPattern::Standard(..) => false,
        }
    }
}

fn fits<T: PartialEq>(pattern: Option<T>, number: T) -> bool {
    pattern.is_none_or(|wanted| wanted == number)
}

impl From<CommunityValue> for CommunityPattern {
    fn from(value: CommunityValue) -> Self {
        CommunityPattern::Exact(value)
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn part(number: Option<impl ToString>) -> String {
            number.map_or("*".to_owned(), |number| number.to_string())
        }
        match *self {
            CommunityPattern::Exact(value) => value.fmt(f),
            CommunityPattern::Standard(high, low) => write!(f, "{}:{}", part(high), part(low)),
            CommunityPattern::Large(global, local1, local2) => {
                write!(f, "{}:{}:{}", part(global), part(local1), part(local2))
            }
        }
    }
}

impl FromStr for CommunityPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains('*') {
            return text.parse().map(CommunityPattern::Exact);
        }
        fn part<T: FromStr>(text: &str) -> Option<Option<T>> {
            if text == "*" { Some(None) } else { text.parse().ok().map(Some) }
        }
        let parts: Vec<&str> = text.split(':').collect();
        let pattern = match parts[..] {
            [high, low] => part(high).zip(part(low)).map(|(high, low)| CommunityPattern::Standard(high, low)),
            [global, local1, local2] => part(global)
                .zip(part(local1))
                .zip(part(local2))
                .map(|((global, local1), local2)| CommunityPattern::Large(global, local1, local2)),
            _ => None,
        };
        pattern.ok_or_else(|| {
            format!(
                "\"{}\" is not a pattern of communities such as \"65000:*\" or \"64496:*:2\"",
                text.escape_debug()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_its_kind_and_numbers() {
        let table = [
            ("65000:1", "65000:1", true),
            ("65000:1", "65000:2", false),
            ("65000:*", "65000:2", true),
            ("*:2", "65000:2", true),
            ("*:2", "65000:3", false),
            ("*:*", "no-export", true),
            ("no-export", "65535:65281", true),
            ("*:*", "1:2:3", false),
            ("*:*:*", "1:2:3", true),
            ("1:*:3", "1:2:3", true),
            ("1:*:4", "1:2:3", false),
            ("*:*:*", "1:2", false),
            ("rt:65000:1", "rt:65000:1", true),
            ("rt:65000:1", "soo:65000:1", false),
            ("1:2:3", "1:2:3", true),
        ];
        for (pattern, value, expected) in table {
            let pattern: CommunityPattern = pattern.parse().unwrap();
            let fits = match value.parse().unwrap() {
                CommunityValue::Standard(community) => pattern.fits_standard(community),
                CommunityValue::Extended(community) => pattern.fits_extended(community),
                CommunityValue::Large(community) => pattern.fits_large(community),
            };
            assert_eq!(fits, expected, "{pattern} {value}");
        }
    }

    #[test]
    fn notations_are_read_back() {
        for text in ["65000:1", "no-export", "1:2:3", "rt:65000:1", "0x4305000000010001"] {
            assert_eq!(text.parse::<CommunityValue>().unwrap().to_string(), text);
            assert_eq!(text.parse::<CommunityPattern>().unwrap().to_string(), text);
        }
        for text in ["65000:*", "*:7", "64496:*:2"] {
            assert_eq!(text.parse::<CommunityPattern>().unwrap().to_string(), text);
        }
        for text in ["", "*", "rt:*:1", "65536:*", "1:2:3:*", "x:*"] {
            assert!(text.parse::<CommunityPattern>().is_err(), "{text}");
        }
    }
}
