//! The border between deciding and doing: what the planner asks of a kernel and what a kernel tells.
//!
//! Two kernels stand behind it: [`netlink`](crate::netlink) and, for tests, `fake_kernel`. Netlink's own
//! names and layouts do not appear here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::error::{FibError, Refusal};

/// Which of the kernel's routes are ours, and where new ones go. One per `Fib`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) table: u32,
    pub(crate) protocol: u8,
    pub(crate) metric: u32,
}

impl Ownership {
    /// The metric under which a route is installed that has this one, or none of its own. The kernel reads metric 0 of an
    /// IPv6 route as 1024.
    pub(crate) fn metric_for(&self, prefix: &IpNet, metric: Option<u32>) -> u32 {
        match metric.unwrap_or(self.metric) {
            0 if prefix.addr().is_ipv6() => 1024,
            metric => metric,
        }
    }

    /// The first of the 65,536 ids that our nexthop objects use. It depends on table and protocol, because the
    /// kernel has one id space for all of a namespace's users, and an object says nothing of a table.
    pub(crate) fn nexthop_id_base(&self) -> u32 {
        let mixed = (self.table ^ (u32::from(self.protocol) << 24)).wrapping_mul(0x9e37_79b1) >> 16;
        // The lowest block is where administrators number their own.
        mixed.max(1) << 16
    }

    pub(crate) fn owns_nexthop(&self, id: u32, protocol: u8) -> bool {
        protocol == self.protocol && id & 0xffff_0000 == self.nexthop_id_base()
    }
}

/// One way out as the kernel sees it: interfaces are numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    pub(crate) gateway: Option<IpAddr>,
    /// 0: not stated; the kernel finds it through the gateway.
    pub(crate) interface: u32,
    pub(crate) onlink: bool,
    /// 1 to 256.
    pub(crate) weight: u16,
}

/// What a route of the kernel does; the part of a route that many routes share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) action: Action,
    /// The nexthop object that the route refers to, or 0.
    pub(crate) nexthop_id: u32,
    /// Sorted. When read back through a nexthop object: what the object holds. When written: empty with an object.
    pub(crate) hops: Vec<Hop>,
    pub(crate) preferred_source: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Blackhole,
    Prohibit,
    Unicast,
    Unreachable,
    /// A kind that we never write (local, broadcast, nat ..), by number.
    Other(u8),
}

/// A route as read back. Everything that tells two routes of one table and protocol apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelRoute {
    pub(crate) prefix: IpNet,
    pub(crate) metric: u32,
    pub(crate) content: Arc<Content>,
}

/// What a nexthop object holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum NexthopContent {
    /// Member ids and weights (1 to 256), sorted by id.
    Group(Vec<(u32, u16)>),
    /// Anything else: blackhole objects, resilient groups.
    Other,
    Single {
        gateway: Option<IpAddr>,
        interface: u32,
        onlink: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelNexthop {
    pub(crate) id: u32,
    pub(crate) protocol: u8,
    pub(crate) content: NexthopContent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: Arc<str>,
    pub(crate) is_up: bool,
    pub(crate) has_carrier: bool,
}

/// A network that is directly on an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Connected {
    pub(crate) prefix: IpNet,
    pub(crate) interface: u32,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) interface: u32,
    /// The network, or the far end, that it puts on the interface; `None`: one that is of no interest beyond the link,
    /// or that another address of the interface stands for.
    pub(crate) network: Option<IpNet>,
}

/// A route of a table, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedRoute {
    pub(crate) protocol: u8,
    pub(crate) route: KernelRoute,
}

/// What others have in the kernel at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<Address>,
    /// Of one table; none of ours.
    pub(crate) routes: Vec<OwnedRoute>,
    /// As in [`Snapshot`].
    pub(crate) cost: Duration,
}

/// How a route may meet one that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Refused if any route with the same prefix and metric exists: we know of none of ours.
    Create,
    /// Takes the place of ours in one step.
    Replace,
}

/// One request. A batch is a sequence of them, carried out in order; a refused one does not stop the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    DeleteNexthop { id: u32 },
    DeleteRoute { prefix: IpNet, metric: u32 },
    SetNexthop { id: u32, content: NexthopContent, verb: Verb },
    SetRoute { prefix: IpNet, metric: u32, verb: Verb, content: Arc<Content> },
}

/// The kernel's refusals, by position in the batch; everything else was done.
pub(crate) type Refusals = Vec<(usize, Refusal)>;

/// Why the outcome of a request is not known or a dump is not whole.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The kernel changed its table during the dump.
    Interrupted,
    /// Answers did not fit into the socket's buffer.
    Overrun,
    /// The request as a whole failed.
    Failed(FibError),
}

impl Lost {
    /// For a caller that has no use for trying again.
    pub(crate) fn into_error(self) -> FibError {
        let reason = match self {
            Lost::Failed(error) => return error,
            Lost::Interrupted => "the kernel's table kept changing while it was read",
            Lost::Overrun => "the kernel's answer did not fit into the socket's buffer",
        };
        FibError::Socket { what: "receive", source: std::io::Error::other(reason) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Only which way gateways are that need not be neighbours.
    Gateways,
    /// Links, connected networks, nexthop objects, gateways.
    Environment,
    /// These, and our own routes.
    Full,
}

/// What is to be read from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) scope: Scope,
    /// Gateways that need not be neighbours.
    pub(crate) gateways: Vec<IpAddr>,
}

/// The kernel's best route for a gateway that is not one of ours, or why it has none.
pub(crate) type Way = Result<WayOut, Refusal>;

/// The route that leads to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WayOut {
    pub(crate) prefix: IpNet,
    pub(crate) protocol: u8,
    /// At least one. Without a gateway: the gateway asked for is a neighbour on that interface.
    pub(crate) hops: Vec<Hop>,
}

/// The kernel's state at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// For each gateway asked for.
    pub(crate) ways: Vec<(IpAddr, Way)>,
    pub(crate) links: Vec<Link>,
    pub(crate) connected: Vec<Connected>,
    /// All nexthop objects, also other people's; none where the kernel has no such objects.
    pub(crate) nexthops: Option<Vec<KernelNexthop>>,
    /// Our own routes (table and protocol match), when asked for.
    pub(crate) routes: Option<Vec<KernelRoute>>,
    /// Processor time that the reading took. Waiting does not count: a kernel that is busy taking an interface down
    /// keeps us waiting for seconds.
    pub(crate) cost: Duration,
}

/// Something that changed without us. What we did ourselves is known from the answers, and is not told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    AddressAdded {
        address: Address,
    },
    AddressRemoved {
        address: Address,
    },
    LinkChanged {
        link: Link,
    },
    LinkRemoved {
        index: u32,
    },
    NexthopChanged {
        id: u32,
    },
    /// Notices were lost.
    Overrun,
    /// A route of another table, or with another key than any of ours; to which prefix, if that can be read.
    OtherRoute {
        prefix: Option<IpNet>,
    },
    RouteAdded {
        route: KernelRoute,
        protocol: u8,
        /// It took the place of another one with this prefix and metric.
        replaces: bool,
    },
    RouteRemoved {
        prefix: IpNet,
        metric: u32,
        protocol: u8,
    },
}

/// Something that carries out batches and answers dumps. Calls block for as long as the work takes.
pub(crate) trait Kernel: Send + 'static {
    fn execute(&mut self, batch: &[Op]) -> Result<Refusals, Lost>;
    fn read(&mut self, reading: &Reading) -> Result<Snapshot, Lost>;
}
