//! A random run: operators, failures and restarts, and a look at everything once it is quiet.

use super::configure::{Configure, address, prefix};
use super::dice::Dice;
use super::network::Network;
use super::node::{NodeId, Revival};
use crate::config::filter::{Action, CommunityValue, Condition, Filter, PrefixRange, PrefixSet, Rule, Then};
use crate::config::{
    AddPaths, Announcement, ListenRange, Neighbor, NextHopMode, PolicyRef, Role, SessionOptions,
    SpeakerConfig,
};
use crate::engine::time::MonoTime;
use bgp_proto::{Community, Origin};
use ipnet::IpNet;
use std::num::NonZeroU8;
use std::time::Duration;

/// Size and length of a run.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// Everything random comes of it.
    pub seed: u64,
    /// Speakers; at least 2.
    pub nodes: u32,
    /// Virtual time of disturbance.
    pub time: Duration,
    /// Disturbances last so long before the network is left alone and looked at.
    pub episode: Duration,
}

/// Runs a simulation; returns what happened, for a report.
///
/// # Panics
/// With the seed, if any table is not what the model says, or any book does not balance.
pub fn simulate(simulation: Simulation) -> String {
    let mut network = build(simulation);
    network.is_recording = false;
    let (mut episodes, mut disturbances) = (0, 0);
    let end = MonoTime::ZERO + simulation.time;
    while network.now() < end {
        let calm_at = network.now() + simulation.episode;
        while network.now() < calm_at {
            disturb(&mut network);
            disturbances += 1;
            let pause = network.dice.up_to(simulation.episode / 8);
            network.run(pause);
        }
        heal(&mut network);
        network.converge();
        network.check_model();
        episodes += 1;
    }
    format!(
        "seed {}: {} nodes, {} of virtual time, {episodes} episodes, {disturbances} disturbances",
        simulation.seed,
        simulation.nodes,
        humane(network.now().since(MonoTime::ZERO)),
    )
}

fn humane(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}

/// Two reflectors at most, their clients, and a tail of other ASes; or, one time in four, a mesh.
fn build(simulation: Simulation) -> Network {
    let mut network = Network::rough(simulation.seed);
    network.log_bytes_max = [None, Some(200), Some(1500)][network.dice.below(3)];
    network.walk_ids_max = [None, Some(1), Some(3)][network.dice.below(3)];
    network.weather.lazy_percent = network.dice.below(90) as u32;
    network.weather.lazy_max = network.dice.up_to(Duration::from_secs(2));
    let count = simulation.nodes.max(2);
    let numbers: Vec<u32> = (1..=count).collect();
    let kind = network.dice.below(4);
    let has_add_paths = network.dice.percent(60);
    for &number in &numbers {
        let others: Vec<u32> = numbers.iter().copied().filter(|other| *other != number).collect();
        let config = if kind == 0 {
            SpeakerConfig::numbered(number).ibgp(&others)
        } else {
            reflected(&mut network, kind, number, &others)
        };
        let mut config = dress(&mut network, config, number);
        let next_hops_max = [1, 2, 16][(simulation.seed as usize).wrapping_add(number as usize) % 3];
        config.fib_rules.next_hops_max = NonZeroU8::new(next_hops_max);
        if has_add_paths {
            let sessions = config.neighbors.values_mut().map(|neighbor| &mut neighbor.options);
            let ranges = config.listen_ranges.iter_mut().map(|range| &mut range.options);
            sessions.chain(ranges).for_each(|options| number_paths(options, network.dice.roll()));
        }
        network.start(config);
    }
    network
}

/// Nodes 1 and 2 reflect; the rest are their clients, listed or by range; the last is of another AS.
fn reflected(network: &mut Network, kind: usize, number: u32, others: &[u32]) -> SpeakerConfig {
    let config = SpeakerConfig::numbered(number);
    let last = others.iter().copied().max().unwrap_or(0).max(number);
    let has_external = last > 3;
    if number == last && has_external {
        return config.in_as(65_000).ebgp(1, 64_512).ebgp(3, 64_512);
    }
    let is_internal = |other: &&u32| !has_external || **other != last;
    let clients: Vec<u32> =
        others.iter().copied().filter(|other| *other > 2).filter(|o| is_internal(&o)).collect();
    let mut config = match number {
        1 | 2 => {
            let cluster = if kind == 1 { 7 } else { number };
            let config = config.reflects(cluster).ibgp(&[3 - number]);
            if kind == 3 && number == 1 {
                let options = SessionOptions { role: Role::Client, ..SessionOptions::default() };
                config.listens_to(ListenRange { options, ..ListenRange::new(prefix("10.0.0.0/24")) })
            } else {
                config.clients(&clients)
            }
        }
        _ => config.ibgp(&[1, 2]),
    };
    if has_external && (number == 1 || number == 3) {
        config = config.ebgp(last, 65_000);
    }
    if network.dice.percent(20) {
        config = config.hold_time(30);
    }
    config
}

