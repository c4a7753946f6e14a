//! Records what real daemons send, as fixtures for the codec.
//!
//! Not a test of anything: it rewrites `fixtures/wire/*.hex`, and is run on purpose, as root, where the daemons are.
//!
//! ```text
//! cargo test -p bgp-lab --test wire_record -- --ignored
//! ```
//!
//! Each daemon gets a namespace and a configuration (in `fixtures/wire/config`) with every capability, attribute and
//! family that it can be made to send. Three recorders speak with it, one after the other: an internal one and an
//! external one that offer everything, and a plain one that offers nothing, so that the daemon falls back to two-octet
//! AS numbers. Each asks for a refresh, lets the daemon withdraw something and stop, and keeps every distinct message.

mod wire_common;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bgp_lab::harness::lab_test;
use bgp_lab::process::Process;
use bgp_lab::raw_peer::{RawPeer, Received, listen};
use bgp_lab::{Lab, LabError, Namespace, need_program, secs, wait_until, wire};
use bgp_proto::{
    AddPathDirection, Afi, AfiSafi, Asn, BgpId, Capability, Decoder, GracefulRestart, GracefulRestartFamily,
    HoldTime, LongLivedFamily, Message, Open, OutboundFilterFamily, RouteRefresh, Safi, SessionParams,
};
use bytes::BytesMut;

/// The daemon's address; the recorders follow.
const DAEMON: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
/// How long a daemon may be silent before it is taken to have said everything.
const QUIET: Duration = Duration::from_millis(2500);
const AS_OURS: Asn = Asn(64512);
const AS_EXTERNAL: Asn = Asn(65001);

/// One daemon: how it starts, and what it is told while it runs.
struct Subject {
    name: &'static str,
    version: Vec<&'static str>,
    start: fn(&Lab, &Namespace, &Path) -> Result<Vec<Process>, LabError>,
    /// Commands after the start, and after the first messages: announcements and withdrawals.
    announce: fn(&Path) -> Vec<Vec<String>>,
    withdraw: fn(&Path) -> Vec<Vec<String>>,
    /// It does not accept connections.
    connects: bool,
}

#[test]
#[ignore = "rewrites fixtures"]
fn bird() {
    record(&Subject {
        name: "bird",
        version: vec!["bird", "--version"],
        start: |_, namespace, folder| {
            let config = write(folder, "bird.conf", include_str!("../fixtures/wire/config/bird.conf"))?;
            let mut command = Command::new(need_program("bird", "bird2")?);
            command.arg("-f").arg("-c").arg(config).arg("-s").arg(folder.join("bird.ctl"));
            command.arg("-P").arg(folder.join("bird.pid"));
            Ok(vec![Process::spawn(namespace, "bird", &folder.join("log"), command)?])
        },
        announce: |_| Vec::new(),
        withdraw: |folder| {
            let disable =
                |name: &str| words_of(&format!("birdc -s {}/bird.ctl disable {name}", folder.display()));
            ["plain4", "plain6", "svpn4", "sflow4"].map(disable).to_vec()
        },
        connects: false,
    });
}

#[test]
#[ignore = "rewrites fixtures"]
fn frr() {
    record(&Subject {
        name: "frr",
        version: vec!["/usr/lib/frr/bgpd", "--version"],
        start: |_, namespace, folder| {
            let mut processes = Vec::new();
            for (name, config) in [("zebra", ""), ("bgpd", include_str!("../fixtures/wire/config/frr.conf"))]
            {
                let config = write(folder, &format!("{name}.conf"), config)?;
                give_to_frr(folder)?;
                give_to_frr(&config)?;
                let mut command = Command::new(need_program(&format!("/usr/lib/frr/{name}"), "frr")?);
                command.arg("-f").arg(config).arg("-i").arg(folder.join(format!("{name}.pid")));
                command.arg("-z").arg(folder.join("zserv.api"));
                command.arg("--vty_socket").arg(folder).args(["-P", "0", "--log", "stdout"]);
                processes.push(Process::spawn(namespace, name, &folder.join("log"), command)?);
                wait_until("a socket of zebra", secs(15), || fs::metadata(folder.join("zserv.api")))?;
            }
            Ok(processes)
        },
        announce: |_| Vec::new(),
        withdraw: |folder| {
            let vtysh = |family: &str, command: &str| {
                let mut words = words_of(&format!("vtysh --vty_socket {}", folder.display()));
                for line in
                    ["configure terminal", "router bgp 64512", &format!("address-family {family}"), command]
                {
                    words.extend(["-c".to_owned(), line.to_owned()]);
                }
                words
            };
            vec![
                vtysh("ipv4 unicast", "no network 203.0.113.0/24"),
                vtysh("ipv6 unicast", "no network 2001:db8:1::/48"),
                vtysh("ipv4 vpn", "no network 10.1.0.0/16 rd 65000:1"),
            ]
        },
        connects: false,
    });
}

