//! `neighbors`: a table, or all about those of one address.

use super::client::with_query;
use super::output::{facts, print, print_json};
use super::{Failure, ReadArgs};
use crate::config::{BGP_PORT, NeighborRef};
use crate::daemon::human::{Align, Colour, Table, age, colours_wanted, paint, state_colour};
use crate::view::{NeighborView, PrefixCounts};
use clap::Args;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(super) struct NeighborsArgs {
    /// Only this neighbour, with everything about it; of several with one address, ADDRESS:PORT names one
    #[arg(value_name = "ADDRESS")]
    neighbor: Option<NeighborRef>,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) async fn neighbors(args: &NeighborsArgs) -> Result<(), Failure> {
    let client = args.read.daemon.client();
    let colours = colours_wanted();
    match args.neighbor {
        Some(wanted) => {
            let target = with_query("/v1/neighbors", [("address", wanted.to_string())]);
            let neighbors: Vec<NeighborView> = client.get(&target).await?;
            let render = |neighbor| render_one(neighbor, colours);
            match &neighbors[..] {
                [] => Err(Failure::Failed(format!(
                    "there is no neighbour {wanted}; the list of all neighbours shows which there are"
                ))),
                [only] if args.read.json => print_json(only),
                several if args.read.json => print_json(&several),
                some => print(&some.iter().map(render).collect::<Vec<_>>().join("\n")),
            }
        }
        None => {
            let neighbors: Vec<NeighborView> = client.get("/v1/neighbors").await?;
            if args.read.json { print_json(&neighbors) } else { print(&render_all(&neighbors, colours)) }
        }
    }
}

fn render_all(neighbors: &[NeighborView], colours: bool) -> String {
    if neighbors.is_empty() {
        return "no neighbours\n".to_owned();
    }
    let called = addresses(neighbors);
    let name = |neighbor: &NeighborView, called: &str| {
        if neighbor.name == called { String::new() } else { neighbor.name.clone() }
    };
    let has_names = neighbors.iter().zip(&called).any(|(neighbor, called)| neighbor.name != *called);
    let mut table = Table::new(vec![
        ("NEIGHBOR", Align::Left),
        (if has_names { "NAME" } else { "" }, Align::Left),
        ("AS", Align::Right),
        ("ROLE", Align::Left),
        ("STATE", Align::Left),
        ("SINCE", Align::Right),
        ("RECEIVED", Align::Right),
        ("ACCEPTED", Align::Right),
        ("ADVERTISED", Align::Right),
        ("NOTE", Align::Left),
    ]);
    for (neighbor, called) in neighbors.iter().zip(called) {
        let plain = |text: String| (text, Colour::Plain);
        table.row(vec![
            plain(called.clone()),
            plain(name(neighbor, &called)),
            plain(neighbor.remote_as.to_string()),
            plain(neighbor.role.clone()),
            (neighbor.state.clone(), state_colour(&neighbor.state)),
            plain(age(neighbor.uptime_secs)),
            plain(total(neighbor, |counts| counts.received).to_string()),
            plain(total(neighbor, |counts| counts.accepted).to_string()),
            plain(total(neighbor, |counts| counts.advertised).to_string()),
            plain(note(neighbor)),
        ]);
    }
    table.render(colours)
}

/// What the first column says: addresses, with ports where there is no telling otherwise. Equal addresses are next to
/// each other.
fn addresses(neighbors: &[NeighborView]) -> Vec<String> {
    let is_shared = |index: usize| {
        let address = |index: usize| neighbors.get(index).map(|neighbor| &neighbor.address);
        let before = index.checked_sub(1).and_then(address);
        before == address(index) || address(index + 1) == address(index)
    };
    let named = neighbors.iter().enumerate().map(|(index, neighbor)| {
        if is_shared(index) { with_port(neighbor) } else { neighbor.address.clone() }
    });
    named.collect()
}

