//! What a running speaker tells about itself: plain values, shared by the library, the admin API and the
//! command line. Field names are the documented JSON.

mod cursor;
mod explain;
mod handover;
mod plan;

pub(crate) use cursor::PathName;
pub use cursor::{InvalidCursor, PathsTold, RouteCursor};
pub use explain::{ExplainView, ExplainedExport, ExplainedPath};
pub use handover::{HandoverView, HeldSession};
pub use plan::{PlanView, PlannedAnnouncement, PlannedFib, PlannedHostRoute, PlannedSession};

use crate::config::{AddPaths, Family, NeighborRef};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// One screen about the speaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Our AS.
    pub asn: u32,
    /// Our BGP identifier, dotted.
    pub router_id: String,
    /// Present on a reflector, dotted.
    pub cluster_id: Option<String>,
    /// Since start.
    pub uptime_secs: u64,
    /// Bound listening addresses.
    pub listen: Vec<String>,
    /// Sessions by state name.
    pub sessions: BTreeMap<String, usize>,
    /// Best routes by family name.
    pub routes: BTreeMap<String, usize>,
    /// Paths of all neighbours by family name.
    pub paths: BTreeMap<String, usize>,
    /// The first convergence is done: every neighbour answered, or was waited for long enough.
    pub ready: bool,
    /// The kernel, where routes are installed.
    pub fib: Option<FibView>,
    /// Present when routes of other programs are taken from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_import: Option<KernelImportView>,
    /// The datastore, where there is one.
    #[serde(default)]
    pub datastore: Option<DatastoreView>,
    /// What stays for a while, so that others can take its place first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverView>,
}

/// The datastore's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatastoreView {
    /// It is followed. If not, what it held last stays in force.
    pub up: bool,
    /// Its revision as of the last news.
    pub revision: i64,
    /// Why it is not followed.
    pub last_error: Option<String>,
    /// Objects that are wrong, or have no effect; everything else is in force.
    pub invalid: Vec<InvalidObject>,
}

/// Something wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InvalidObject {
    /// Its kind.
    pub kind: String,
    /// Its key in the datastore.
    pub key: String,
    /// What is wrong, and what is done about it.
    pub reason: String,
}

/// The kernel's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FibView {
    /// Routing table.
    pub table: u32,
    /// rtm_protocol of our routes.
    pub protocol: u8,
    /// Routes wanted in the kernel.
    pub desired: usize,
    /// Of those, installed.
    pub installed: usize,
    /// Of those, waiting for the kernel to accept them.
    pub pending: usize,
    /// Prefixes that belong to somebody else's route.
    pub conflicts: usize,
    /// desired == installed.
    pub in_sync: bool,
    /// The kernel's last error text.
    pub last_error: Option<String>,
    /// Requests that the kernel carried out.
    pub operations_ok: u64,
    /// Requests that the kernel refused.
    pub operations_failed: u64,
    /// Both by what they were to do: ("set_route", "ok" or "failed", how many).
    #[serde(default)]
    pub operations: Vec<(String, String, u64)>,
    /// How long the kernel took for batches of requests.
    #[serde(default)]
    pub batch_seconds: DurationsView,
    /// How often the kernel was read back because a notification was lost, or to audit.
    pub resyncs: u64,
    /// The same, by what led to it.
    #[serde(default)]
    pub resyncs_by_reason: BTreeMap<String, u64>,
    /// Routes of ours that somebody else removed or changed, and that were put back.
    pub repaired: u64,
}

/// The kernel's side in detail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FibDetailsView {
    /// The counts.
    #[serde(flatten)]
    pub fib: FibView,
    /// Every next hop in use, and where packets for it go.
    pub next_hops: Vec<FibNextHopView>,
    /// The first of the pending routes.
    pub pending_routes: Vec<FibPendingView>,
}

/// What was decided about one next hop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FibNextHopView {
    /// As in the BGP route.
    pub next_hop: Option<IpAddr>,
    /// How it may be reached: "recursive", "neighbour", or a tunnel and when that is used.
    pub rule: String,
    /// Routes over it.
    pub routes: usize,
    /// Gateway and device, as `ip route` writes them; none if there is no way.
    pub ways: Vec<String>,
    /// What led to the decision.
    pub because: String,
    /// Why there is no way.
    pub error: Option<String>,
}

