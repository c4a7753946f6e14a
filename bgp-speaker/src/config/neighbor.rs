//! Neighbours: listed ones, and ranges of those who may come unlisted.

use super::neighbor_id::{BGP_PORT, NeighborId};
use bgp_proto::{AddPathDirection, AfiSafi, Asn};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;

/// An address family that this speaker routes. Dense, so that it can index tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// AFI 1, SAFI 1.
    #[serde(rename = "ipv4-unicast")]
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    #[serde(rename = "ipv6-unicast")]
    Ipv6Unicast,
}

impl Family {
    /// All families, in the order of their index.
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

    /// Position in [`Family::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The code points.
    pub fn afi_safi(self) -> AfiSafi {
        match self {
            Family::Ipv4Unicast => AfiSafi::IPV4_UNICAST,
            Family::Ipv6Unicast => AfiSafi::IPV6_UNICAST,
        }
    }

    /// The family of these code points, if we route it.
    pub fn from_afi_safi(afi_safi: AfiSafi) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.afi_safi() == afi_safi)
    }

    /// The family of a prefix.
    pub fn of(prefix: &IpNet) -> Family {
        match prefix {
            IpNet::V4(_) => Family::Ipv4Unicast,
            IpNet::V6(_) => Family::Ipv6Unicast,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Family::Ipv4Unicast => "ipv4-unicast",
            Family::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

/// Both families: the default of every session.
pub fn families_all() -> Vec<Family> {
    Family::ALL.to_vec()
}

/// What a neighbour is to us beyond its AS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An ordinary iBGP (non-client) or eBGP peer.
    #[default]
    Peer,
    /// A client of our reflection (RFC 4456). iBGP only, and only if we have a cluster id.
    Client,
}

/// The next hop that a neighbour is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NextHopMode {
    /// Ourselves for what we originate and towards eBGP; unchanged otherwise (RFC 4271 §5.1.3).
    #[default]
    Auto,
    /// Always ourselves.
    #[serde(rename = "self")]
    SelfAddress,
    /// As received, also towards eBGP. What we originate carries ourselves.
    Unchanged,
}

/// Whether a session carries several paths of one prefix (RFC 7911).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddPaths {
    /// The best path only, as in RFC 4271.
    #[default]
    Off,
    /// The neighbour may tell several.
    Receive,
    /// We tell several: all that its rules and filters let pass, up to [`SessionOptions::add_paths_max`] of a prefix.
    Send,
    /// Both ways.
    Both,
}

impl AddPaths {
    /// What our capability says; `None`: there is none.
    pub fn direction(self) -> Option<AddPathDirection> {
        match self {
            AddPaths::Off => None,
            AddPaths::Receive => Some(AddPathDirection::Receive),
            AddPaths::Send => Some(AddPathDirection::Send),
            AddPaths::Both => Some(AddPathDirection::Both),
        }
    }
}

impl fmt::Display for AddPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddPaths::Off => "off",
            AddPaths::Receive => "receive",
            AddPaths::Send => "send",
            AddPaths::Both => "both",
        })
    }
}

/// A policy by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyRef {
    /// Everything passes.
    #[default]
    Accept,
    /// Nothing passes.
    Reject,
    /// These filters of [`SpeakerConfig::filters`](super::SpeakerConfig::filters), in this order, at least one. What
    /// none of them decides passes.
    Filters(Vec<String>),
}

