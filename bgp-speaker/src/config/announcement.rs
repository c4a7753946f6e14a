//! What we originate.

use bgp_proto::{Community, LargeCommunity, Origin};
use ipnet::IpNet;

/// Why we originate a prefix, which decides what the kernel is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnouncementKind {
    /// A block of pod addresses of this node: a blackhole in the FIB, so that traffic to addresses
    /// without a pod ends here instead of looping through a default route.
    Block,
    /// Any other prefix, such as a service range: announced only.
    Route,
}

/// One originated prefix. The next hop is always the session's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Host bits are cleared by the constructors.
    pub prefix: IpNet,
    /// Block or route.
    pub kind: AnnouncementKind,
    /// ORIGIN, IGP by default.
    pub origin: Origin,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF towards iBGP; 100 if absent.
    pub local_pref: Option<u32>,
    /// Standard communities.
    pub communities: Vec<Community>,
    /// Large communities.
    pub large_communities: Vec<LargeCommunity>,
    /// The interface that the prefix is reached by, if it is announced because of a route in the kernel. For filters.
    pub interface: Option<String>,
    /// It stands in for a route that another program should have in the kernel. Once there is one that
    /// [`KernelImport`](super::KernelImport) takes, that alone says whether the prefix is announced, and how.
    pub yields_to_kernel: bool,
}

impl Announcement {
    /// A block of this node's pods.
    pub fn block(prefix: IpNet) -> Self {
        Self::new(prefix, AnnouncementKind::Block)
    }

    /// A prefix that is announced and leaves the kernel alone.
    pub fn route(prefix: IpNet) -> Self {
        Self::new(prefix, AnnouncementKind::Route)
    }

    fn new(prefix: IpNet, kind: AnnouncementKind) -> Self {
        Self {
            prefix: prefix.trunc(),
            kind,
            origin: Origin::Igp,
            med: None,
            local_pref: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            interface: None,
            yields_to_kernel: false,
        }
    }
}
