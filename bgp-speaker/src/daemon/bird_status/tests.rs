//! Golden conversations, and a reader that takes answers apart as Calico's tools do.

use super::command::Command;
use super::reply::Reply;
use super::routes::Walk;
use super::*;
use crate::config::{Announcement, Neighbor};
use crate::speaker::Speaker;
use crate::view::{FibNextHopView, PrefixCounts};
use ipnet::IpNet;

/// 2026-03-02 09:15:00.
const NOW_SECS: u64 = 1_772_442_900;

fn session(name: &str, address: &str, state: &str, uptime_secs: u64) -> NeighborView {
    NeighborView {
        address: address.to_owned(),
        port: 179,
        name: name.to_owned(),
        remote_as: 64512,
        local_as: 64512,
        role: "peer".to_owned(),
        state: state.to_owned(),
        uptime_secs,
        ..NeighborView::default()
    }
}

fn picture(neighbors: Vec<NeighborView>) -> Picture {
    let mut config = SpeakerConfig::new([10, 0, 0, 1].into());
    for neighbor in &neighbors {
        let listed = Neighbor::ibgp(neighbor.address.parse().unwrap()).port(neighbor.port);
        config.neighbors.insert(listed.id(), listed);
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_SECS);
    Picture {
        now,
        status: StatusView {
            router_id: "10.0.0.1".to_owned(),
            uptime_secs: 86_400,
            ready: true,
            ..StatusView::default()
        },
        reconfigured: now - Duration::from_secs(60),
        neighbors,
        config,
    }
}

/// The answer to a command about a picture.
fn answer(picture: &Picture, line: &str) -> String {
    let mut reply = Reply::default();
    match Command::parse(line) {
        Command::ShowStatus => status::show(picture, &mut reply),
        Command::ShowProtocols { is_detailed, name } => {
            protocols::show(picture, is_detailed, name, &mut reply);
        }
        other => panic!("{other:?}"),
    }
    reply.take()
}

/// What Calico's tools make of `show protocols`: address, kind, state, since, info. `mark` is what is between the parts of
/// an address of the socket's family.
fn read_as_calico_does(answer: &str, mark: &str) -> Vec<(String, &'static str, String, String, String)> {
    let mut lines = answer.lines();
    let headings = lines.next().expect("headings").strip_prefix("2002-").expect("the code of headings");
    let headings: Vec<&str> = headings.split_whitespace().collect();
    assert_eq!(headings, ["name", "proto", "table", "state", "since", "info"]);
    let mut sessions = Vec::new();
    for line in lines {
        if line.starts_with("0000") {
            return sessions;
        }
        let row = line.strip_prefix("1002-").or_else(|| line.strip_prefix(' ')).expect("a row");
        let columns: Vec<&str> = row.split_whitespace().collect();
        if columns.len() < 6 || columns[1] != "BGP" {
            continue;
        }
        let kinds = [("Global_", "global"), ("Node_", "node specific"), ("Mesh_", "node-to-node mesh")];
        let named = kinds.into_iter().find_map(|(start, kind)| Some((columns[0].strip_prefix(start)?, kind)));
        let Some((rest, kind)) = named else { continue };
        let info = columns[5..].join(" ");
        sessions.push((rest.replace('_', mark), kind, columns[3].to_owned(), columns[4].to_owned(), info));
    }
    panic!("no end: {answer}");
}

#[test]
fn status_has_the_lines_that_are_looked_for() {
    let mut picture = picture(vec![
        session("Mesh_10_0_0_2", "10.0.0.2", "Established", 60),
        session("Mesh_10_0_0_3", "10.0.0.3", "Active", 60),
    ]);
    let expected = format!(
        "1000-BIRD {VERSION}\n\
         1011-Router ID is 10.0.0.1\n \
         Current server time is 2026-03-02 09:15:00\n \
         Last reboot on 2026-03-01 09:15:00\n \
         Last reconfiguration on 2026-03-02 09:14:00\n\
         0013 Daemon is up and running\n"
    );
    assert_eq!(answer(&picture, "show status"), expected);
    picture.status.ready = false;
    let recovering =
        "0024-Graceful restart recovery in progress\n   Waiting for 1 protocols to recover\n0013 ";
    assert_eq!(answer(&picture, "show status"), expected.replace("0013 ", recovering));
}

