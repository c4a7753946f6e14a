//! Route selection: RFC 4271 §9.1.2.2 as an elimination over all candidates of a prefix.
//!
//! MED compares only paths of the same neighbouring AS, so a pairwise order is not transitive and a sort
//! would let the winner depend on arrival order. Each step here removes the losers among all that are left;
//! any order of candidates gives the same winner, and the step that left one alone says why.
//!
//! Differences from the letter of the RFC, all customary: an absent LOCAL_PREF counts as 100; what we
//! originate wins before anything is compared, and a route that another program has put into the kernel loses,
//! unless it is elevated: then LOCAL_PREF decides; the ORIGINATOR_ID stands in for the BGP Identifier, and the
//! CLUSTER_LIST length is compared before the peer address (RFC 4456 §9). The interior cost to the next
//! hop (step e) is equal for all: on the networks this is made for every next hop is one link away.

use super::rib::AttrRecord;
use bgp_proto::BgpId;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;
use std::net::IpAddr;

/// One path, with what the steps read.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Of its attributes.
    pub record: AttrRecord,
    /// Where it came from.
    pub origin: CandidateOrigin,
    /// ADD-PATH identifier: the very last resort.
    pub path_id: u32,
}

/// Who gave us the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateOrigin {
    /// We originate it.
    Local,
    /// It is the network of one of our interfaces.
    Network,
    /// Another program has put it into the kernel.
    Kernel {
        /// With a higher priority than normal.
        is_elevated: bool,
    },
    /// A neighbour.
    Peer {
        /// Of another AS?
        is_external: bool,
        /// Its BGP Identifier.
        router_id: BgpId,
        /// Its address.
        address: IpAddr,
        /// Its port, where it shares the address.
        port: u16,
    },
}

/// The step that left one candidate alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecisionStep {
    /// There was no other.
    OnlyPath,
    /// Our own network or announcement wins, and what is only in the kernel loses.
    SourceKind,
    /// §9.1.1: higher LOCAL_PREF.
    LocalPref,
    /// §9.1.2.2 a: shorter AS_PATH.
    AsPathLength,
    /// §9.1.2.2 b: lower ORIGIN.
    Origin,
    /// §9.1.2.2 c: lower MED among paths of one neighbouring AS.
    Med,
    /// §9.1.2.2 d: eBGP before iBGP.
    External,
    /// §9.1.2.2 f: lower BGP Identifier, or ORIGINATOR_ID.
    RouterId,
    /// RFC 4456 §9: shorter CLUSTER_LIST.
    ClusterListLength,
    /// §9.1.2.2 g: lower peer address.
    PeerAddress,
    /// Of two neighbours with one address: lower port.
    PeerPort,
    /// RFC 7911: lower path identifier.
    PathId,
}

impl fmt::Display for DecisionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecisionStep::OnlyPath => "being the only path",
            DecisionStep::SourceKind => {
                "where it is from (own networks and announcements win over neighbours, they over the kernel)"
            }
            DecisionStep::LocalPref => {
                "LOCAL_PREF (the higher one wins, a neighbour's of equals with the kernel)"
            }
            DecisionStep::AsPathLength => "the length of AS_PATH (the shorter one wins)",
            DecisionStep::Origin => "ORIGIN (IGP wins over EGP over incomplete)",
            DecisionStep::Med => "MULTI_EXIT_DISC (the lower one wins among paths from one AS)",
            DecisionStep::External => "the kind of session (eBGP wins over iBGP)",
            DecisionStep::RouterId => "the identifier of its originator (the lower one wins)",
            DecisionStep::ClusterListLength => "the length of CLUSTER_LIST (the shorter one wins)",
            DecisionStep::PeerAddress => "the neighbour's address (the lower one wins)",
            DecisionStep::PeerPort => "the neighbour's port (the lower one wins)",
            DecisionStep::PathId => "the path identifier (the lower one wins)",
        })
    }
}

/// The winner among at least one candidate, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its index.
    pub index: usize,
    /// The last step that removed another.
    pub decided_by: DecisionStep,
}