#[test]
#[ignore = "rewrites fixtures"]
fn gobgp() {
    record(&Subject {
        name: "gobgp",
        version: vec!["gobgpd", "--version"],
        start: |_, namespace, folder| {
            let config = write(folder, "gobgpd.toml", include_str!("../fixtures/wire/config/gobgpd.toml"))?;
            let mut command = Command::new(need_program("gobgpd", "gobgpd")?);
            command.args(["--api-hosts", "127.0.0.1:50051", "--pprof-disable", "-f"]).arg(config);
            Ok(vec![Process::spawn(namespace, "gobgpd", &folder.join("log"), command)?])
        },
        announce: |_| include_str!("../fixtures/wire/config/gobgp.commands").lines().map(words_of).collect(),
        withdraw: |_| {
            include_str!("../fixtures/wire/config/gobgp.commands")
                .lines()
                .filter(|line| {
                    line.contains("203.0.113.0/24") || line.contains("macadv") || line.contains("vpnv4")
                })
                .map(|line| words_of(&line.replace(" rib add ", " rib del ")))
                .collect()
        },
        connects: false,
    });
}

#[test]
#[ignore = "rewrites fixtures"]
fn openbgpd() {
    record(&Subject {
        name: "openbgpd",
        version: vec!["dpkg-query", "-W", "openbgpd"],
        start: |_, namespace, folder| {
            let text = include_str!("../fixtures/wire/config/bgpd.conf");
            let socket = format!("socket \"{}/bgpd.sock\"\n", folder.display());
            let config = write(folder, "bgpd.conf", &format!("{socket}{text}"))?;
            fs::set_permissions(&config, fs::Permissions::from_mode(0o600))
                .map_err(LabError::io("bgpd.conf"))?;
            let mut command = Command::new(need_program("/usr/sbin/bgpd", "openbgpd")?);
            command.args(["-d", "-v", "-f"]).arg(config);
            Ok(vec![Process::spawn(namespace, "bgpd", &folder.join("log"), command)?])
        },
        announce: |_| Vec::new(),
        withdraw: |folder| {
            let bgpctl = |words: &str| words_of(&format!("bgpctl -s {}/bgpd.sock {words}", folder.display()));
            vec![bgpctl("network delete 203.0.113.0/24"), bgpctl("network delete 2001:db8:1::/48")]
        },
        connects: false,
    });
}

#[test]
#[ignore = "rewrites fixtures"]
fn exabgp() {
    record(&Subject {
        name: "exabgp",
        version: vec!["exabgp", "--version"],
        start: |_, namespace, folder| {
            let config = write(folder, "exabgp.conf", include_str!("../fixtures/wire/config/exabgp.conf"))?;
            let mut command = Command::new(need_program("exabgp", "exabgp")?);
            command.arg(config).envs([
                ("exabgp.daemon.user", "root"),
                ("exabgp.daemon.drop", "false"),
                ("exabgp.log.all", "true"),
                ("exabgp.api.cli", "false"),
                ("exabgp.cache.attributes", "false"),
            ]);
            Ok(vec![Process::spawn(namespace, "exabgp", &folder.join("log"), command)?])
        },
        announce: |_| Vec::new(),
        withdraw: |_| Vec::new(),
        connects: true,
    });
}