#[test]
fn sessions_are_rows_that_calicos_tools_understand() {
    let mut failing = session("Global_10_0_0_4", "10.0.0.4", "Active", 3);
    failing.last_error = Some("connection: Connection refused\n(os error 111)".to_owned());
    let neighbors = vec![
        session("Mesh_10_0_0_2", "10.0.0.2", "Established", 60),
        session("Node_10_0_0_3_port_1790", "10.0.0.3", "OpenConfirm", 86_400),
        failing,
        session("Mesh_10_0_0_5", "10.0.0.5", "Idle", 1),
        session("Mesh_10_0_0_6", "10.0.0.6", "Idle", 1),
        session("a name\tof two words", "10.0.0.7", "Connect", 1),
    ];
    let mut picture = picture(neighbors);
    let listed = |picture: &mut Picture, address: &str, change: fn(&mut Neighbor)| {
        let neighbor = picture.config.neighbors.values_mut().find(|n| n.address.to_string() == address);
        change(neighbor.expect("listed"));
    };
    listed(&mut picture, "10.0.0.5", |neighbor| neighbor.passive = true);
    listed(&mut picture, "10.0.0.6", |neighbor| neighbor.enabled = false);
    let shown = answer(&picture, "show protocols");
    assert_eq!(
        shown,
        "2002-name     proto    table    state  since       info\n\
         1002-Mesh_10_0_0_2 BGP      master   up     09:14:00    Established\n \
         Node_10_0_0_3_port_1790 BGP      master   start  2026-03-01  OpenConfirm\n \
         Global_10_0_0_4 BGP      master   start  09:14:57    Active        Socket: Connection refused (os error 111)\n \
         Mesh_10_0_0_5 BGP      master   start  09:14:59    Passive\n \
         Mesh_10_0_0_6 BGP      master   down   09:14:59    Down\n \
         a_name_of_two_words BGP      master   start  09:14:59    Connect\n\
         0000 \n"
    );
    let read = read_as_calico_does(&shown, ".");
    let read: Vec<(&str, &str, &str, &str, &str)> = read
        .iter()
        .map(|(address, kind, state, since, info)| {
            (address.as_str(), *kind, state.as_str(), since.as_str(), info.as_str())
        })
        .collect();
    assert_eq!(
        read,
        [
            ("10.0.0.2", "node-to-node mesh", "up", "09:14:00", "Established"),
            // The port is taken for a part of the address, there as here.
            ("10.0.0.3.port.1790", "node specific", "start", "2026-03-01", "OpenConfirm"),
            ("10.0.0.4", "global", "start", "09:14:57", "Active Socket: Connection refused (os error 111)"),
            ("10.0.0.5", "node-to-node mesh", "start", "09:14:59", "Passive"),
            ("10.0.0.6", "node-to-node mesh", "down", "09:14:59", "Down"),
        ]
    );
    let states = ["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];
    for state in states {
        let shown =
            answer(&self::picture(vec![session("Mesh_fd00__2", "fd00::2", state, 1)]), "show protocols");
        let read = read_as_calico_does(&shown, ":");
        assert_eq!((read[0].0.as_str(), read[0].4.as_str()), ("fd00::2", state));
        assert_eq!(read[0].2, if state == "Established" { "up" } else { "start" });
    }
    assert_eq!(read_as_calico_does(&answer(&self::picture(Vec::new()), "show protocols"), "."), []);
}

#[test]
fn one_session_is_told_in_full() {
    let mut neighbor = session("Mesh_10_0_0_2", "10.0.0.2", "Established", 60);
    neighbor.router_id = Some("10.0.0.2".to_owned());
    neighbor.local_address = Some("10.0.0.1".to_owned());
    neighbor.hold_time_secs = Some(240);
    neighbor.prefixes =
        [("ipv4-unicast".to_owned(), PrefixCounts { received: 5, accepted: 4, advertised: 3 })].into();
    let picture = picture(vec![neighbor, session("Mesh_10_0_0_3", "10.0.0.3", "Active", 60)]);
    let shown = answer(&picture, "show protocols all Mesh_10_0_0_2");
    assert_eq!(
        shown,
        "2002-name     proto    table    state  since       info\n\
         1002-Mesh_10_0_0_2 BGP      master   up     09:14:00    Established\n\
         1006-  Routes:             4 imported, 3 exported\n   \
         BGP state:          Established\n     \
         Neighbor address: 10.0.0.2\n     \
         Neighbor port:    179\n     \
         Neighbor AS:      64512\n     \
         Neighbor ID:      10.0.0.2\n     \
         Session:          internal\n     \
         Source address:   10.0.0.1\n     \
         Hold timer:       240\n \n\
         0000 \n"
    );
    assert_eq!(answer(&picture, "show protocols all \"nobody\""), "8003 No protocols match\n");
    assert_eq!(answer(&picture, "show protocols all").matches("BGP state:").count(), 2);
}

#[test]
fn what_is_no_command_is_no_command() {
    for line in
        ["", "show", "show route all", "show protocols all a b", "configure", "down", "show\u{0}status"]
    {
        assert_eq!(Command::parse(line), Command::Unknown, "{line:?}");
    }
    assert_eq!(Command::parse("  show   status\r\n"), Command::ShowStatus);
    assert_eq!(Command::parse("restrict\n"), Command::Restrict);
}

/// All pages of a speaker's table, and how many they were.
async fn pages(speaker: &Speaker, next_hops: Vec<FibNextHopView>, side: Side) -> (String, usize) {
    let mut picture = picture(vec![session("Mesh_127_0_6_2", "127.0.6.2", "Established", 60)]);
    picture.config = speaker.config().await.unwrap();
    let mut walk = Walk::new(picture, next_hops, side);
    let (mut reply, mut text, mut count) = (Reply::default(), String::new(), 0);
    while walk.next_page(speaker, &mut reply).await.unwrap() {
        let page = reply.take();
        count += usize::from(!page.is_empty());
        text.push_str(&page);
    }
    text.push_str(&reply.take());
    (text, count)
}

#[tokio::test]
async fn a_big_table_comes_in_pages_in_the_order_of_its_prefixes() {
    let mut builder = Speaker::builder().router_id([127, 0, 6, 1].into());
    for index in 0..9000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + (index << 6));
        builder = builder.announce(Announcement::block(format!("{address}/26").parse().unwrap()));
    }
    builder = builder.announce(Announcement::block("fd00:1::/64".parse().unwrap()));
    builder = builder.announce(Announcement::block("0.0.0.0/0".parse().unwrap()));
    let speaker = builder.start().await.unwrap();
    let (text, count) = pages(&speaker, Vec::new(), Side { family: Family::Ipv4Unicast }).await;
    assert!(count >= 3, "{count} pages");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 9002);
    assert_eq!(lines[0], "1007-0.0.0.0/0          blackhole [static1 2026-03-01] * (200)");
    assert_eq!(lines[1], " 10.0.0.0/26        blackhole [static1 2026-03-01] * (200)");
    assert_eq!(lines[9001], "0000 ");
    let prefixes: Vec<IpNet> =
        lines[1..9001].iter().map(|line| line[1..19].trim().parse().unwrap()).collect();
    assert!(prefixes.is_sorted(), "in order");
    let (text, _) = pages(&speaker, Vec::new(), Side { family: Family::Ipv6Unicast }).await;
    assert_eq!(text, "1007-fd00:1::/64        blackhole [static1 2026-03-01] * (200)\n0000 \n");
}