/// Selects the best candidate; `None` if there is none.
pub fn select_best(candidates: &[Candidate]) -> Option<Selected> {
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    let mut decided_by = DecisionStep::OnlyPath;
    for step in steps() {
        if left.len() <= 1 {
            break;
        }
        let before = left.len();
        eliminate(step, candidates, &mut left);
        if left.len() < before {
            decided_by = step;
        }
    }
    left.first().map(|&index| Selected { index, decided_by })
}

/// All candidates, the best first: as [`select_best`] would name them if each were taken away in turn.
pub fn ranking(candidates: &[Candidate]) -> Vec<usize> {
    let before = |i: usize| BEFORE_MED.map(|step| rank(step, &candidates[i]));
    let after = |i: usize| AFTER_MED.map(|step| rank(step, &candidates[i]));
    let of_as = |i: usize| candidates[i].record.neighbor_as;
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|&i| (before(i), of_as(i), candidates[i].record.med, after(i)));
    let mut ranked = Vec::with_capacity(order.len());
    for tier in order.chunk_by(|&a, &b| before(a) == before(b)) {
        // By MED, only the first of each AS is left to be compared; when it is taken, the next one is.
        let mut left: BinaryHeap<_> = tier
            .chunk_by(|&a, &b| of_as(a) == of_as(b))
            .map(|rest| Reverse((after(rest[0]), rest)))
            .collect();
        while let Some(Reverse((_, rest))) = left.pop() {
            ranked.push(rest[0]);
            if let Some(next) = rest.get(1) {
                left.push(Reverse((after(*next), &rest[1..])));
            }
        }
    }
    ranked
}

/// Those that packets may be shared among: what is left when all that makes one path better than another has been
/// compared, and mere tie-breakers are to come (those after [`DecisionStep::External`]). The best comes first.
pub fn equally_good(candidates: &[Candidate]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    for step in steps().take_while(|step| *step <= DecisionStep::External) {
        eliminate(step, candidates, &mut left);
    }
    left.sort_by_cached_key(|&i| AFTER_MED.map(|step| rank(step, &candidates[i])));
    left
}

/// The step by which each candidate lost; `None` for the best.
pub fn losses(candidates: &[Candidate]) -> Vec<Option<DecisionStep>> {
    let mut losses = vec![None; candidates.len()];
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    for step in steps() {
        let before = left.clone();
        eliminate(step, candidates, &mut left);
        before.iter().filter(|index| !left.contains(index)).for_each(|index| losses[*index] = Some(step));
    }
    losses
}

/// Is a path that comes new to a prefix better than the best one until now? `None`: these two alone do not tell.
///
/// Before MED, each step compares all paths alike: who loses to the best there can win nothing further down, and who
/// wins there leaves nobody beside it.
pub fn beats(new: &Candidate, best: &Candidate) -> Option<bool> {
    let is_learned = |candidate: &Candidate| matches!(candidate.origin, CandidateOrigin::Peer { .. });
    if !is_learned(new) || !is_learned(best) {
        return None;
    }
    let key = |record: &AttrRecord| (Reverse(record.local_pref), record.as_path_len, record.origin);
    match key(&new.record).cmp(&key(&best.record)) {
        Ordering::Equal => None,
        order => Some(order == Ordering::Less),
    }
}

const BEFORE_MED: [DecisionStep; 4] =
    [DecisionStep::SourceKind, DecisionStep::LocalPref, DecisionStep::AsPathLength, DecisionStep::Origin];
const AFTER_MED: [DecisionStep; 6] = [
    DecisionStep::External,
    DecisionStep::RouterId,
    DecisionStep::ClusterListLength,
    DecisionStep::PeerAddress,
    DecisionStep::PeerPort,
    DecisionStep::PathId,
];

fn steps() -> impl Iterator<Item = DecisionStep> {
    BEFORE_MED.into_iter().chain([DecisionStep::Med]).chain(AFTER_MED)
}

