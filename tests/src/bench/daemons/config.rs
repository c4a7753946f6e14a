//! The same reflector in five languages: iBGP, IPv4 unicast, all clients passive and accepted from one range, hold time 90,
//! nothing filtered, nothing installed in the kernel, no log of routes.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

use super::{CLIENT_RANGE, DAEMON};
use crate::bench::client::{ASN, HOLD_TIME_SECS};
use crate::bench::site::NEXT_HOP_INTERFACE;

/// Sessions that a daemon with a limit must accept.
const SESSIONS_MAX: usize = 5000;

const KEEPALIVE_SECS: u16 = HOLD_TIME_SECS / 3;

pub(super) fn ours(folder: &Path) -> String {
    format!(
        "asn = {ASN}
router_id = \"{DAEMON}\"
listen = [\"{DAEMON}:179\"]
hold_time = {HOLD_TIME_SECS}

[reflector]
cluster_id = \"{DAEMON}\"

[[listen_ranges]]
prefix = \"{CLIENT_RANGE}\"
remote_as = {ASN}
role = \"client\"
max_sessions = {SESSIONS_MAX}
families = [\"ipv4-unicast\"]

[admin]
socket = \"{}/admin.sock\"
listen = \"off\"
",
        folder.display()
    )
}

/// BIRD is fastest with its neighbours listed, and with next hops in a table of their own, which needs no export filter.
pub(super) fn bird(clients: &[Ipv4Addr]) -> String {
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug, auth }};
router id {DAEMON};
protocol device {{ }}
ipv4 table hops4;
protocol direct {{ ipv4 {{ table hops4; }}; interface \"{NEXT_HOP_INTERFACE}\"; }}
template bgp reflected {{
  local {DAEMON} as {ASN};
  passive yes;
  rr client;
  rr cluster id {DAEMON};
  hold time {HOLD_TIME_SECS};
  keepalive time {KEEPALIVE_SECS};
  error wait time 1, 2;
  ipv4 {{ igp table hops4; import all; export all; }};
}}
"
    );
    for (address, index) in clients.iter().zip(0..) {
        let _ = writeln!(text, "protocol bgp c{index} from reflected {{ neighbor {address} as {ASN}; }}");
    }
    text
}

/// `is_tuned`: without the delays that collect changes of many peers, with the longest queue, and with big turns.
pub(super) fn frr(is_tuned: bool) -> String {
    let tuning = if is_tuned {
        " coalesce-time 0
 write-quanta 64
 read-quanta 10
 neighbor clients advertisement-interval 0
"
    } else {
        ""
    };
    let queue = if is_tuned { "  subgroup-pkt-queue-max 100\n" } else { "" };
    format!(
        "hostname bench
router bgp {ASN}
 bgp router-id {DAEMON}
 bgp cluster-id {DAEMON}
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor clients peer-group
 neighbor clients remote-as {ASN}
 neighbor clients passive
 neighbor clients timers {KEEPALIVE_SECS} {HOLD_TIME_SECS}
 bgp listen limit {SESSIONS_MAX}
 bgp listen range {CLIENT_RANGE} peer-group clients
{tuning} address-family ipv4 unicast
{queue}  neighbor clients activate
  neighbor clients route-reflector-client
 exit-address-family
exit
"
    )
}

pub(super) fn openbgpd(folder: &Path) -> String {
    format!(
        "AS {ASN}
router-id {DAEMON}
listen on {DAEMON}
fib-update no
holdtime {HOLD_TIME_SECS}
socket \"{}/bgpd.sock\"
neighbor {CLIENT_RANGE} {{
  remote-as {ASN}
  passive
  route-reflector {DAEMON}
  announce IPv4 unicast
}}
allow from any
allow to any
",
        folder.display()
    )
}

pub(super) fn gobgpd() -> String {
    format!(
        "[global.config]
as = {ASN}
router-id = \"{DAEMON}\"
local-address-list = [\"{DAEMON}\"]

[[peer-groups]]
[peer-groups.config]
peer-group-name = \"clients\"
peer-as = {ASN}
[peer-groups.timers.config]
hold-time = {HOLD_TIME_SECS}
keepalive-interval = {KEEPALIVE_SECS}
[peer-groups.transport.config]
passive-mode = true
[peer-groups.route-reflector.config]
route-reflector-client = true
route-reflector-cluster-id = \"{DAEMON}\"
[[peer-groups.afi-safis]]
[peer-groups.afi-safis.config]
afi-safi-name = \"ipv4-unicast\"

[[dynamic-neighbors]]
[dynamic-neighbors.config]
prefix = \"{CLIENT_RANGE}\"
peer-group = \"clients\"
"
    )
}