#[tokio::test]
async fn a_learned_route_is_told_with_its_way() {
    let (a, b): (std::net::IpAddr, std::net::IpAddr) = ([127, 0, 6, 1].into(), [127, 0, 6, 2].into());
    let first = Speaker::builder()
        .router_id([127, 0, 6, 1].into())
        .listen((a, 0).into())
        .neighbor(Neighbor::ibgp(b).passive())
        .start()
        .await
        .unwrap();
    let port = first.listening()[0].port();
    let second = Speaker::builder()
        .router_id([127, 0, 6, 2].into())
        .neighbor(Neighbor::ibgp(a).port(port).local_address(b))
        .announce(Announcement::block("10.2.0.0/26".parse().unwrap()))
        .start()
        .await
        .unwrap();
    let mut routes = first.subscribe();
    while !matches!(routes.next().await.unwrap(), crate::RouteChange::Learned { .. }) {}
    let way = |ways: &[&str]| FibNextHopView {
        next_hop: Some(b),
        rule: "recursive".to_owned(),
        routes: 1,
        ways: ways.iter().map(|way| (*way).to_owned()).collect(),
        because: String::new(),
        error: None,
    };
    let side = Side { family: Family::Ipv4Unicast };
    for (next_hops, expected) in [
        (vec![way(&["via 10.9.9.9 dev tunl0 onlink"])], "via 10.9.9.9 on tunl0"),
        (vec![way(&["dev eth0"])], "dev eth0"),
        (vec![way(&[])], "unreachable"),
        (Vec::new(), "via 127.0.6.2 on ?"),
    ] {
        let (text, _) = pages(&first, next_hops, side).await;
        let expected =
            format!("1007-10.2.0.0/26        {expected} [Mesh_127_0_6_2 09:14:00] * (100/0) [i]\n0000 \n");
        assert_eq!(text, expected);
    }
    drop(second);
}