/// Removes the losers of a step.
fn eliminate(step: DecisionStep, candidates: &[Candidate], left: &mut Vec<usize>) {
    if step == DecisionStep::Med {
        return remove_by_med(candidates, left);
    }
    let best = left.iter().map(|&i| rank(step, &candidates[i])).min();
    left.retain(|&i| Some(rank(step, &candidates[i])) == best);
}

/// Lower is better.
fn rank(step: DecisionStep, candidate: &Candidate) -> u128 {
    let record = candidate.record;
    match (step, candidate.origin) {
        (DecisionStep::SourceKind, CandidateOrigin::Network) => 0,
        (DecisionStep::SourceKind, CandidateOrigin::Local) => 1,
        (
            DecisionStep::SourceKind,
            CandidateOrigin::Peer { .. } | CandidateOrigin::Kernel { is_elevated: true },
        ) => 2,
        (DecisionStep::SourceKind, CandidateOrigin::Kernel { is_elevated: false }) => 3,
        (DecisionStep::LocalPref, origin) => {
            let is_kernel = matches!(origin, CandidateOrigin::Kernel { .. });
            u128::from(u32::MAX - record.local_pref) << 1 | u128::from(is_kernel)
        }
        (DecisionStep::AsPathLength, _) => u128::from(record.as_path_len),
        (DecisionStep::Origin, _) => u128::from(record.origin),
        (DecisionStep::ClusterListLength, _) => u128::from(record.cluster_list_len),
        (DecisionStep::PathId, _) => u128::from(candidate.path_id),
        (DecisionStep::External, CandidateOrigin::Peer { is_external, .. }) => u128::from(!is_external),
        (DecisionStep::RouterId, CandidateOrigin::Peer { router_id, .. }) => {
            u128::from(record.originator.unwrap_or(router_id).0)
        }
        (DecisionStep::PeerAddress, CandidateOrigin::Peer { address, .. }) => match address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        },
        (DecisionStep::PeerPort, CandidateOrigin::Peer { port, .. }) => u128::from(port),
        (DecisionStep::OnlyPath | DecisionStep::Med, _)
        | (_, CandidateOrigin::Local | CandidateOrigin::Network | CandidateOrigin::Kernel { .. }) => 0,
    }
}