/// A route that the kernel does not have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FibPendingView {
    /// Its prefix.
    pub prefix: IpNet,
    /// The kernel's reason.
    pub reason: String,
    /// Somebody else's route is in its place.
    pub is_conflict: bool,
}

/// One neighbour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NeighborView {
    /// Its address.
    pub address: String,
    /// Its TCP port, which tells it from others of this address.
    #[serde(default)]
    pub port: u16,
    /// Its name, or the address; with the port, if others have this address too.
    pub name: String,
    /// Its AS.
    pub remote_as: u32,
    /// Our AS towards it.
    pub local_as: u32,
    /// "peer" or "client".
    pub role: String,
    /// Admitted by a range instead of listed.
    pub dynamic: bool,
    /// RFC 4271 §8.2.2 state name.
    pub state: String,
    /// In this state since.
    pub uptime_secs: u64,
    /// Its BGP identifier, once known.
    pub router_id: Option<String>,
    /// Negotiated families.
    pub families: Vec<String>,
    /// Families with several paths per prefix (RFC 7911), with the direction that was negotiated: `receive`, `send` or
    /// `both`, as this side sees it.
    #[serde(default)]
    pub add_paths: BTreeMap<String, AddPaths>,
    /// Capabilities that it sent, as text.
    pub capabilities: Vec<String>,
    /// Negotiated hold time.
    pub hold_time_secs: Option<u16>,
    /// Our address of the session.
    pub local_address: Option<String>,
    /// Prefix counts by family.
    pub prefixes: BTreeMap<String, PrefixCounts>,
    /// Messages by type.
    pub messages_received: BTreeMap<String, u64>,
    /// Messages by type.
    pub messages_sent: BTreeMap<String, u64>,
    /// Sessions that reached Established.
    pub established_count: u64,
    /// Messages received that were not as they should be; the last of them are kept (`/v1/malformed`).
    #[serde(default)]
    pub malformed_count: u64,
    /// Why the last session ended, or why none comes up; both ways.
    pub last_error: Option<String>,
    /// Its routes are kept while it restarts (RFC 4724).
    pub restarting: bool,
    /// It has told all its routes since the session came up, or is taken to have: not every neighbour says so.
    #[serde(default)]
    pub told_all: bool,
    /// It stays only until others have taken its place.
    #[serde(default)]
    pub leaving: bool,
    /// It reads too slowly for the shared stream and is served from a bitmap.
    pub slow: bool,
}

/// A message that could not be read, or not be used as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MalformedView {
    /// The neighbour that sent it, with the port if others have the same address.
    pub neighbor: String,
    /// Milliseconds since it came.
    pub age_ms: u64,
    /// "UPDATE" or another type; "none" if it does not begin as a message.
    pub message: String,
    /// What is wrong with it.
    pub errors: Vec<MalformedError>,
    /// Its octets; of what is no message, those that were looked at.
    pub length: usize,
    /// The first 4096 of them, from the header on, in hexadecimal.
    pub octets: String,
    /// What can be read of it, a line for each part.
    pub decoded: Vec<String>,
}

/// Something wrong with a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MalformedError {
    /// In words.
    pub error: String,
    /// What was done about it (RFC 7606): "attribute-discard", "treat-as-withdraw", "afi-safi-disable" or
    /// "session-reset".
    pub action: String,
}

/// Counts of one family of one neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixCounts {
    /// Received and not withdrawn, before policy.
    pub received: u64,
    /// Of those, accepted.
    pub accepted: u64,
    /// Advertised to it.
    pub advertised: u64,
}

/// Which routes to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteQuery {
    /// Only this prefix (or those inside it, with `longer`).
    pub prefix: Option<IpNet>,
    /// Include more specific prefixes.
    #[serde(default)]
    pub longer: bool,
    /// Which table.
    #[serde(default)]
    pub table: RouteTable,
    /// Of which neighbour, for `received` and `advertised`.
    pub neighbor: Option<NeighborRef>,
    /// At most this many; the answer says whether there are more.
    pub limit: Option<usize>,
    /// Only what comes after this place: the end of the page before.
    #[serde(default)]
    pub after: Option<RouteCursor>,
}