/// A recorder: its address, AS and offer.
struct Recorder {
    name: &'static str,
    address: Ipv4Addr,
    open: Open,
}

fn recorders() -> [Recorder; 3] {
    let open = |address: Ipv4Addr, asn, capabilities| Open {
        version: 4,
        asn,
        hold_time: HoldTime::SUGGESTED,
        bgp_id: BgpId::from(address),
        capabilities,
    };
    let [internal, external, plain] = [2, 3, 4].map(|number| Ipv4Addr::new(10, 7, 0, number));
    let offer = |asn, role: Option<u8>| {
        let mut capabilities = everything(asn);
        capabilities.extend(role.map(Capability::Role));
        capabilities
    };
    [
        Recorder { name: "internal", address: internal, open: open(internal, AS_OURS, offer(AS_OURS, None)) },
        // A customer: the daemon is told to be a provider.
        Recorder {
            name: "external",
            address: external,
            open: open(external, AS_EXTERNAL, offer(AS_EXTERNAL, Some(3))),
        },
        Recorder { name: "plain", address: plain, open: open(plain, Asn(65002), Vec::new()) },
    ]
}

fn families() -> Vec<AfiSafi> {
    let (v4, v6) = (Afi::IPV4, Afi::IPV6);
    let pairs = [
        (v4, Safi::UNICAST),
        (v6, Safi::UNICAST),
        (v4, Safi::MULTICAST),
        (v6, Safi::MULTICAST),
        (v4, Safi::MPLS_LABEL),
        (v6, Safi::MPLS_LABEL),
        (v4, Safi::MPLS_VPN),
        (v6, Safi::MPLS_VPN),
        (v4, Safi::RT_CONSTRAINT),
        (v4, Safi::FLOW_SPEC),
        (v6, Safi::FLOW_SPEC),
        (v4, Safi::FLOW_SPEC_VPN),
        (Afi::L2VPN, Safi::EVPN),
    ];
    pairs.map(|(afi, safi)| AfiSafi::new(afi, safi)).to_vec()
}

fn everything(asn: Asn) -> Vec<Capability> {
    let unicast = [AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST];
    let restart = unicast.map(|family| GracefulRestartFamily { family, forwarding_preserved: true }).to_vec();
    let long =
        unicast.map(|family| LongLivedFamily { family, forwarding_preserved: true, stale_time_secs: 3600 });
    let mut capabilities: Vec<Capability> = families().into_iter().map(Capability::MultiProtocol).collect();
    capabilities.extend([
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::FourOctetAs(asn),
        Capability::GracefulRestart(GracefulRestart {
            notification: true,
            restart_time_secs: 120,
            families: restart,
            ..GracefulRestart::default()
        }),
        Capability::LongLivedGracefulRestart(long.to_vec()),
        Capability::AddPath(unicast.map(|family| (family, AddPathDirection::Both)).to_vec()),
        Capability::ExtendedMessage,
        Capability::ExtendedNextHop(vec![(AfiSafi::IPV4_UNICAST, Afi::IPV6)]),
        Capability::OutboundRouteFiltering(vec![OutboundFilterFamily {
            family: AfiSafi::IPV4_UNICAST,
            kinds: vec![(64, 3)],
        }]),
    ]);
    capabilities
}

fn record(subject: &Subject) {
    for recorder in recorders() {
        lab_test(&format!("wire_record::{}", subject.name), |lab| {
            let (params, messages) = record_one(lab, subject, &recorder)?;
            let text = written(subject, &recorder, &params, &messages);
            let path = wire_common::folder().join(format!("{}-{}.hex", subject.name, recorder.name));
            fs::write(&path, text).map_err(LabError::io(format!("writing {}", path.display())))
        });
    }
}

