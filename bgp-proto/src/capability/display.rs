//! Capabilities as an operator reads them.

use core::fmt;

use super::{AddPathDirection, Capability, GracefulRestart, LongLivedFamily};
use crate::types::Afi;

/// `multiprotocol ipv4-unicast`, `graceful restart 120 s, notification, ipv4-unicast (forwarding kept)`,
/// `add-path ipv4-unicast receive`; a capability that is not understood is `code 99, 3 octets`.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MultiProtocol(family) => write!(f, "multiprotocol {family}"),
            Self::RouteRefresh => f.write_str("route refresh"),
            Self::EnhancedRouteRefresh => f.write_str("enhanced route refresh"),
            Self::FourOctetAs(asn) => write!(f, "4-octet AS {asn}"),
            Self::GracefulRestart(restart) => restart.fmt(f),
            Self::OutboundRouteFiltering(families) => {
                f.write_str("outbound route filtering")?;
                list(f, families, |f, covered| {
                    write!(f, "{}", covered.family)?;
                    covered.kinds.iter().try_for_each(|(kind, direction)| {
                        let direction = match direction {
                            1 => "receive",
                            2 => "send",
                            3 => "both",
                            _ => "undefined",
                        };
                        write!(f, " type {kind} {direction}")
                    })
                })
            }
            Self::AddPath(families) => {
                f.write_str("add-path")?;
                list(f, families, |f, (family, direction)| write!(f, "{family} {direction}"))
            }
            Self::ExtendedMessage => f.write_str("extended message"),
            Self::ExtendedNextHop(families) => {
                f.write_str("extended next hop")?;
                list(f, families, |f, (family, next_hop)| match *next_hop {
                    Afi::IPV4 => write!(f, "{family} over ipv4"),
                    Afi::IPV6 => write!(f, "{family} over ipv6"),
                    Afi(number) => write!(f, "{family} over afi-{number}"),
                })
            }
            Self::LongLivedGracefulRestart(families) => {
                f.write_str("long-lived graceful restart")?;
                list(f, families, |f, family| family.fmt(f))
            }
            Self::Role(role) => match role {
                0 => f.write_str("role provider"),
                1 => f.write_str("role route-server"),
                2 => f.write_str("role route-server-client"),
                3 => f.write_str("role customer"),
                4 => f.write_str("role peer"),
                other => write!(f, "role {other}"),
            },
            Self::Unknown { code, value } => write!(f, "code {code}, {}", Octets(value.len())),
        }
    }
}

/// `graceful restart 120 s, restarting, notification, ipv4-unicast (forwarding kept), ipv6-unicast`.
impl fmt::Display for GracefulRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graceful restart {} s", self.restart_time_secs)?;
        if self.restarting {
            f.write_str(", restarting")?;
        }
        if self.notification {
            f.write_str(", notification")?;
        }
        for covered in &self.families {
            write!(f, ", {}", covered.family)?;
            forwarding(f, covered.forwarding_preserved)?;
        }
        Ok(())
    }
}

/// `ipv4-unicast 86400 s (forwarding kept)`.
impl fmt::Display for LongLivedFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} s", self.family, self.stale_time_secs)?;
        forwarding(f, self.forwarding_preserved)
    }
}

/// `receive`, `send` or `both`.
impl fmt::Display for AddPathDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Both => "both",
        })
    }
}

fn forwarding(f: &mut fmt::Formatter<'_>, is_preserved: bool) -> fmt::Result {
    if is_preserved { f.write_str(" (forwarding kept)") } else { Ok(()) }
}

/// A blank before the first entry, a comma before each further one.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    entries: &[T],
    mut entry: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, one) in entries.iter().enumerate() {
        f.write_str(if index == 0 { " " } else { ", " })?;
        entry(f, one)?;
    }
    Ok(())
}

struct Octets(usize);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Octets(count) = self;
        write!(f, "{count} {}", if *count == 1 { "octet" } else { "octets" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GracefulRestartFamily, OutboundFilterFamily};
    use super::*;
    use crate::types::{AfiSafi, Asn};

    #[test]
    fn capabilities_read_as_text() {
        let v4 = AfiSafi::IPV4_UNICAST;
        let v6 = AfiSafi::IPV6_UNICAST;
        let covered = |family, forwarding_preserved| GracefulRestartFamily { family, forwarding_preserved };
        for (capability, text) in [
            (Capability::MultiProtocol(v4), "multiprotocol ipv4-unicast"),
            (Capability::RouteRefresh, "route refresh"),
            (Capability::EnhancedRouteRefresh, "enhanced route refresh"),
            (Capability::ExtendedMessage, "extended message"),
            (Capability::FourOctetAs(Asn(64512)), "4-octet AS 64512"),
            (
                Capability::GracefulRestart(GracefulRestart {
                    restarting: false,
                    notification: true,
                    restart_time_secs: 120,
                    families: vec![covered(v4, true), covered(v6, false)],
                }),
                "graceful restart 120 s, notification, ipv4-unicast (forwarding kept), ipv6-unicast",
            ),
            (
                Capability::AddPath(vec![(v4, AddPathDirection::Receive), (v6, AddPathDirection::Both)]),
                "add-path ipv4-unicast receive, ipv6-unicast both",
            ),
            (Capability::AddPath(vec![]), "add-path"),
            (
                Capability::OutboundRouteFiltering(vec![OutboundFilterFamily {
                    family: v4,
                    kinds: vec![(64, 3), (128, 1), (3, 0)],
                }]),
                "outbound route filtering ipv4-unicast type 64 both type 128 receive type 3 undefined",
            ),
            (
                Capability::ExtendedNextHop(vec![(v4, Afi::IPV6), (v6, Afi(7))]),
                "extended next hop ipv4-unicast over ipv6, ipv6-unicast over afi-7",
            ),
            (
                Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                    family: v4,
                    forwarding_preserved: true,
                    stale_time_secs: 86400,
                }]),
                "long-lived graceful restart ipv4-unicast 86400 s (forwarding kept)",
            ),
            (Capability::Role(3), "role customer"),
            (Capability::Role(9), "role 9"),
            (Capability::Unknown { code: 99, value: vec![1, 2, 3] }, "code 99, 3 octets"),
            (Capability::Unknown { code: 99, value: vec![1] }, "code 99, 1 octet"),
        ] {
            assert_eq!(capability.to_string(), text);
        }
    }
}