fn with_port(neighbor: &NeighborView) -> String {
    let NeighborView { address, port, .. } = neighbor;
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn total(neighbor: &NeighborView, count: fn(&PrefixCounts) -> u64) -> u64 {
    neighbor.prefixes.values().map(count).sum()
}

/// The most important thing that the other columns do not say.
fn note(neighbor: &NeighborView) -> String {
    match &neighbor.last_error {
        _ if neighbor.restarting => "restarting".to_owned(),
        _ if neighbor.slow => "reads slowly".to_owned(),
        Some(error) if neighbor.state != "Established" => error.clone(),
        _ => String::new(),
    }
}

fn render_one(neighbor: &NeighborView, colours: bool) -> String {
    let is_up = neighbor.state == "Established";
    let state = paint(&neighbor.state, state_colour(&neighbor.state), colours);
    let yes = |is_so: bool, text: &str| is_so.then(|| text.to_owned());
    let listed = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
    let name =
        if neighbor.name == neighbor.address { String::new() } else { format!(" ({})", neighbor.name) };
    let error_name = if is_up { "last error" } else { "why not up" };
    let add_paths: Vec<String> =
        neighbor.add_paths.iter().map(|(family, direction)| format!("{direction} {family}")).collect();
    let mut text = facts([
        ("neighbor", Some(format!("{}{name}", neighbor.address))),
        ("state", Some(format!("{state} for {}", age(neighbor.uptime_secs)))),
        (error_name, neighbor.last_error.clone()),
        ("restarting", yes(neighbor.restarting, "yes; its routes are kept meanwhile")),
        ("slow", yes(neighbor.slow, "yes; it gets the latest state whenever it reads")),
        ("its AS", Some(neighbor.remote_as.to_string())),
        ("our AS", Some(neighbor.local_as.to_string())),
        ("its port", (neighbor.port != BGP_PORT).then(|| neighbor.port.to_string())),
        ("role", Some(neighbor.role.clone())),
        (
            "comes from",
            Some(if neighbor.dynamic { "a listen range" } else { "the configuration" }.to_owned()),
        ),
        ("its router id", neighbor.router_id.clone()),
        ("our address", neighbor.local_address.clone()),
        (
            "hold time",
            neighbor.hold_time_secs.map(|secs| if secs == 0 { "none".to_owned() } else { age(secs.into()) }),
        ),
        ("families", listed(&neighbor.families)),
        ("several paths", listed(&add_paths)),
    ]);
    for (index, capability) in neighbor.capabilities.iter().enumerate() {
        text.push_str(&facts([(if index == 0 { "capabilities" } else { "" }, Some(capability.clone()))]));
    }
    for (family, counts) in &neighbor.prefixes {
        let counts = format!(
            "{} received, {} accepted, {} advertised",
            counts.received, counts.accepted, counts.advertised
        );
        text.push_str(&facts([(family.as_str(), Some(counts))]));
    }
    text.push_str(&facts([
        ("messages in", messages(&neighbor.messages_received)),
        ("messages out", messages(&neighbor.messages_sent)),
        ("established", Some(format!("{} times", neighbor.established_count))),
        ("malformed", malformed(neighbor)),
    ]));
    text
}

fn malformed(neighbor: &NeighborView) -> Option<String> {
    let count = neighbor.malformed_count;
    let noun = if count == 1 { "message" } else { "messages" };
    (count > 0).then(|| format!("{count} {noun}; `malformed {}` shows the last", neighbor.address))
}

fn messages(counts: &BTreeMap<String, u64>) -> Option<String> {
    let counts =
        counts.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| format!("{count} {kind}"));
    let text = counts.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AddPaths;
    use crate::daemon::human::WIDTH;

    fn neighbor() -> NeighborView {
        NeighborView {
            address: "10.0.0.2".to_owned(),
            port: BGP_PORT,
            name: "spine-1".to_owned(),
            remote_as: 64512,
            local_as: 64512,
            role: "client".to_owned(),
            state: "Established".to_owned(),
            uptime_secs: 192,
            router_id: Some("10.0.0.2".to_owned()),
            families: vec!["ipv4-unicast".to_owned(), "ipv6-unicast".to_owned()],
            capabilities: vec!["route refresh".to_owned(), "4-octet AS 64512".to_owned()],
            add_paths: [("ipv4-unicast".to_owned(), AddPaths::Send)].into(),
            hold_time_secs: Some(90),
            prefixes: [(
                "ipv4-unicast".to_owned(),
                PrefixCounts { received: 10, accepted: 9, advertised: 8 },
            )]
            .into(),
            messages_received: [("update".to_owned(), 3)].into(),
            established_count: 2,
            ..NeighborView::default()
        }
    }

    #[test]
    fn the_table_fits_whatever_the_neighbours_are_called() {
        let mut down = neighbor();
        down.state = "Active".to_owned();
        down.address = "2001:db8:1111:2222:3333:4444:5555:6666".to_owned();
        down.remote_as = u32::MAX;
        down.last_error =
            Some("connect to 2001:db8::1: Connection refused; is the other side listening?".to_owned());
        let text = render_all(&[neighbor(), down], false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("10.0.0.2 "), "{text}");
        assert!(text.contains(" spine-1 "), "{text}");
        assert!(text.contains("3m12s"), "{text}");
        assert_eq!(render_all(&[], false), "no neighbours\n");
    }

    #[test]
    fn neighbours_of_one_address_are_told_by_their_ports() {
        let at = |address: &str, port| NeighborView { address: address.to_owned(), port, ..neighbor() };
        let named = [
            at("10.0.0.1", 150),
            at("10.0.0.1", 166),
            at("10.0.0.2", 1790),
            at("fd00::2", 1),
            at("fd00::2", 2),
        ];
        assert_eq!(
            addresses(&named),
            ["10.0.0.1:150", "10.0.0.1:166", "10.0.0.2", "[fd00::2]:1", "[fd00::2]:2"]
        );
    }

    #[test]
    fn all_about_one_is_a_list() {
        assert_eq!(
            render_one(&neighbor(), false),
            "neighbor         10.0.0.2 (spine-1)\n\
             state            Established for 3m12s\n\
             its AS           64512\n\
             our AS           64512\n\
             role             client\n\
             comes from       the configuration\n\
             its router id    10.0.0.2\n\
             hold time        1m30s\n\
             families         ipv4-unicast, ipv6-unicast\n\
             several paths    send ipv4-unicast\n\
             capabilities     route refresh\n\
             \x20                4-octet AS 64512\n\
             ipv4-unicast     10 received, 9 accepted, 8 advertised\n\
             messages in      3 update\n\
             established      2 times\n"
        );
    }
}
