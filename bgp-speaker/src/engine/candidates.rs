//! Paths of the table as the decision process sees them.

use super::decision::{Candidate, CandidateOrigin, equally_good, ranking, select_best};
use super::peer::SourceInfo;
use super::readvertise::Relation;
use super::rib::{AttrTable, Path, PrefixId, Rib, Source};
use bgp_proto::NextHop;

/// One path.
#[inline]
pub fn candidate(attrs: &AttrTable, sources: &[SourceInfo], path: &Path) -> Candidate {
    Candidate {
        record: attrs.record(path.attr),
        origin: origin_of(sources, path.source),
        path_id: path.path_id,
    }
}

/// Route selection of one prefix: the index of the best path.
pub fn select(attrs: &AttrTable, sources: &[SourceInfo], paths: &[Path]) -> usize {
    let candidates: Vec<Candidate> = paths.iter().map(|path| candidate(attrs, sources, path)).collect();
    select_best(&candidates).map_or(0, |selected| selected.index)
}

/// The next hops of a prefix's paths that are as good as the best one, except for its own, `best`; the next best first.
/// Several reflectors tell of one next hop, which is there once.
pub fn other_next_hops(
    rib: &Rib,
    attrs: &AttrTable,
    sources: &[SourceInfo],
    id: PrefixId,
    best: NextHop,
) -> Vec<NextHop> {
    let others = rib.paths(id).skip(1).map(|(path, _)| attrs.set(path.attr).next_hop);
    if !others.flatten().any(|next_hop| next_hop != best) {
        return Vec::new();
    }
    let paths: Vec<Path> = rib.paths(id).map(|(path, _)| path).collect();
    let candidates: Vec<Candidate> = paths.iter().map(|path| candidate(attrs, sources, path)).collect();
    let mut next_hops: Vec<NextHop> = Vec::new();
    for index in equally_good(&candidates) {
        let next_hop = attrs.set(paths[index].attr).next_hop;
        next_hops.extend(next_hop.filter(|new| *new != best && !next_hops.contains(new)));
    }
    next_hops
}

/// All paths of one prefix, the best first.
pub fn best_first(attrs: &AttrTable, sources: &[SourceInfo], paths: &[Path]) -> Vec<Path> {
    let candidates: Vec<Candidate> = paths.iter().map(|path| candidate(attrs, sources, path)).collect();
    ranking(&candidates).into_iter().map(|index| paths[index]).collect()
}

#[inline]
fn origin_of(sources: &[SourceInfo], source: Source) -> CandidateOrigin {
    match source {
        Source::LOCAL => return CandidateOrigin::Local,
        Source::NETWORK => return CandidateOrigin::Network,
        Source::ELEVATED => return CandidateOrigin::Kernel { is_elevated: true },
        Source::KERNEL => return CandidateOrigin::Kernel { is_elevated: false },
        _ => {}
    }
    let info = &sources[source.0 as usize];
    CandidateOrigin::Peer {
        is_external: info.relation == Relation::External,
        router_id: info.router_id,
        address: info.address,
        port: info.port,
    }
}