/// Announcements to begin with.
fn dress(network: &mut Network, mut config: SpeakerConfig, number: u32) -> SpeakerConfig {
    for _ in 0..network.dice.below(6) {
        let announcement = announcement(network, number);
        config.announcements.insert(announcement.prefix, announcement);
    }
    if network.dice.percent(15) {
        config = config.without_graceful_restart();
    }
    config
}

/// Of a prefix of its own, or of one that others announce too.
fn announcement(network: &mut Network, number: u32) -> Announcement {
    let dice = &mut network.dice;
    let own = if dice.percent(60) { number } else { 0 };
    let index = dice.below(8);
    let text = if dice.percent(60) {
        format!("192.{own}.{index}.0/{}", 24 + dice.below(3))
    } else {
        format!("fd01:{own}:{index}::/{}", 48 + dice.below(3))
    };
    let network: IpNet = prefix(&text);
    let mut announcement = Announcement::route(network);
    announcement.origin = *dice.pick(&[Origin::Igp, Origin::Egp, Origin::Incomplete]).unwrap_or(&Origin::Igp);
    if own != 0 {
        // MEDs of shared prefixes would make networks of several ASes oscillate, as RFC 3345 describes.
        announcement.med = dice.pick(&[None, Some(0), Some(5)]).copied().flatten();
    }
    announcement.local_pref = dice.pick(&[None, Some(100), Some(200)]).copied().flatten();
    let communities =
        [vec![], vec![Community::NO_EXPORT], vec![Community(0xfc00_0001)], vec![Community::NO_ADVERTISE]];
    announcement.communities = dice.pick(&communities).cloned().unwrap_or_default();
    announcement
}

/// One random thing.
fn disturb(network: &mut Network) {
    let ids: Vec<NodeId> = network.ids().collect();
    let Some(a) = network.dice.pick(&ids).copied() else { return };
    let Some(b) = network.dice.pick(&ids).copied() else { return };
    match network.dice.below(31) {
        0..=6 => {
            let announcement = announcement(network, a.number());
            network.apply(a, |config| _ = config.announcements.insert(announcement.prefix, announcement));
        }
        7..=10 => {
            let prefixes: Vec<IpNet> = network.config(a).announcements.keys().copied().collect();
            if let Some(prefix) = network.dice.pick(&prefixes).copied() {
                network.apply(a, |config| _ = config.announcements.remove(&prefix));
            }
        }
        11 => network.with_engine(a, |_, engine| _ = engine.refresh(b.address().into())),
        12 => network.with_engine(a, |now, engine| _ = engine.reset(now, b.address().into())),
        13 => network.reset(a, b),
        14..=16 if a != b => network.stall(a, b),
        17 => network.resume_all(),
        18 => crash(network, a),
        19 => change_neighbor(network, a, |neighbor, dice| neighbor.enabled = dice % 2 == 0),
        20 => change_neighbor(network, a, |neighbor, dice| {
            let policies = [PolicyRef::Accept, PolicyRef::Reject];
            neighbor.options.export = policies[dice % 2].clone();
        }),
        21 => change_neighbor(network, a, |neighbor, dice| {
            let policies = [PolicyRef::Accept, PolicyRef::Reject];
            neighbor.options.import = policies[dice % 2].clone();
        }),
        22 => change_neighbor(network, a, |neighbor, dice| {
            neighbor.options.next_hop = [NextHopMode::Auto, NextHopMode::SelfAddress][dice % 2];
        }),
        23 => change_neighbor(network, a, |neighbor, dice| neighbor.passive = dice % 4 == 0),
        24 => network.apply(a, |config| config.announcements.clear()),
        25..=26 => {
            let filter = filter(&mut network.dice);
            let name = ["f", "g"][network.dice.below(2)];
            network.apply(a, |config| _ = config.filters.insert(name.to_owned(), filter.into()));
        }
        27..=28 => use_filters(network, a),
        29 => change_neighbor(network, a, |neighbor, dice| number_paths(&mut neighbor.options, dice as u64)),
        _ => change_role(network, a),
    }
}

/// Several paths of a prefix, in some direction or none, and how many.
fn number_paths(options: &mut SessionOptions, dice: u64) {
    let mut dice = Dice::new(dice);
    let ways =
        [AddPaths::Both, AddPaths::Both, AddPaths::Both, AddPaths::Receive, AddPaths::Send, AddPaths::Off];
    options.add_paths = dice.pick(&ways).copied().unwrap_or_default();
    options.add_paths_max =
        [1, 2, 3, 16].get(dice.below(4)).copied().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MIN);
}