/// The tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteTable {
    /// All paths of all neighbours, and our own.
    #[default]
    All,
    /// The Loc-RIB: best paths only.
    Best,
    /// Adj-RIB-In of a neighbour.
    Received,
    /// Adj-RIB-Out of a neighbour, as it is on the wire.
    Advertised,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// The prefix.
    pub prefix: IpNet,
    /// Its family.
    pub family: Family,
    /// Next hop; absent for what we originate.
    pub next_hop: Option<String>,
    /// The neighbour it came from, "local" or "kernel".
    pub from: String,
    /// Present with "kernel": what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelRouteView>,
    /// Is it in the Loc-RIB?
    pub best: bool,
    /// "igp", "egp", "incomplete".
    pub origin: String,
    /// Space separated, sets in braces.
    pub as_path: String,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// "64512:1"
    pub communities: Vec<String>,
    /// "rt:64512:1" and the like
    pub extended_communities: Vec<String>,
    /// "64512:1:2"
    pub large_communities: Vec<String>,
    /// ORIGINATOR_ID, dotted.
    pub originator_id: Option<String>,
    /// CLUSTER_LIST, dotted.
    pub cluster_list: Vec<String>,
    /// ADD-PATH identifier, as received or as told.
    pub path_id: Option<u32>,
    /// Kept while its neighbour restarts.
    pub stale: bool,
}

/// What another program has in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRouteView {
    /// The network of an interface's address, and not a route.
    pub is_network: bool,
    /// Where it leads out, if that is one interface.
    pub interface: Option<String>,
    /// The router it leads to, if that is one.
    pub gateway: Option<String>,
    /// As the kernel has it; 0: none.
    pub metric: u32,
    /// The protocol id of the program: 3 is `boot`, 4 `static`.
    pub protocol: u8,
    /// Packets are dropped.
    pub is_blackhole: bool,
}

impl RouteView {
    /// Where it is from, in words.
    pub fn source(&self) -> String {
        match &self.kernel {
            None => self.from.clone(),
            Some(kernel) => format!("{}{kernel}", self.from),
        }
    }
}

impl fmt::Display for KernelRouteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_network {
            f.write_str(", network of an interface")?;
        }
        if self.is_blackhole {
            f.write_str(", blackhole")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, ", dev {interface}")?;
        }
        match self.metric {
            0 => Ok(()),
            metric => write!(f, ", metric {metric}"),
        }
    }
}

/// What is taken from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelImportView {
    /// Prefixes with a route of another program.
    pub routes: usize,
    /// Networks of interfaces.
    pub networks: usize,
    /// Routes for which there was no room.
    pub refused: usize,
    /// How often the kernel was read.
    pub readings: u64,
    /// Why it could not be read the last time.
    pub last_error: Option<String>,
}

/// Counters and gauges for an exporter. Nothing here grows with prefixes; `neighbors` grows with sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsView {
    /// Sessions by state name.
    pub sessions: BTreeMap<String, usize>,
    /// Is this neighbour's session up?
    pub session_up: BTreeMap<String, bool>,
    /// Transitions by (new state, reason).
    pub transitions: Vec<(String, String, u64)>,
    /// Messages by (direction "in"/"out", type).
    pub messages: Vec<(String, String, u64)>,
    /// UPDATE errors by (attribute, action).
    pub update_errors: Vec<(String, String, u64)>,
    /// Routes by (table "loc-rib"/"adj-rib-in", family).
    pub routes: Vec<(String, String, u64)>,
    /// Distinct attribute sets.
    pub attributes: u64,
    /// Bytes by part.
    pub memory_bytes: Vec<(String, u64)>,
    /// Update groups.
    pub update_groups: u64,
    /// Sessions served from a bitmap.
    pub slow_sessions: u64,
    /// Connections refused, by reason.
    #[serde(default)]
    pub refused_connections: BTreeMap<String, u64>,
    /// First convergence done.
    pub ready: bool,
    /// How long batches of route selection took, with the encoding of what followed.
    pub decision_seconds: DurationsView,
    /// From the reading of a batch's first bytes to the last write that followed from it.
    pub propagation_seconds: DurationsView,
}

/// How long something took, each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurationsView {
    /// Upper bounds in seconds, ascending, and how many took no longer.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// All together, in seconds.
    pub sum_secs: f64,
}
