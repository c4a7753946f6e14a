//! Paths of the table as the decision process sees them.

use super::decision::{Candidate, CandidateOrigin, equally_good, ranking, select_best};
use super::peer::SourceInfo;
use super::readvertise::Relation;
use super::rib::{AttrTable, Path, Source};

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

/// The paths of one prefix that packets may be shared among, the best first.
pub fn equal_to_best(attrs: &AttrTable, sources: &[SourceInfo], paths: &[Path]) -> Vec<Path> {
    let candidates: Vec<Candidate> = paths.iter().map(|path| candidate(attrs, sources, path)).collect();
    let equal = equally_good(&candidates);
    ranking(&candidates).into_iter().filter(|index| equal.contains(index)).map(|index| paths[index]).collect()
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
