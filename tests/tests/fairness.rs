//! Who joins, or does not read, delays nobody by more than a slice.

use bgp_lab::bench::prefixes::PrefixSpace;
use bgp_lab::bench::rig::Rig;
use bgp_lab::bench::routes::{AttributeSet, internet_feed};
use bgp_lab::bench::site::next_hop;

const PREFIXES: usize = 100_000;
/// Octets that one slice of a walk may come to: 8192 prefixes, of which a few share an UPDATE each.
const SLICE_OCTETS: usize = 8192 * 100;

/// Clients 0 and 1 are up and hold the table of client 0.
fn loaded() -> (Rig, PrefixSpace) {
    let space = PrefixSpace::internet_like(PREFIXES);
    let mut rig = Rig::with_clients(2);
    rig.stream(0, &internet_feed(&space, 1, next_hop(0), |_| 100).announce);
    (rig, space)
}

/// A route of client 0 changes: the very turn that does a slice of something else also tells client 1.
fn turn_with_a_change(rig: &mut Rig, space: &PrefixSpace, med: u32) -> Vec<usize> {
    rig.receive(0, &AttributeSet::with_med(next_hop(0), 100, med).announce(space, [7]));
    let sent = rig.turn();
    assert!((30..200).contains(&sent[1]), "turn {med}: {sent:?}");
    sent
}

#[test]
fn a_joining_client_delays_changes_to_others_by_no_more_than_a_slice() {
    let (mut rig, space) = loaded();
    let joining = rig.connect();
    let (mut turns, mut octets) = (0, 0);
    loop {
        turns += 1;
        let sent = turn_with_a_change(&mut rig, &space, turns);
        assert!(sent[joining] <= SLICE_OCTETS, "turn {turns}: {sent:?}");
        octets += sent[joining];
        if !rig.engine.is_walking() {
            break;
        }
    }
    assert!(turns as usize >= PREFIXES / 8192, "{turns} turns");
    assert!(octets > PREFIXES * 5, "{octets} octets: the whole table");
}

#[test]
fn all_who_join_during_a_walk_share_it() {
    let (mut rig, _) = loaded();
    let mut joining = Vec::new();
    let mut sent = vec![0; 12];
    let mut turns = 0;
    while joining.len() < 10 || rig.engine.is_walking() {
        if joining.len() < 10 {
            joining.push(rig.connect());
        }
        turns += 1;
        rig.turn().iter().zip(&mut sent).for_each(|(count, sum)| *sum += count);
    }
    rig.turn().iter().zip(&mut sent).for_each(|(count, sum)| *sum += count);
    assert!(
        turns <= PREFIXES / 8192 + 3,
        "{turns} turns: a walk of their own for each would take ten times as many"
    );
    let first = sent[joining[0]];
    assert!(first > PREFIXES * 5 && joining.iter().all(|client| sent[*client] == first), "{sent:?}");
}

#[test]
fn a_client_that_stops_reading_is_detached_in_slices() {
    /// Octets of the log that are looked through in one turn.
    const SLICE: usize = 64 * 1024;
    let space = PrefixSpace::internet_like(PREFIXES);
    let mut rig = Rig::with_clients(3);
    rig.stall(2);
    let unread = rig.stream(0, &internet_feed(&space, 1, next_hop(0), |_| 100).announce);
    // It holds back a little too much from now on.
    rig.engine.limit_log(unread);
    let mut turns = 0;
    loop {
        turns += 1;
        turn_with_a_change(&mut rig, &space, turns);
        if !rig.engine.is_walking() {
            break;
        }
    }
    let slices = unread / (2 * SLICE);
    assert!(turns as usize >= slices, "{turns} turns for {unread} octets");
    assert_eq!(rig.engine.metrics().slow_sessions, 1);
    let sent = rig.resume();
    assert!((PREFIXES * 5..unread * 2).contains(&sent), "{sent} octets: the whole table, as it is now");
    assert_eq!(rig.engine.metrics().slow_sessions, 0);
}