/// Removes each path for which there is one of the same neighbouring AS with a lower MED.
fn remove_by_med(candidates: &[Candidate], left: &mut Vec<usize>) {
    let all = left.clone();
    let key = |i: usize| (candidates[i].record.neighbor_as, candidates[i].record.med);
    left.retain(|&i| {
        let (neighbor_as, med) = key(i);
        !all.iter().any(|&other| key(other).0 == neighbor_as && key(other).1 < med)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rib::AttrRecord;
    use bgp_proto::Asn;

    fn record() -> AttrRecord {
        AttrRecord {
            local_pref: 100,
            as_path_len: 2,
            origin: 0,
            med: 0,
            neighbor_as: Some(Asn(65001)),
            originator: None,
            cluster_list_len: 0,
            has_own_as: false,
            has_own_cluster: false,
            is_internal: false,
            no_export: false,
            no_advertise: false,
        }
    }

    fn peer(last_octet: u8, is_external: bool) -> CandidateOrigin {
        CandidateOrigin::Peer {
            is_external,
            router_id: BgpId(u32::from(last_octet)),
            address: IpAddr::from([10, 0, 0, last_octet]),
            port: 179,
        }
    }

    /// The better of two records, both ways round, must be the first and by this step.
    fn assert_wins(
        step: DecisionStep,
        better: (AttrRecord, CandidateOrigin, u32),
        worse: (AttrRecord, CandidateOrigin, u32),
    ) {
        let candidate = |of: &'static (AttrRecord, CandidateOrigin, u32)| Candidate {
            record: of.0,
            origin: of.1,
            path_id: of.2,
        };
        let (better, worse) = (&*Box::leak(Box::new(better)), &*Box::leak(Box::new(worse)));
        let forward = [candidate(better), candidate(worse)];
        assert_eq!(select_best(&forward), Some(Selected { index: 0, decided_by: step }));
        let backward = [candidate(worse), candidate(better)];
        assert_eq!(select_best(&backward), Some(Selected { index: 1, decided_by: step }));
    }

    #[test]
    fn each_step_decides_when_all_before_it_are_equal() {
        let base = (record(), peer(2, false), 0);
        let with = |change: fn(&mut AttrRecord)| {
            let mut changed = record();
            change(&mut changed);
            (changed, peer(2, false), 0)
        };
        assert_wins(
            DecisionStep::SourceKind,
            (record(), CandidateOrigin::Local, 0),
            with(|r| r.local_pref = 900),
        );
        for (winner, loser) in [
            (CandidateOrigin::Network, CandidateOrigin::Local),
            (CandidateOrigin::Local, CandidateOrigin::Kernel { is_elevated: true }),
            (peer(9, false), CandidateOrigin::Kernel { is_elevated: false }),
            (CandidateOrigin::Kernel { is_elevated: true }, CandidateOrigin::Kernel { is_elevated: false }),
        ] {
            let mut higher = with(|r| r.local_pref = 900);
            higher.1 = loser;
            assert_wins(DecisionStep::SourceKind, (record(), winner, 0), higher);
        }
        // Of equal priorities a neighbour's, though its path is longer.
        let elevated = (record(), CandidateOrigin::Kernel { is_elevated: true }, 0);
        assert_wins(DecisionStep::LocalPref, with(|r| r.as_path_len = 9), elevated);
        let mut elevated = with(|r| r.local_pref = 101);
        elevated.1 = CandidateOrigin::Kernel { is_elevated: true };
        assert_wins(DecisionStep::LocalPref, elevated, with(|r| r.as_path_len = 1));
        assert_wins(DecisionStep::LocalPref, with(|r| r.local_pref = 101), with(|r| r.as_path_len = 1));
        assert_wins(DecisionStep::AsPathLength, with(|r| r.as_path_len = 1), base);
        assert_wins(DecisionStep::Origin, base, with(|r| r.origin = 1));
        assert_wins(DecisionStep::Med, base, with(|r| r.med = 1));
        assert_wins(DecisionStep::External, (record(), peer(9, true), 0), base);
        assert_wins(DecisionStep::RouterId, base, (record(), peer(3, false), 0));
        assert_wins(DecisionStep::RouterId, with(|r| r.originator = Some(BgpId(1))), base);
        assert_wins(
            DecisionStep::ClusterListLength,
            with(|r| (r.originator, r.cluster_list_len) = (Some(BgpId(1)), 1)),
            with(|r| (r.originator, r.cluster_list_len) = (Some(BgpId(1)), 2)),
        );
        let originated = |peer| {
            let mut record = record();
            record.originator = Some(BgpId(1));
            (record, peer, 0)
        };
        assert_wins(DecisionStep::PeerAddress, originated(peer(2, false)), originated(peer(3, false)));
        let at_port = |port| {
            let CandidateOrigin::Peer { is_external, router_id, address, .. } = peer(2, false) else {
                unreachable!("a peer")
            };
            (record(), CandidateOrigin::Peer { is_external, router_id, address, port }, 0)
        };
        assert_wins(DecisionStep::PeerPort, at_port(150), at_port(166));
        assert_wins(DecisionStep::PathId, (record(), peer(2, false), 1), (record(), peer(2, false), 2));
    }

    #[test]
    fn each_loser_is_told_its_step() {
        let with = |change: fn(&mut AttrRecord), last| {
            let mut record = record();
            change(&mut record);
            Candidate { record, origin: peer(last, false), path_id: 0 }
        };
        let candidates =
            [with(|_| (), 9), with(|r| r.local_pref = 50, 1), with(|r| r.med = 7, 2), with(|_| (), 5)];
        let expected =
            [Some(DecisionStep::RouterId), Some(DecisionStep::LocalPref), Some(DecisionStep::Med), None];
        assert_eq!(losses(&candidates), expected);
        assert_eq!(losses(&candidates[..1]), [None]);
    }

    #[test]
    fn paths_are_equally_good_until_the_tie_breakers() {
        let with = |change: fn(&mut AttrRecord), last, is_external| {
            let mut record = record();
            change(&mut record);
            Candidate { record, origin: peer(last, is_external), path_id: 0 }
        };
        // Another router, another AS, a longer way through reflectors: all the same.
        let equal = [
            with(|_| (), 9, true),
            with(|r| (r.neighbor_as, r.med) = (Some(Asn(65002)), 3), 5, true),
            with(|r| r.cluster_list_len = 2, 1, true),
        ];
        assert_eq!(equally_good(&equal), [2, 1, 0], "in the order of the tie-breakers");
        for worse in [
            with(|r| r.local_pref = 99, 1, true),
            with(|r| r.as_path_len = 3, 1, true),
            with(|r| r.origin = 1, 1, true),
            with(|r| r.med = 1, 1, true),
            with(|_| (), 1, false),
        ] {
            let candidates: Vec<Candidate> = [worse].into_iter().chain(equal.clone()).collect();
            assert_eq!(equally_good(&candidates), [3, 2, 1], "{:?}", candidates[0]);
        }
        let local = Candidate { record: record(), origin: CandidateOrigin::Local, path_id: 0 };
        assert_eq!(equally_good(&[equal[0].clone(), local]), [1]);
    }

    #[test]
    fn med_of_different_neighbour_ases_is_not_compared() {
        let mut other = record();
        (other.neighbor_as, other.med) = (Some(Asn(65002)), 50);
        assert_wins(DecisionStep::RouterId, (other, peer(1, false), 0), (record(), peer(2, false), 0));
    }

    proptest::proptest! {
        /// What two paths tell is what all paths tell.
        #[test]
        fn the_short_way_agrees_with_the_long_one(
            paths in proptest::collection::vec((0u32..3, 0u32..3, 0u8..2, 0u32..3, 0u32..3, 1u8..5, 0u8..9), 2..6)
        ) {
            let candidates: Vec<Candidate> = paths
                .iter()
                .map(|&(local_pref, as_path_len, origin, med, neighbor_as, last, kind)| Candidate {
                    record: AttrRecord {
                        local_pref,
                        as_path_len,
                        origin,
                        med,
                        neighbor_as: Some(Asn(neighbor_as)),
                        ..record()
                    },
                    origin: if kind == 0 { CandidateOrigin::Local } else { peer(last, kind < 5) },
                    path_id: 0,
                })
                .collect();
            let mut left: Vec<usize> = (0..candidates.len()).collect();
            for best in ranking(&candidates) {
                let rest: Vec<Candidate> = left.iter().map(|&i| candidates[i].clone()).collect();
                proptest::prop_assert_eq!(left.remove(select_best(&rest).unwrap().index), best);
            }
            let (new, before) = candidates.split_last().unwrap();
            let best = select_best(before).unwrap().index;
            if let Some(is_better) = beats(new, &before[best]) {
                let expected = if is_better { before.len() } else { best };
                proptest::prop_assert_eq!(select_best(&candidates).unwrap().index, expected);
            }
        }
    }

    #[test]
    fn the_winner_does_not_depend_on_the_order_where_med_is_not_transitive() {
        // a beats b by router id, b beats c by router id, c beats a by MED.
        let (mut a, b, mut c) = (record(), record(), record());
        (a.neighbor_as, a.med) = (Some(Asn(65002)), 10);
        (c.neighbor_as, c.med) = (Some(Asn(65002)), 5);
        let all = [
            Candidate { record: a, origin: peer(1, false), path_id: 0 },
            Candidate { record: b, origin: peer(2, false), path_id: 0 },
            Candidate { record: c, origin: peer(3, false), path_id: 0 },
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let candidates: Vec<_> = order.iter().map(|&i| all[i].clone()).collect();
            let best = select_best(&candidates).unwrap();
            assert_eq!(order[best.index], 1, "{order:?}");
        }
    }
}
