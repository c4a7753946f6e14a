//! Wanted against present: is the kernel's route the wanted one, and what is to be done. Pure.

use crate::kernel::{Action, Content, Hop};
use crate::model::{NextHopSet, RouteKind};
use crate::resolve::Environment;

/// What the kernel is believed to hold of ours for a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Absent,
    /// There, but not as wanted (or nothing is wanted).
    Different,
    /// As wanted.
    Equal,
}

/// What is to be done about a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Delete,
    Nothing,
    Replace,
}

/// The next step for one prefix. Until the owner has said everything it wants, a route that nobody asked for may
/// still be asked for, and stays.
pub(crate) fn step(is_wanted: bool, presence: Presence, may_delete: bool) -> Step {
    match (is_wanted, presence) {
        (true, Presence::Absent) => Step::Create,
        (true, Presence::Different) => Step::Replace,
        (true, Presence::Equal) | (false, Presence::Absent) => Step::Nothing,
        (false, Presence::Different | Presence::Equal) if may_delete => Step::Delete,
        (false, Presence::Different | Presence::Equal) => Step::Nothing,
    }
}

/// Whether a route as read back does what is wanted. How it says so does not matter: a gateway by itself and the
/// same gateway in a nexthop object are equal, and an interface that was not asked for may be any that is not
/// known to be wrong.
pub(crate) fn is_equal(wanted: &RouteKind, found: &Content, environment: &Environment) -> bool {
    match (wanted, found.action) {
        (RouteKind::Blackhole, Action::Blackhole)
        | (RouteKind::Prohibit, Action::Prohibit)
        | (RouteKind::Unreachable, Action::Unreachable) => true,
        (RouteKind::Unicast(set), Action::Unicast) => is_equal_set(set, found, environment),
        _ => false,
    }
}

fn is_equal_set(set: &NextHopSet, found: &Content, environment: &Environment) -> bool {
    if set.preferred_source() != found.preferred_source || set.mtu() != found.mtu {
        return false;
    }
    let Some(wanted) = wanted_hops(set, environment) else { return false };
    if wanted.len() != found.hops.len() {
        return false;
    }
    let has_weights = wanted.len() > 1;
    let mut is_taken = vec![false; found.hops.len()];
    wanted.iter().all(|hop| {
        let is_free_and_equal =
            |(other, taken): (&Hop, &bool)| !taken && is_equal_hop(hop, other, has_weights);
        let place = found.hops.iter().zip(&is_taken).position(is_free_and_equal);
        match place.and_then(|place| is_taken.get_mut(place)) {
            Some(taken) => !std::mem::replace(taken, true),
            None => false,
        }
    })
}

/// What the kernel should show for a set; interface 0 where it may be any. `None`: there is no way to one of them.
fn wanted_hops(set: &NextHopSet, environment: &Environment) -> Option<Vec<Hop>> {
    let hops = environment.resolve(set).ok()?;
    Some(hops.into_iter().map(|resolved| resolved.hop).collect())
}

fn is_equal_hop(wanted: &Hop, found: &Hop, has_weights: bool) -> bool {
    wanted.gateway == found.gateway
        && wanted.onlink == found.onlink
        && (wanted.interface == 0 || wanted.interface == found.interface)
        && (!has_weights || wanted.weight == found.weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Connected, Link};
    use crate::model::{InterfaceName, NextHop};

    fn environment() -> Environment {
        let mut environment = Environment::default();
        let link = |index, name: &str| Link { index, name: name.into(), is_up: true, has_carrier: true };
        let network = Connected { prefix: "10.0.0.0/24".parse().unwrap(), interface: 1 };
        environment.replace(vec![link(1, "eth0"), link(2, "eth1")], vec![network]);
        environment
    }

    fn found(hops: &[(&str, u32, u16)]) -> Content {
        let hop = |(gateway, interface, weight): &(&str, u32, u16)| Hop {
            gateway: Some(gateway.parse().unwrap()),
            interface: *interface,
            onlink: false,
            weight: *weight,
        };
        let hops = hops.iter().map(hop).collect();
        Content { action: Action::Unicast, nexthop_id: 0, hops, preferred_source: None, mtu: None }
    }

    #[test]
    fn every_combination_has_one_step() {
        use Presence::{Absent, Different, Equal};
        for (is_wanted, presence, before, after) in [
            (true, Absent, Step::Create, Step::Create),
            (true, Different, Step::Replace, Step::Replace),
            (true, Equal, Step::Nothing, Step::Nothing),
            (false, Absent, Step::Nothing, Step::Nothing),
            (false, Different, Step::Nothing, Step::Delete),
            (false, Equal, Step::Nothing, Step::Delete),
        ] {
            assert_eq!(step(is_wanted, presence, false), before, "before convergence");
            assert_eq!(step(is_wanted, presence, true), after, "after convergence");
        }
    }

    #[test]
    fn an_interface_that_was_not_asked_for_must_be_the_connected_one() {
        let wanted = RouteKind::Unicast(NextHopSet::from("10.0.0.2".parse::<std::net::IpAddr>().unwrap()));
        assert!(is_equal(&wanted, &found(&[("10.0.0.2", 1, 1)]), &environment()));
        assert!(!is_equal(&wanted, &found(&[("10.0.0.2", 2, 1)]), &environment()));
        assert!(!is_equal(&wanted, &found(&[("10.0.0.3", 1, 1)]), &environment()));
    }

    #[test]
    fn an_interface_that_cannot_be_known_may_be_any() {
        let wanted = RouteKind::Unicast(NextHopSet::from("192.0.2.1".parse::<std::net::IpAddr>().unwrap()));
        assert!(is_equal(&wanted, &found(&[("192.0.2.1", 2, 1)]), &environment()));
    }

    #[test]
    fn weights_count_only_where_there_is_a_choice() {
        let hop = |gateway: &str, weight: u8| {
            NextHop::via(gateway.parse().unwrap())
                .on(InterfaceName::new("eth0").unwrap())
                .weight(weight.try_into().unwrap())
        };
        let single = RouteKind::Unicast(NextHopSet::new([hop("10.0.0.2", 9)]).unwrap());
        assert!(is_equal(&single, &found(&[("10.0.0.2", 1, 1)]), &environment()));
        let pair = RouteKind::Unicast(NextHopSet::new([hop("10.0.0.2", 2), hop("10.0.0.3", 1)]).unwrap());
        assert!(is_equal(&pair, &found(&[("10.0.0.2", 1, 2), ("10.0.0.3", 1, 1)]), &environment()));
        assert!(!is_equal(&pair, &found(&[("10.0.0.2", 1, 1), ("10.0.0.3", 1, 2)]), &environment()));
        assert!(!is_equal(&pair, &found(&[("10.0.0.2", 1, 2)]), &environment()));
    }

    #[test]
    fn kinds_differ_from_each_other() {
        let blackhole = Content { action: Action::Blackhole, ..found(&[]) };
        assert!(is_equal(&RouteKind::Blackhole, &blackhole, &environment()));
        assert!(!is_equal(&RouteKind::Unreachable, &blackhole, &environment()));
        let unicast = RouteKind::Unicast(NextHopSet::from("10.0.0.2".parse::<std::net::IpAddr>().unwrap()));
        assert!(!is_equal(&unicast, &blackhole, &environment()));
    }
}
