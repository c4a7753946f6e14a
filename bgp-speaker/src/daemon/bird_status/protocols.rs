//! `show protocols [all] [NAME]`: sessions, one row each, and what there is to say of one.

use super::reply::Reply;
use super::times::short;
use super::{Picture, TABLE, word};
use crate::view::{NeighborView, PrefixCounts};

/// The whole reply.
pub(super) fn show(picture: &Picture, is_detailed: bool, name: Option<&str>, reply: &mut Reply) {
    let is_meant = |neighbor: &&NeighborView| name.is_none_or(|name| word(&neighbor.name) == name);
    let meant: Vec<&NeighborView> = picture.neighbors.iter().filter(is_meant).collect();
    if meant.is_empty() && name.is_some() {
        return reply.end(8003, "No protocols match");
    }
    reply.line(2002, &row("name", "proto", "table", "state", "since", "info"));
    for neighbor in meant {
        let since = short(picture.before(neighbor.uptime_secs), picture.now);
        let (state, info) = state_and_info(picture, neighbor);
        reply.line(1002, &row(&word(&neighbor.name), "BGP", TABLE, state, &since, &info));
        if is_detailed {
            details(picture, neighbor, reply);
        }
    }
    reply.end(0, "");
}

fn row(name: &str, proto: &str, table: &str, state: &str, since: &str, info: &str) -> String {
    format!("{name:<8} {proto:<8} {table:<8} {state:<6} {since:<10}  {info}")
}

/// BIRD's two columns. A session is up or about to be, and administratively down otherwise; `info` begins with the state
/// of the finite state machine.
fn state_and_info(picture: &Picture, neighbor: &NeighborView) -> (&'static str, String) {
    let fsm = bgp_state(picture, neighbor);
    let state = match fsm {
        "Established" => return ("up", fsm.to_owned()),
        "Down" => "down",
        _ => "start",
    };
    let error = neighbor.last_error.as_deref().map_or_else(String::new, error_text);
    (state, format!("{fsm:<14}{error}").trim_end().to_owned())
}

fn bgp_state<'a>(picture: &Picture, neighbor: &'a NeighborView) -> &'a str {
    let listed = picture.listed(neighbor);
    match neighbor.state.as_str() {
        _ if listed.is_some_and(|listed| !listed.enabled) => "Down",
        "Idle" if neighbor.dynamic || listed.is_some_and(|listed| listed.passive) => "Passive",
        state => state,
    }
}

/// Why the session is not up, under one of BIRD's headings.
fn error_text(error: &str) -> String {
    for (ours, theirs) in [
        ("connection: ", "Socket: "),
        ("received NOTIFICATION ", "Received: "),
        ("sent NOTIFICATION ", "BGP Error: "),
    ] {
        if let Some(text) = error.strip_prefix(ours) {
            return format!("{theirs}{text}");
        }
    }
    format!("Error: {error}")
}

fn details(picture: &Picture, neighbor: &NeighborView, reply: &mut Reply) {
    let sum = |count: fn(&PrefixCounts) -> u64| neighbor.prefixes.values().map(count).sum::<u64>();
    let mut fact =
        |name: &str, value: &str| reply.line(1006, &format!("  {:<20}{value}", format!("{name}:")));
    let counts =
        format!("{} imported, {} exported", sum(|counts| counts.accepted), sum(|counts| counts.advertised));
    fact("Routes", &counts);
    fact("BGP state", bgp_state(picture, neighbor));
    fact("  Neighbor address", &neighbor.address);
    if let Some(listed) = picture.listed(neighbor) {
        fact("  Neighbor port", &listed.port.to_string());
    }
    fact("  Neighbor AS", &neighbor.remote_as.to_string());
    if let Some(id) = &neighbor.router_id {
        fact("  Neighbor ID", id);
    }
    let kind = if neighbor.local_as == neighbor.remote_as { "internal" } else { "external" };
    let client = if neighbor.role == "client" { " route-reflector" } else { "" };
    fact("  Session", &format!("{kind}{client}"));
    if let Some(address) = &neighbor.local_address {
        fact("  Source address", address);
    }
    if let Some(secs) = neighbor.hold_time_secs {
        fact("  Hold timer", &secs.to_string());
    }
    if let Some(error) = &neighbor.last_error {
        fact("  Last error", &error_text(error));
    }
    reply.line(1006, "");
}
