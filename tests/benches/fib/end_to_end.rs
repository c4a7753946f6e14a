//! From a BGP peer into the kernel: one peer announces every prefix over one session, as fast as it is let, and the
//! time runs until the kernel has them all.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bgp_lab::daemons::bird::Bird;
use bgp_lab::daemons::frr::Frr;
use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::raw_peer::RawPeer;
use bgp_lab::wire::{self, Open};
use bgp_lab::{Daemon, Lab, LabError, Namespace, PeerRole, SpeakerSpec, secs, wait_until};

use crate::Failure;
use crate::rates::prefix;

const ASN: u32 = 64512;
/// So many /24 prefixes and their attributes fit into one UPDATE of 4096 bytes.
const PREFIXES_PER_UPDATE: u32 = 900;
/// How often the kernel's routes are counted at most; the result is as exact as that.
const COUNT_EVERY: Duration = Duration::from_millis(25);
/// Rest after a count, as a multiple of what it took: the kernel walks the whole trie for it, and the daemon under test
/// shares the processors.
const COUNT_REST: u32 = 9;
const PATIENCE: Duration = Duration::from_secs(120);

/// How long each daemon took; those that are not installed, or do not get there, are left out and told of.
pub(crate) fn run(lab: &Lab, route_count: u32) -> Vec<(&'static str, Duration)> {
    let mut results = Vec::new();
    for name in ["ours", "bird", "frr"] {
        eprintln!("end to end: {name}");
        match one(lab, name, route_count) {
            Ok(elapsed) => results.push((name, elapsed)),
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    results
}

fn one(lab: &Lab, name: &'static str, route_count: u32) -> Result<Duration, Failure> {
    let switch = lab.switch(&format!("{name}-switch"))?;
    let under_test =
        lab.node(&switch, &format!("{name}-node"), "10.0.0.1/24".parse()?, "fd00::1/64".parse()?)?;
    let peer = lab.node(&switch, &format!("{name}-peer"), "10.0.0.2/24".parse()?, "fd00::2/64".parse()?)?;
    let spec = SpeakerSpec::on(&under_test, ASN).with_peer(peer.v4, ASN, PeerRole::Peer).with_kernel();
    let mut daemon: Box<dyn Daemon> = match name {
        "bird" => Box::new(Bird::new(lab, &under_test, spec)?),
        "frr" => Box::new(Frr::new(lab, &under_test, spec)?),
        _ => Box::new(Ours::new(lab, &under_test, Program::BgpSpeaker, spec)?),
    };
    daemon.start()?;
    let before = prefix_count(&under_test.namespace)?;
    let updates = updates(peer.v4.into(), route_count);
    // The daemon may be trying from its side at the same time, and then closes one of the two.
    let mut session = wait_until("a session with the daemon", secs(15), || {
        let mut session = RawPeer::connect(&peer.namespace, IpAddr::V4(under_test.v4))?;
        session.establish(&Open::new(ASN, peer.v4, 240))?;
        Ok::<_, LabError>(session)
    })?;
    let is_over = AtomicBool::new(false);
    let elapsed = std::thread::scope(|scope| {
        let begin = Instant::now();
        scope.spawn(|| {
            updates.iter().for_each(|update| session.send(update));
            while !is_over.load(Ordering::Relaxed) {
                session.send(&wire::keepalive());
                sleep(Duration::from_secs(1));
            }
        });
        let elapsed = wait_for_prefixes(&under_test.namespace, before + u64::from(route_count), begin);
        is_over.store(true, Ordering::Relaxed);
        // Ends a session that nobody reads from any more, so that the sender does not wait for it.
        daemon.kill();
        elapsed
    });
    elapsed.map_err(|error| format!("{name}: {error}").into())
}

fn wait_for_prefixes(namespace: &Namespace, wanted: u64, begin: Instant) -> Result<Duration, Failure> {
    loop {
        let asked = Instant::now();
        let count = prefix_count(namespace)?;
        if count >= wanted {
            return Ok(asked - begin);
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("{count} of {wanted} prefixes after {PATIENCE:?}").into());
        }
        sleep((asked.elapsed() * COUNT_REST).max(COUNT_EVERY));
    }
}

fn updates(next_hop: IpAddr, route_count: u32) -> Vec<Vec<u8>> {
    let IpAddr::V4(next_hop) = next_hop else { return Vec::new() };
    let mut attributes = wire::attribute(0x40, 1, &[0]);
    attributes.extend(wire::attribute(0x40, 2, &[]));
    attributes.extend(wire::attribute(0x40, 3, &next_hop.octets()));
    attributes.extend(wire::attribute(0x40, 5, &100_u32.to_be_bytes()));
    let update = |from: u32| {
        let nlri: Vec<u8> = (from..(from + PREFIXES_PER_UPDATE).min(route_count))
            .flat_map(|index| {
                let [a, b, c, _] = prefix(index).addr().octets();
                [24, a, b, c]
            })
            .collect();
        wire::update(&[], &attributes, &nlri)
    };
    (0..route_count).step_by(PREFIXES_PER_UPDATE as usize).map(update).collect()
}

/// Prefixes in the namespace's main table, by the kernel's own count.
fn prefix_count(namespace: &Namespace) -> Result<u64, Failure> {
    let statistics = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/fib_triestat"))??;
    let tables = statistics.split("Main:").nth(1).unwrap_or_default();
    let count = tables.lines().find_map(|line| line.trim().strip_prefix("Prefixes:"));
    Ok(count.map_or(Ok(0), |count| count.trim().parse())?)
}