impl PolicyRef {
    /// The filters that it names.
    pub fn filters(&self) -> &[String] {
        match self {
            PolicyRef::Accept | PolicyRef::Reject => &[],
            PolicyRef::Filters(names) => names,
        }
    }
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyRef::Accept => f.write_str("accept"),
            PolicyRef::Reject => f.write_str("reject"),
            PolicyRef::Filters(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// A password. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Longest TCP MD5 key (RFC 2385) that Linux takes.
    pub const BYTES_MAX: usize = 80;

    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What holds for a session, whether its neighbour is listed or came out of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// `None`: our own AS (iBGP).
    pub remote_as: Option<Asn>,
    /// `None`: the speaker's AS. Another number makes the session eBGP with that AS as ours.
    pub local_as: Option<Asn>,
    /// Client or peer.
    pub role: Role,
    /// Families to negotiate, without repetition.
    pub families: Vec<Family>,
    /// Proposed hold time; `None`: the speaker's.
    pub hold_time_secs: Option<u16>,
    /// TCP MD5 password.
    pub password: Option<Secret>,
    /// GTSM (RFC 5082): the number of hops expected, 1 for a directly connected neighbour.
    pub ttl_security: Option<u8>,
    /// Next hop told to the neighbour.
    pub next_hop: NextHopMode,
    /// Time between KEEPALIVEs; `None`: a third of the hold time. Longer than that third it never is.
    pub keepalive_secs: Option<u16>,
    /// How long the neighbour keeps our routes while we are away; `None`: the speaker's.
    pub restart_time_secs: Option<u16>,
    /// How often our own AS may be in a received path before it counts as a loop (RFC 4271 §9.1.2 allows none).
    pub allow_own_as: u8,
    /// More prefixes than this, over all families, end the session with Cease/1 (RFC 4486). With ADD-PATH each path of
    /// a prefix counts as one.
    pub max_prefixes: Option<u32>,
    /// ADD-PATH, for all families of the session.
    pub add_paths: AddPaths,
    /// How many paths of a prefix the neighbour is told at most, the best first.
    pub add_paths_max: NonZeroU8,
    /// Import policy.
    pub import: PolicyRef,
    /// Export policy.
    pub export: PolicyRef,
}

impl SessionOptions {
    /// Default of [`SessionOptions::add_paths_max`]: as many next hops as BIRD merges into one route by default.
    pub const DEFAULT_ADD_PATHS_MAX: NonZeroU8 = NonZeroU8::MIN.saturating_add(15);
}

/// The least TTL of what has come so many hops (RFC 5082 §3): it has left with 255.
pub(crate) fn ttl_min(hops: u8) -> u8 {
    u8::MAX - hops.saturating_sub(1)
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            remote_as: None,
            local_as: None,
            role: Role::Peer,
            families: families_all(),
            hold_time_secs: None,
            password: None,
            ttl_security: None,
            next_hop: NextHopMode::Auto,
            keepalive_secs: None,
            restart_time_secs: None,
            allow_own_as: 0,
            max_prefixes: None,
            add_paths: AddPaths::Off,
            add_paths_max: Self::DEFAULT_ADD_PATHS_MAX,
            import: PolicyRef::Accept,
            export: PolicyRef::Accept,
        }
    }
}

/// A listed neighbour. One per address and port.
///
/// Two neighbours at one address are two speakers there, which listen on different ports and have one password. A
/// connection from the address does not tell who made it; it goes to a neighbour that is enabled and has no session yet,
/// before that to one without another connection, to one that it did not turn out to be in vain lately (the OPEN said
/// another AS), to a passive one, to the one with the lowest port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Name for logs and tables; the address if empty.
    pub name: String,
    /// Where it is.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
    /// Our address of the session; `None`: the kernel chooses.
    pub local_address: Option<IpAddr>,
    /// We wait for it to connect.
    pub passive: bool,
    /// `false`: administratively down.
    pub enabled: bool,
    /// All else.
    pub options: SessionOptions,
}

impl Neighbor {
    /// An iBGP neighbour on port 179, both families.
    pub fn ibgp(address: IpAddr) -> Self {
        Self {
            name: String::new(),
            address,
            port: BGP_PORT,
            local_address: None,
            passive: false,
            enabled: true,
            options: SessionOptions::default(),
        }
    }

    /// An eBGP neighbour on port 179, both families.
    pub fn ebgp(address: IpAddr, remote_as: Asn) -> Self {
        let mut neighbor = Self::ibgp(address);
        neighbor.options.remote_as = Some(remote_as);
        neighbor
    }

    /// An iBGP neighbour that is a client of our reflection.
    pub fn client(address: IpAddr) -> Self {
        let mut neighbor = Self::ibgp(address);
        neighbor.options.role = Role::Client;
        neighbor
    }

    /// Its identity among all neighbours.
    pub fn id(&self) -> NeighborId {
        NeighborId { address: self.address, port: self.port }
    }

    /// What tables and logs call it: its name, or its address.
    pub fn display_name(&self) -> String {
        if self.name.is_empty() { self.address.to_string() } else { self.name.clone() }
    }

    /// The same neighbour on another TCP port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The same neighbour, waited for instead of connected to.
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// The same neighbour, with the session bound to this address of ours.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.local_address = Some(address);
        self
    }
}

/// Dynamic neighbours: whoever connects from this prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRange {
    /// Source addresses admitted.
    pub prefix: IpNet,
    /// At most this many neighbours at a time from this range.
    pub max_sessions: u32,
    /// What holds for each of them.
    pub options: SessionOptions,
}

impl ListenRange {
    /// Default bound of [`ListenRange::max_sessions`].
    pub const DEFAULT_MAX_SESSIONS: u32 = 5000;

    /// iBGP neighbours from this prefix.
    pub fn new(prefix: IpNet) -> Self {
        Self { prefix, max_sessions: Self::DEFAULT_MAX_SESSIONS, options: SessionOptions::default() }
    }
}
