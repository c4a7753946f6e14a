//! Our daemons with each of the five others, as internal peer, as reflection client and as external peer.
//!
//! The story is [`bgp_lab::scenario`]: sessions, routes of both families both ways with equal attributes, withdrawals,
//! route refresh, TCP reset and recovery; each judged by the other daemon's own command line too.

use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::daemons::{bird::Bird, exabgp::ExaBgp, frr::Frr, gobgp::GoBgp, openbgpd::OpenBgpd};
use bgp_lab::harness::lab_test;
use bgp_lab::scenario::{Maker, Relation, interop};

const SPEAKER: Maker = |lab, node, spec| Ok(Box::new(Ours::new(lab, node, Program::BgpSpeaker, spec)?));
const REFLECTOR: Maker = |lab, node, spec| Ok(Box::new(Ours::new(lab, node, Program::RouteReflector, spec)?));

macro_rules! interop_with {
    ($($name:ident: $adapter:ty),* $(,)?) => { $(
        mod $name {
            use super::*;

            const MAKE: Maker = |lab, node, spec| Ok(Box::new(<$adapter>::new(lab, node, spec)?));

            #[test]
            fn as_ibgp_peer() {
                lab_test(concat!(stringify!($name), "-ibgp"), |lab| interop(lab, Relation::IbgpPeer, SPEAKER, MAKE));
            }

            #[test]
            fn as_reflector_client() {
                lab_test(concat!(stringify!($name), "-client"), |lab| {
                    interop(lab, Relation::ReflectorClient, REFLECTOR, MAKE)
                });
            }

            #[test]
            fn as_ebgp_peer() {
                lab_test(concat!(stringify!($name), "-ebgp"), |lab| interop(lab, Relation::EbgpPeer, SPEAKER, MAKE));
            }
        }
    )* };
}

interop_with! {
    bird: Bird,
    gobgp: GoBgp,
    frr: Frr,
    openbgpd: OpenBgpd,
    exabgp: ExaBgp,
}

mod ours {
    use super::*;

    #[test]
    fn as_ibgp_peer() {
        lab_test("ours-ibgp", |lab| interop(lab, Relation::IbgpPeer, SPEAKER, SPEAKER));
    }

    #[test]
    fn as_reflector_client() {
        lab_test("ours-client", |lab| interop(lab, Relation::ReflectorClient, REFLECTOR, SPEAKER));
    }

    #[test]
    fn as_ebgp_peer() {
        lab_test("ours-ebgp", |lab| interop(lab, Relation::EbgpPeer, SPEAKER, SPEAKER));
    }
}
