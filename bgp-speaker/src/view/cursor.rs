//! Where a page of routes ends, so that the next one begins there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Of the textual form.
const VERSION: u8 = 1;
const V4: u8 = 4;
const V6: u8 = 6;

/// A place in the order of routes: by prefix, and within a prefix the best path first. It names the last route that was
/// told, not how many there were, so that routes that come and go meanwhile shift nothing: what is there throughout is
/// told exactly once. The text is opaque, and means the same to every daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCursor {
    /// All prefixes before it have been told.
    pub(crate) prefix: IpNet,
    /// Which of its own paths have been; `None`: all.
    pub(crate) paths: Option<PathsTold>,
}

/// Those paths of a prefix that have been told: the first, and then by their names up to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathsTold {
    pub(crate) first: PathName,
    pub(crate) last: Option<PathName>,
}

/// What a path has for as long as it is there: the slot of its source, and its identifier.
pub(crate) type PathName = (u32, u32);

impl PathsTold {
    /// Has a path been told?
    pub(crate) fn contains(&self, name: PathName) -> bool {
        name == self.first || self.last.is_some_and(|last| name <= last)
    }

    /// As after one more path.
    pub(crate) fn and(told: Option<Self>, name: PathName) -> Self {
        match told {
            None => Self { first: name, last: None },
            Some(told) => Self { last: Some(name), ..told },
        }
    }
}

impl RouteCursor {
    /// After all paths of a prefix.
    pub(crate) fn after(prefix: IpNet) -> Self {
        Self { prefix, paths: None }
    }

    fn to_octets(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        match self.prefix {
            IpNet::V4(net) => {
                octets.push(V4);
                octets.extend(net.addr().octets());
            }
            IpNet::V6(net) => {
                octets.push(V6);
                octets.extend(net.addr().octets());
            }
        }
        octets.push(self.prefix.prefix_len());
        let names = self.paths.map(|told| [Some(told.first), told.last]);
        for (source, path_id) in names.into_iter().flatten().flatten() {
            octets.extend(source.to_be_bytes());
            octets.extend(path_id.to_be_bytes());
        }
        octets
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        let (&[VERSION, family], rest) = octets.split_first_chunk()? else { return None };
        let (prefix, rest): (IpNet, _) = match family {
            V4 => {
                let (address, rest) = rest.split_first_chunk::<4>()?;
                let (&length, rest) = rest.split_first()?;
                (Ipv4Net::new((*address).into(), length).ok()?.into(), rest)
            }
            V6 => {
                let (address, rest) = rest.split_first_chunk::<16>()?;
                let (&length, rest) = rest.split_first()?;
                (Ipv6Net::new((*address).into(), length).ok()?.into(), rest)
            }
            _ => return None,
        };
        let (names, rest) = rest.as_chunks::<8>();
        let name = |octets: &[u8; 8]| {
            let [a, b, c, d, e, f, g, h] = *octets;
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        };
        let paths = match names {
            [] => None,
            [first] => Some(PathsTold { first: name(first), last: None }),
            [first, last] => Some(PathsTold { first: name(first), last: Some(name(last)) }),
            _ => return None,
        };
        (rest.is_empty() && prefix.trunc() == prefix).then_some(Self { prefix, paths })
    }
}

impl fmt::Display for RouteCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.to_octets()))
    }
}

/// A text that is no cursor. Whoever made it up is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor; take it as it is from the answer before, or leave it out to begin at the start")]
pub struct InvalidCursor;

impl FromStr for RouteCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        Self::from_octets(&octets).ok_or(InvalidCursor)
    }
}

impl Serialize for RouteCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RouteCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_place_that_they_were_made_from() {
        let told = |last| Some(PathsTold { first: (7, 0), last });
        for prefix in ["0.0.0.0/0", "10.1.2.0/24", "192.0.2.1/32", "::/0", "fd00:10:244:1::/64"] {
            for paths in [None, told(None), told(Some((9, u32::MAX)))] {
                let cursor = RouteCursor { prefix: prefix.parse().unwrap(), paths };
                let text = cursor.to_string();
                assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
                assert_eq!(text.parse(), Ok(cursor));
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let sound = RouteCursor::after("10.1.2.0/24".parse().unwrap()).to_octets();
        let mut wrong: Vec<Vec<u8>> = (0..sound.len()).map(|length| sound[..length].to_vec()).collect();
        wrong.extend([[&sound[..], &[0]].concat(), [&sound[..], &[0; 24]].concat()]);
        for (index, octet) in [(0, VERSION + 1), (1, 5), (5, 1), (6, 33)] {
            let mut octets = sound.clone();
            octets[index] = octet;
            wrong.push(octets);
        }
        for octets in wrong {
            let text = URL_SAFE_NO_PAD.encode(&octets);
            assert_eq!(text.parse::<RouteCursor>(), Err(InvalidCursor), "{octets:?}");
        }
        for text in ["5", "10.1.2.0/24", "????", "AQQKAQIAGA=="] {
            assert_eq!(text.parse::<RouteCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