fn record_one(
    lab: &Lab,
    subject: &Subject,
    recorder: &Recorder,
) -> Result<(SessionParams, Vec<Vec<u8>>), LabError> {
    let switch = lab.switch("switch")?;
    let node = |name: &str, address: Ipv4Addr| {
        let v4 = format!("{address}/24").parse().expect("an address");
        let v6 = format!("fd00:7::{}/64", address.octets()[3]).parse().expect("an address");
        lab.node(&switch, name, v4, v6)
    };
    let (daemon, listener) = (node("daemon", DAEMON)?, node("recorder", recorder.address)?);
    let folder = lab.subfolder("daemon")?;
    let socket =
        subject.connects.then(|| listen(&listener.namespace, recorder.address.into())).transpose()?;
    let mut processes = (subject.start)(lab, &daemon.namespace, &folder)?;
    for command in (subject.announce)(&folder) {
        run(&daemon.namespace, &command)?;
    }
    let mut peer = match &socket {
        Some(socket) => RawPeer::accept(socket, secs(30))?,
        None => RawPeer::connect(&listener.namespace, IpAddr::V4(DAEMON))?,
    };
    let mut messages = Vec::new();
    peer.send(&encoded(&Message::Open(recorder.open.clone())));
    peer.send(&wire::keepalive());
    collect(&mut peer, &mut messages);
    for family in [AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST] {
        peer.send(&encoded(&Message::RouteRefresh(RouteRefresh::request(family))));
    }
    collect(&mut peer, &mut messages);
    for command in (subject.withdraw)(&folder) {
        // What is not there cannot be withdrawn; the recording shows what was.
        run(&daemon.namespace, &command).ok();
    }
    collect(&mut peer, &mut messages);
    processes.iter_mut().for_each(Process::stop);
    collect(&mut peer, &mut messages);
    let theirs = messages.iter().find(|message| message[18] == wire::OPEN);
    // One that cannot be read is kept too, as something to refuse.
    let params = theirs.and_then(|message| Open::decode(&message[19..]).ok());
    let params =
        params.map_or_else(SessionParams::default, |theirs| wire_common::negotiate(&recorder.open, &theirs));
    Ok((params, messages))
}

/// Adds every message that has not been seen yet, until the daemon is quiet or gone.
fn collect(peer: &mut RawPeer, messages: &mut Vec<Vec<u8>>) {
    while let Received::Message { kind, body } = peer.receive(QUIET) {
        let message = wire::message(kind, &body);
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
}

fn written(subject: &Subject, recorder: &Recorder, params: &SessionParams, messages: &[Vec<u8>]) -> String {
    let version = Command::new(subject.version[0]).args(&subject.version[1..]).output();
    let version = version.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let mut text = format!(
        "# What {} sends to a neighbour that is {}.\n# {}\n# Recorded by `cargo test -p bgp-lab --test wire_record -- \
         --ignored {}`; its configuration is in config/.\n# session: {}\n",
        subject.name,
        match recorder.name {
            "internal" => "in its AS and offers everything",
            "external" => "in another AS and offers everything",
            _ => "in another AS and offers nothing",
        },
        version.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown version").trim(),
        subject.name,
        wire_common::write_params(params)
    );
    for message in messages {
        let octets: String = message.iter().map(|octet| format!("{octet:02x}")).collect();
        text.push_str(&format!("# {}\n", bgp_proto::MessageType(message[18])));
        if let Err(error) = Message::decode(&mut Decoder::new(params.clone()), message) {
            text.push_str(&format!("# refused: {error}\n"));
        }
        text.push_str(&format!("{octets}\n"));
    }
    text
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&SessionParams::default(), &mut out).expect("fits a message");
    out.to_vec()
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, LabError> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(LabError::io(format!("writing {name}")))?;
    Ok(path)
}

fn give_to_frr(path: &Path) -> Result<(), LabError> {
    let mut chown = Command::new(need_program("chown", "coreutils")?);
    bgp_lab::output_of(chown.arg("frr:frr").arg(path)).map(drop)
}

/// Runs a command, again while the daemon is not ready for it.
fn run(namespace: &Namespace, words: &[String]) -> Result<(), LabError> {
    let attempt = || {
        let mut command = Command::new(&words[0]);
        namespace.output(command.args(&words[1..])).map_err(|error| error.to_string())
    };
    wait_until(&words.join(" "), secs(5), attempt).map(drop)
}

fn words_of(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
