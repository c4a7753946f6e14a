//! Why a prefix is where it is.

use super::filters::{filter, reject, star_with_export};
use super::*;
use crate::view::{ExplainView, ExplainedExport};

fn explain(network: &Network, at: NodeId, text: &str, to: Option<u32>) -> Option<ExplainView> {
    network.engine(at).explain(prefix(text), to.map(|to| address(to).into())).ok()
}

fn whom(export: &ExplainedExport) -> (Vec<&str>, bool, &str) {
    (export.neighbors.iter().map(String::as_str).collect(), export.is_advertised, &export.because)
}

#[test]
fn a_reflector_tells_all_but_the_source_and_why() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 4);
    network.converge();
    let told = explain(&network, nodes[0], &v4(2), None).expect("no neighbour is named");
    assert_eq!(told.paths.len(), 1);
    assert_eq!((told.paths[0].because.as_str(), told.paths[0].route.best), ("the only path", true));
    assert_eq!(told.paths[0].route.from, "10.0.0.2");
    let exports: Vec<_> = told.exports.iter().map(whom).collect();
    assert_eq!(exports[0], (vec!["10.0.0.2"], false, "it is where the best path came from"));
    assert_eq!((&exports[1].0, exports[1].1), (&vec!["10.0.0.3", "10.0.0.4"], true));
    assert_eq!(told.exports[1].next_hop.as_deref(), Some("10.0.0.2"));
    let told = explain(&network, nodes[0], &v4(2), Some(3)).expect("a neighbour");
    assert_eq!(told.exports.iter().map(whom).collect::<Vec<_>>()[0].0, ["10.0.0.3"]);
    assert_eq!(told.exports.len(), 1);
    assert_eq!(explain(&network, nodes[0], &v4(2), Some(99)), None);
    // What an iBGP peer tells is not told another.
    let told = explain(&network, nodes[1], &v4(3), None).expect("no neighbour is named");
    assert!(!told.exports[0].is_advertised);
}

#[test]
fn each_path_says_what_it_lost_by() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 4);
    network.apply(nodes[2], |config| {
        let announcement = Announcement { local_pref: Some(50), ..Announcement::route(prefix(&v4(2))) };
        config.announcements.insert(announcement.prefix, announcement);
    });
    network.apply(nodes[3], |config| {
        let announcement = Announcement::route(prefix(&v4(2)));
        config.announcements.insert(announcement.prefix, announcement);
    });
    network.converge();
    let told = explain(&network, nodes[0], &v4(2), None).expect("no neighbour is named");
    let because: Vec<_> =
        told.paths.iter().map(|path| (path.route.from.as_str(), path.because.as_str())).collect();
    assert_eq!(because[0].0, "10.0.0.2");
    assert!(because[0].1.starts_with("best by the identifier"), "{because:?}");
    let lost = |from: &str| because.iter().find(|path| path.0 == from).map(|path| path.1).unwrap_or_default();
    assert!(lost("10.0.0.3").starts_with("lost by LOCAL_PREF"), "{because:?}");
    assert!(lost("10.0.0.4").starts_with("lost by the identifier"), "{because:?}");
}

#[test]
fn a_filter_that_keeps_a_route_back_is_named() {
    let mut network = Network::new(1);
    let nodes = star_with_export(&mut network, 3, filter([reject(&[&v6(2)]), reject(&[&v4(2)])]));
    network.converge();
    let told = explain(&network, nodes[0], &v4(2), Some(3)).expect("a neighbour");
    assert_eq!(whom(&told.exports[0]), (vec!["10.0.0.3"], false, "the export policy"));
    assert_eq!(told.exports[0].matched, ["filter out rule 2"]);
}

#[test]
fn what_nobody_announces_and_nobody_hears_is_explained_too() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    let told = explain(&network, nodes[0], "10.9.0.0/16", None).expect("no neighbour is named");
    assert!(told.paths.is_empty() && told.exports.is_empty());
    network.kill(nodes[2]);
    network.run(SECOND);
    let told = explain(&network, nodes[0], &v4(2), Some(3)).expect("a neighbour");
    assert_eq!(whom(&told.exports[0]), (vec!["10.0.0.3"], false, "no session with ipv4-unicast"));
}
