//! The types that values of the file have, and how each is spelled.

use super::nearest::nearest;
use super::reader::kind;
use bgp_proto::{Asn, BgpId};
use ipnet::IpNet;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use toml::de::DeValue;

/// A string.
pub(super) fn string(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("expected a string, found {}", kind(value)))
}

/// A string with something in it.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = string(value)?;
    if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, found {}", kind(value)))
}

/// A whole number within bounds.
pub(super) fn integer<T>(bounds: RangeInclusive<T>) -> impl Fn(&DeValue<'_>) -> Result<T, String>
where
    T: Copy + Display + PartialOrd + TryFrom<i128>,
{
    move |value| {
        let Some(integer) = value.as_integer() else {
            return Err(format!("expected a number, found {}", kind(value)));
        };
        i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| format!("{integer} is out of range; use {} to {}", bounds.start(), bounds.end()))
    }
}

/// An AS number: a number, or a string in either notation of RFC 5396.
pub(super) fn asn(value: &DeValue<'_>) -> Result<Asn, String> {
    match value {
        DeValue::String(text) => parsed(text, "an AS number such as 64512 or \"1.10\""),
        _ => integer(0..=u32::MAX)(value).map(Asn),
    }
}

/// A BGP identifier.
pub(super) fn router_id(value: &DeValue<'_>) -> Result<BgpId, String> {
    parsed::<Ipv4Addr>(&string(value)?, "an identifier such as \"10.0.0.1\"").map(BgpId::from)
}

/// An address that a host can have.
pub(super) fn host(value: &DeValue<'_>) -> Result<IpAddr, String> {
    let address: IpAddr = parsed(&string(value)?, "an address such as \"10.0.0.1\" or \"fd00::1\"")?;
    let refused = match address {
        _ if address.is_unspecified() => "stands for any address; name a specific one",
        _ if address.is_multicast() => "is a multicast address; name the address of one host",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "is the broadcast address; name the address of one host",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            "is an IPv4 address in IPv6 notation; write it as IPv4"
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            "is a link-local address; name a global or unique local one"
        }
        _ => return Ok(address),
    };
    Err(format!("{address} {refused}"))
}

/// An address with a port.
pub(super) fn socket_address(default_port: u16) -> impl Fn(&DeValue<'_>) -> Result<SocketAddr, String> {
    move |value| {
        let text = string(value)?;
        let with_port = match IpAddr::from_str(text.trim_matches(['[', ']'])) {
            Ok(address) => SocketAddr::new(address, default_port),
            Err(_) => return parsed(&text, "an address with a port such as \"0.0.0.0:179\" or \"[::]:179\""),
        };
        Err(format!("\"{text}\" has no port; write \"{with_port}\""))
    }
}

/// A prefix without host bits.
pub(super) fn prefix(value: &DeValue<'_>) -> Result<IpNet, String> {
    prefix_from_text(&string(value)?)
}

/// The same from a command line or a URL.
pub(crate) fn prefix_from_text(text: &str) -> Result<IpNet, String> {
    let prefix: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => {
            let host = IpNet::from(address);
            return Err(format!("\"{text}\" has no length; write \"{host}\" for this one address"));
        }
        Err(_) => parsed(text, "a prefix such as \"10.0.0.0/8\" or \"fd00::/64\"")?,
    };
    if prefix.trunc() != prefix {
        return Err(format!("{prefix} has bits set beyond its length; did you mean \"{}\"?", prefix.trunc()));
    }
    Ok(prefix)
}

/// Anything with a textual notation.
pub(super) fn notation<T: FromStr>(expected: &'static str) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| parsed(&string(value)?, expected)
}

/// One of a few words.
pub(super) fn word<T: Clone>(words: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let text = string(value)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(meaning.clone());
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(match nearest(&text, &known) {
            Some(meant) => format!("\"{text}\" is unknown; did you mean \"{meant}\"?"),
            None => format!("\"{text}\" is unknown; use \"{}\"", known.join("\" or \"")),
        })
    }
}

fn parsed<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{}\" is not {expected}", text.escape_debug()))
}