/// A neighbour gets a policy of filters, both ways.
fn use_filters(network: &mut Network, id: NodeId) {
    let policies = |dice: &mut Dice| {
        let names: &[&str] =
            dice.pick(&[&["f"][..], &["g"], &["f", "g"], &["g", "f"], &[]]).copied().unwrap_or(&[]);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        if names.is_empty() { PolicyRef::Accept } else { PolicyRef::Filters(names) }
    };
    let (import, export) = (policies(&mut network.dice), policies(&mut network.dice));
    let filters = [filter(&mut network.dice), filter(&mut network.dice)];
    network.apply(id, |config| {
        for (name, filter) in ["f", "g"].into_iter().zip(filters) {
            config.filters.entry(name.to_owned()).or_insert(filter.into());
        }
    });
    change_neighbor(network, id, |neighbor, dice| {
        if dice % 3 != 0 {
            neighbor.options.import.clone_from(&import);
        }
        if dice % 3 != 1 {
            neighbor.options.export.clone_from(&export);
        }
    });
}

/// Lets through what does not touch route selection, which could find no rest otherwise.
fn filter(dice: &mut Dice) -> Filter {
    let mut rules = Vec::new();
    let tags: Vec<CommunityValue> =
        (0..3).map(|low| CommunityValue::Standard(Community(0xfc00_0000 + low))).collect();
    for _ in 0..dice.below(4) {
        let mut rule = Rule::new(*dice.pick(&[Then::Accept, Then::Next, Then::Next]).unwrap_or(&Then::Next));
        if dice.percent(50) {
            let text = format!("192.{}.0.0/16{{24,{}}}", dice.below(6), 24 + dice.below(3));
            let range: PrefixRange = text.parse().unwrap_or_else(|error| panic!("{error}"));
            rule = rule.when(Condition::prefix_in(PrefixSet::new([range])));
        }
        if dice.percent(30) {
            let tag = tags[dice.below(3)];
            rule = rule.when(Condition::AnyCommunity(vec![tag.into()]));
        }
        if dice.percent(20) {
            let neighbors = vec![IpNet::from(address(1 + dice.below(6) as u32))];
            rule = rule.when(Condition::Neighbor(neighbors));
        }
        match dice.below(4) {
            0 => rule.then = Then::Reject,
            1 => rule = rule.change(Action::DeleteCommunities(vec![tags[dice.below(3)].into()])),
            _ => rule = rule.change(Action::AddCommunities(vec![tags[dice.below(3)]])),
        }
        rules.push(rule);
    }
    let default = *dice.pick(&[Then::Accept, Then::Next]).unwrap_or(&Then::Next);
    Filter { rules, default }
}

fn crash(network: &mut Network, id: NodeId) {
    if !network.is_running(id) {
        revive(network, id);
    } else if network.dice.percent(50) {
        network.kill(id);
    } else {
        network.power_off(id);
    }
}

fn revive(network: &mut Network, id: NodeId) {
    let kinds = [Revival::Restarting, Revival::Fresh, Revival::Unknown];
    let revival = network.dice.pick(&kinds).copied().unwrap_or(Revival::Fresh);
    network.revive(id, revival);
}

fn change_neighbor(network: &mut Network, id: NodeId, change: impl Fn(&mut Neighbor, usize)) {
    let neighbors: Vec<_> = network.config(id).neighbors.keys().copied().collect();
    let dice = network.dice.below(1000);
    if let Some(address) = network.dice.pick(&neighbors).copied() {
        network
            .apply(id, |config| config.neighbors.get_mut(&address).into_iter().for_each(|n| change(n, dice)));
    }
}

/// A client becomes a peer, or the other way round.
fn change_role(network: &mut Network, id: NodeId) {
    if network.config(id).cluster_id.is_none() {
        return;
    }
    let own_as = network.config(id).asn;
    change_neighbor(network, id, |neighbor, dice| {
        let is_internal = neighbor.options.remote_as.is_none_or(|asn| asn == own_as);
        if is_internal && neighbor.address != address(1) && neighbor.address != address(2) {
            neighbor.options.role = [Role::Client, Role::Peer][dice % 2];
        }
    });
}

/// Everybody is back, nothing is stalled; what operators changed stays, but nobody is kept disabled
/// or waiting.
fn heal(network: &mut Network) {
    network.resume_all();
    for id in network.ids().collect::<Vec<_>>() {
        if !network.is_running(id) {
            revive(network, id);
        }
        network.apply(id, |config| {
            config
                .neighbors
                .values_mut()
                .for_each(|neighbor| (neighbor.enabled, neighbor.passive) = (true, false));
        });
    }
}
