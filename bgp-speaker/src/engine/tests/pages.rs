//! Tables, page by page, while they change.

use super::*;
use crate::config::AddPaths;
use crate::engine::testnet::Dice;
use crate::engine::{PageAnswer, Pager};
use crate::view::{RouteCursor, RouteQuery, RouteTable, RouteView};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

const CLIENTS: [u32; 4] = [2, 3, 4, 5];

fn plain(number: u32) -> String {
    format!("172.16.{number}.0/24")
}

/// A reflector whose clients share prefixes: some have one path, some have several. The last client is told all.
fn crowd(network: &mut Network) -> Vec<NodeId> {
    let mut reflector = SpeakerConfig::numbered(1).reflects(1).clients(&CLIENTS);
    let last = reflector.neighbors.values_mut().last().expect("a client");
    last.options.add_paths = AddPaths::Both;
    let mut nodes = vec![network.start(reflector)];
    for number in CLIENTS {
        let mut config = client(number);
        let shared = (0..40).filter(|prefix| prefix % 3 == number % 3 || prefix % 5 == 0).map(plain);
        let shared: Vec<String> = shared.chain(["fd02::/64".to_owned()]).collect();
        config = config.announces(&shared.iter().map(String::as_str).collect::<Vec<_>>());
        if number == 5 {
            config.neighbors.values_mut().for_each(|one| one.options.add_paths = AddPaths::Both);
        }
        nodes.push(network.start(config));
    }
    network.converge();
    nodes
}

fn queries() -> Vec<RouteQuery> {
    let of = |table, number: Option<u32>| RouteQuery {
        table,
        neighbor: number.map(|number| address(number).into()),
        ..RouteQuery::default()
    };
    let inside =
        |text: &str| RouteQuery { prefix: Some(prefix(text)), longer: true, ..RouteQuery::default() };
    vec![
        RouteQuery::default(),
        of(RouteTable::Best, None),
        of(RouteTable::Received, Some(3)),
        of(RouteTable::Advertised, Some(3)),
        of(RouteTable::Advertised, Some(5)),
        inside("172.16.0.0/19"),
        inside("fd00::/8"),
        RouteQuery { prefix: Some(prefix(&plain(0))), ..RouteQuery::default() },
    ]
}

fn page(
    engine: &Engine,
    query: &RouteQuery,
    limit: usize,
    after: Option<RouteCursor>,
) -> (Vec<RouteView>, Option<RouteCursor>) {
    engine.routes(RouteQuery { limit: Some(limit), after, ..query.clone() }).expect("no such neighbour")
}

#[test]
fn pages_of_any_size_make_up_the_whole() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network);
    let engine = network.engine(nodes[0]);
    for query in queries() {
        let (whole, next) = engine.routes(query.clone()).expect("all neighbours are there");
        assert_eq!(next, None);
        assert!(whole.len() >= 4 || query.prefix.is_some(), "{query:?}: {}", whole.len());
        for limit in [1, 2, 7, 40, 1000] {
            let (mut pages, mut next) = (Vec::new(), None);
            loop {
                let (routes, after) = page(engine, &query, limit, next.take());
                assert!(routes.len() <= limit);
                assert!(!routes.is_empty(), "nothing has changed: {query:?}");
                pages.extend(routes);
                // What an operator carries from one page to the next is text.
                next = after.map(|after| after.to_string().parse().expect("our own"));
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(pages, whole, "{query:?} by {limit}");
        }
    }
}

#[test]
fn prefixes_ascend_and_the_best_path_of_each_comes_first() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network);
    let (routes, _) = network.engine(nodes[0]).routes(RouteQuery::default()).expect("no neighbour is named");
    assert!(routes.windows(2).all(|pair| pair[0].prefix <= pair[1].prefix));
    let firsts: BTreeMap<IpNet, bool> = routes.iter().rev().map(|route| (route.prefix, route.best)).collect();
    assert!(firsts.values().all(|best| *best));
    assert!(routes.len() > firsts.len() + 20, "several paths of a prefix");
}

/// Changes a network at random, but for what the clients announce under an odd number.
fn disturb(network: &mut Network, nodes: &[NodeId], dice: &mut Dice) {
    let at = nodes[1 + dice.below(CLIENTS.len())];
    let (number, local_pref) = (dice.below(40) as u32, dice.below(300) as u32);
    network.apply(at, |config| {
        let prefix = prefix(&plain(number));
        let old = config.announcements.remove(&prefix);
        if old.is_none() || number % 2 == 1 {
            // What was not there comes. What is steady stays, and its rank changes.
            let announcement = Announcement { local_pref: Some(local_pref), ..Announcement::route(prefix) };
            if old.is_some() || number % 2 == 0 {
                config.announcements.insert(prefix, announcement);
            }
        }
    });
    network.run(Duration::from_millis(50));
}

#[test]
fn what_is_there_throughout_is_told_once_while_all_else_comes_and_goes() {
    for seed in 1..=4 {
        let (mut network, mut dice) = (Network::new(seed), Dice::new(seed));
        let nodes = crowd(&mut network);
        let names = |routes: &[RouteView]| -> Vec<(IpNet, String)> {
            routes.iter().map(|route| (route.prefix, route.from.clone())).collect()
        };
        let is_steady = |prefix: &IpNet| match prefix {
            IpNet::V4(net) => net.addr().octets()[0] == 192 || net.addr().octets()[2] % 2 == 1,
            IpNet::V6(_) => true,
        };
        let (before, _) =
            network.engine(nodes[0]).routes(RouteQuery::default()).expect("no neighbour is named");
        let steady: BTreeSet<_> =
            names(&before).into_iter().filter(|(prefix, _)| is_steady(prefix)).collect();
        assert!(steady.len() > 30);

        let (mut told, mut next, mut pages) = (Vec::new(), None, 0);
        loop {
            let limit = Some(1 + dice.below(9));
            let mut pager = Pager::new(RouteQuery { limit, after: next.take(), ..RouteQuery::default() });
            while let Some(question) = pager.question() {
                let answer: PageAnswer =
                    network.engine(nodes[0]).answer_page(&question).expect("no neighbour is named");
                pager.take(answer);
                disturb(&mut network, &nodes, &mut dice);
            }
            let (routes, after) = pager.finish();
            told.extend(names(&routes));
            pages += 1;
            match after {
                Some(after) => next = Some(after),
                None => break,
            }
        }
        assert!(pages > 8, "{pages} pages");
        let counted = |name: &(IpNet, String)| told.iter().filter(|other| *other == name).count();
        for name in &steady {
            assert_eq!(counted(name), 1, "seed {seed}: {name:?}");
        }
    }
}
