//! What a [`Fib`](crate::Fib) says about itself: counts at one time, and events as they happen.

use std::net::IpAddr;
use std::num::NonZeroU8;

use ipnet::IpNet;

use crate::counts::{BatchTimes, OperationCounts, ResyncCounts};
use crate::error::Refusal;
use crate::kernel::Hop;

/// Where desired and installed stand. In step means: `installed == desired`, and `leftover` is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FibStatus {
    /// Routes that the owner wants.
    pub desired: usize,
    /// Of these, how many the kernel has exactly as wanted.
    pub installed: usize,
    /// Prefixes whose next request has not been sent yet.
    pub queued: usize,
    /// Routes that the kernel refused; each is tried again.
    pub pending: usize,
    /// The first of them, at most [`FibStatus::PENDING_SHOWN_MAX`], by prefix.
    pub pending_routes: Vec<PendingRoute>,
    /// Of the pending, how many meet somebody else's route with the same prefix and metric.
    pub conflicts: usize,
    /// Routes of ours that were found, that nobody has asked for, and that are kept until
    /// [`Fib::converged`](crate::Fib::converged).
    pub leftover: usize,
    /// Nexthop objects that our routes use.
    pub nexthop_objects: usize,
    /// Requests that the kernel carried out, ever.
    pub operations_ok: u64,
    /// Requests that the kernel refused, ever.
    pub operations_failed: u64,
    /// Both, by what they were to do.
    pub operations: OperationCounts,
    /// Batches sent, ever.
    pub batches: u64,
    /// How long the kernel took for each of them.
    pub batch_times: BatchTimes,
    /// How often the kernel was read back, other than at the start.
    pub resyncs: u64,
    /// The same, by what led to it.
    pub resyncs_by_reason: ResyncCounts,
    /// Routes of ours that somebody removed or changed, and that were put back.
    pub repaired: u64,
    /// Routes of ours that we removed, ever: no longer wanted, or leftover.
    pub removed: u64,
    /// Of these, how many were leftover of an earlier run.
    pub swept: u64,
    /// The latest failure in words: a refused route, or a request that failed as a whole.
    pub last_error: Option<String>,
}

impl FibStatus {
    /// How many pending routes are listed.
    pub const PENDING_SHOWN_MAX: usize = 32;

    /// Whether the kernel holds what is wanted, no more and no less.
    pub fn is_in_step(&self) -> bool {
        self.installed == self.desired && self.leftover == 0 && self.queued == 0 && self.pending == 0
    }
}

/// A route that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PendingRoute {
    /// Its prefix.
    pub prefix: IpNet,
    /// Why it is not installed.
    pub reason: Refusal,
    /// Whether somebody else's route is in its place.
    pub is_conflict: bool,
}

/// A route of ours as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct InstalledRoute {
    /// The destination.
    pub prefix: IpNet,
    /// The metric; not always the configured one, since an earlier run may have had another.
    pub metric: u32,
    /// What it does.
    pub kind: InstalledKind,
    /// The nexthop object that it refers to, if any.
    pub nexthop_id: Option<u32>,
}

/// What an installed route does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum InstalledKind {
    /// Drops silently.
    Blackhole,
    /// A kind that this crate never installs, by its number in `linux/rtnetlink.h`.
    Other(u8),
    /// Drops and answers "communication administratively prohibited".
    Prohibit,
    /// Forwards over one of these.
    Unicast(Vec<InstalledNextHop>),
    /// Drops and answers "host unreachable".
    Unreachable,
}

/// A next hop as the kernel shows it: with the interface that it found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct InstalledNextHop {
    /// The next router.
    pub gateway: Option<IpAddr>,
    /// The interface's name, or `#` and its number if it is gone.
    pub interface: String,
    /// Whether the gateway counts as reachable without a connected network.
    pub onlink: bool,
    /// Share of the traffic.
    pub weight: NonZeroU8,
}

impl InstalledNextHop {
    pub(crate) fn of(hop: &Hop, interface: &str) -> InstalledNextHop {
        InstalledNextHop {
            gateway: hop.gateway,
            interface: interface.to_owned(),
            onlink: hop.onlink,
            // 256, which the kernel allows and this crate never asks for, is shown as 255.
            weight: u8::try_from(hop.weight).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX),
        }
    }
}

/// Something that happened. Events tell of changes; [`FibStatus`] tells where things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum FibEvent {
    /// Somebody else's route has our prefix and metric. Theirs stays; ours waits.
    Conflict {
        /// The prefix of both.
        prefix: IpNet,
    },
    /// The kernel refused a route. Told once per reason, not once per attempt.
    Failed {
        /// The route's prefix.
        prefix: IpNet,
        /// The kernel's reason.
        reason: Refusal,
    },
    /// A route is in the kernel as wanted.
    Installed {
        /// The route's prefix.
        prefix: IpNet,
    },
    /// The reader was too slow; this many events are lost to it.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// A route that was no longer wanted is gone.
    Removed {
        /// The route's prefix.
        prefix: IpNet,
    },
    /// A route of ours that somebody had removed or changed is back.
    Repaired {
        /// The route's prefix.
        prefix: IpNet,
    },
    /// The kernel's routes were read back and compared.
    Resync {
        /// What led to it.
        reason: ResyncReason,
        /// How many prefixes were not as believed.
        differences: usize,
    },
    /// Leftover routes of an earlier run were removed.
    Swept {
        /// How many.
        count: usize,
    },
}

/// Why the kernel was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ResyncReason {
    /// The timer of [`FibConfig::audit_interval`](crate::FibConfig::audit_interval).
    Audit,
    /// A request failed as a whole, so what was done of it is not known.
    BatchLost,
    /// A route that we believed absent is there: ours or another's.
    Exists,
    /// An interface or address that our routes depend on went away; the kernel then removes routes without a word.
    InterfaceGone,
    /// Somebody changed a nexthop object of ours.
    NexthopChanged,
    /// Somebody changed one of our routes while we were changing or reading it.
    RouteChangedUnderway,
    /// Notices of changes were lost.
    Overrun,
    /// A route of somebody else, over which we may reach a gateway, has changed.
    RouteElsewhere,
}

impl ResyncReason {
    /// All of them.
    pub const ALL: [ResyncReason; 8] = [
        ResyncReason::Audit,
        ResyncReason::BatchLost,
        ResyncReason::Exists,
        ResyncReason::InterfaceGone,
        ResyncReason::NexthopChanged,
        ResyncReason::RouteChangedUnderway,
        ResyncReason::Overrun,
        ResyncReason::RouteElsewhere,
    ];

    /// A short name, for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            ResyncReason::Audit => "audit",
            ResyncReason::BatchLost => "batch_lost",
            ResyncReason::Exists => "exists",
            ResyncReason::InterfaceGone => "interface_gone",
            ResyncReason::NexthopChanged => "nexthop_changed",
            ResyncReason::RouteChangedUnderway => "route_changed_underway",
            ResyncReason::Overrun => "overrun",
            ResyncReason::RouteElsewhere => "route_elsewhere",
        }
    }
}
