//! The lab itself: every adapter and the whole interop story, with BIRD in the place of our daemon.
//!
//! When an interop test fails and these pass, our daemon is in question, not the lab.

use bgp_lab::daemons::{bird::Bird, exabgp::ExaBgp, frr::Frr, gobgp::GoBgp, openbgpd::OpenBgpd};
use bgp_lab::harness::lab_test;
use bgp_lab::scenario::{Maker, Relation, interop};

fn bird_and(name: &str, relation: Relation, make_right: Maker) {
    lab_test(name, |lab| {
        interop(lab, relation, |lab, node, spec| Ok(Box::new(Bird::new(lab, node, spec)?)), make_right)
    });
}

macro_rules! adapters {
    ($($name:ident: $adapter:ty),* $(,)?) => { $(
        mod $name {
            use super::*;

            const MAKE: Maker = |lab, node, spec| Ok(Box::new(<$adapter>::new(lab, node, spec)?));

            #[test]
            fn as_ibgp_peer_of_bird() {
                bird_and(concat!(stringify!($name), "-ibgp-bird"), Relation::IbgpPeer, MAKE);
            }

            #[test]
            fn as_client_of_bird() {
                bird_and(concat!(stringify!($name), "-client-bird"), Relation::ReflectorClient, MAKE);
            }

            #[test]
            fn as_ebgp_peer_of_bird() {
                bird_and(concat!(stringify!($name), "-ebgp-bird"), Relation::EbgpPeer, MAKE);
            }
        }
    )* };
}

adapters! {
    bird: Bird,
    gobgp: GoBgp,
    frr: Frr,
    openbgpd: OpenBgpd,
    exabgp: ExaBgp,
}
