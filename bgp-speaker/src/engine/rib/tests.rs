use super::*;
use bgp_proto::{AsPath, Asn, Origin, PathAttributes};
use bytes::BytesMut;

const KEY: &[u8] = &[24, 10, 0, 0];

pub(super) fn attr(attrs: &mut AttrTable, med: u32) -> AttrId {
    let set = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath::default()),
        med: Some(med),
        ..PathAttributes::default()
    };
    let mut wire = BytesMut::new();
    set.encode(&crate::engine::wire::canonical_params(), &mut wire);
    let identity = LoopIdentity { asn: Asn(64512), cluster_id: None };
    attrs.intern(&wire, None, AttrRecord::new(&set, &identity))
}

pub(super) fn path(source: u32, attr: AttrId) -> Path {
    Path { source: Source(source), attr, path_id: 0 }
}

/// Lower MED wins.
fn decide(rib: &mut Rib, attrs: &mut AttrTable) -> Vec<Change> {
    let mut changes = Vec::new();
    let select = |attrs: &AttrTable, paths: &[Path]| {
        (0..paths.len()).min_by_key(|&i| attrs.set(paths[i].attr).record.med).unwrap()
    };
    let med = |attrs: &AttrTable, path: Path| attrs.record(path.attr).med;
    // Equal ones are left to `select`, which may say something else than this would.
    let beats = |attrs: &AttrTable, new: Path, old: Path| {
        (med(attrs, new) != med(attrs, old)).then(|| med(attrs, new) < med(attrs, old))
    };
    rib.decide(attrs, |_, _, _| true, beats, select, &mut changes, None);
    attrs.collect();
    changes
}

#[test]
fn one_batch_gives_one_change_per_prefix_whose_best_path_differs() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let (a, b) = (attr(&mut attrs, 20), attr(&mut attrs, 10));
    assert_eq!(rib.announce(&mut attrs, KEY, path(1, a)), Announced::New);
    assert_eq!(rib.announce(&mut attrs, KEY, path(2, b)), Announced::New);
    let changes = decide(&mut rib, &mut attrs);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].old, changes[0].new), (None, Some(path(2, b))));
    assert_eq!(rib.announce(&mut attrs, KEY, path(2, b)), Announced::Same);
    assert!(decide(&mut rib, &mut attrs).is_empty());
    assert_eq!((rib.path_count(), rib.best_count()), (2, 1));
}

#[test]
fn withdrawing_the_best_path_brings_the_next_one_forward() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let (a, b) = (attr(&mut attrs, 20), attr(&mut attrs, 10));
    rib.announce(&mut attrs, KEY, path(1, a));
    rib.announce(&mut attrs, KEY, path(2, b));
    decide(&mut rib, &mut attrs);
    assert!(rib.withdraw(&mut attrs, KEY, Source(2), 0));
    assert!(!rib.withdraw(&mut attrs, KEY, Source(2), 0));
    assert_eq!(decide(&mut rib, &mut attrs)[0].new, Some(path(1, a)));
    assert_eq!(attrs.len(), 1, "the attributes of the lost path are freed");
}

#[test]
fn a_change_that_is_undone_within_the_batch_is_no_change() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let a = attr(&mut attrs, 20);
    rib.announce(&mut attrs, KEY, path(1, a));
    decide(&mut rib, &mut attrs);
    rib.withdraw(&mut attrs, KEY, Source(1), 0);
    rib.announce(&mut attrs, KEY, path(1, a));
    assert_eq!(decide(&mut rib, &mut attrs), vec![]);
    assert_eq!((rib.path_count(), attrs.len()), (1, 1));
}

#[test]
fn stale_paths_are_swept_unless_announced_again() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let a = attr(&mut attrs, 20);
    let other: &[u8] = &[16, 10, 1];
    rib.announce(&mut attrs, KEY, path(1, a));
    rib.announce(&mut attrs, other, path(1, a));
    rib.announce(&mut attrs, other, path(2, a));
    decide(&mut rib, &mut attrs);
    assert_eq!(rib.mark_stale(Source(1)), 2);
    assert_eq!(rib.announce(&mut attrs, KEY, path(1, a)), Announced::Same);
    assert_eq!(rib.remove_source(&mut attrs, Source(1), true), 1);
    let changes = decide(&mut rib, &mut attrs);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].new, Some(path(2, a)));
}

#[test]
fn an_emptied_prefix_keeps_its_id_while_somebody_holds_it() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let a = attr(&mut attrs, 20);
    rib.announce(&mut attrs, KEY, path(1, a));
    decide(&mut rib, &mut attrs);
    assert_eq!(rib.remove_source(&mut attrs, Source(1), false), 1);
    assert_eq!(decide(&mut rib, &mut attrs)[0].new, None);
    rib.reclaim(|_| true);
    assert!(rib.prefixes.find(KEY).is_some());
    rib.reclaim(|_| false);
    assert!(rib.prefixes.find(KEY).is_none());
    assert_eq!((rib.prefixes.len(), rib.best_count()), (0, 0));
}

#[test]
fn many_emptied_prefixes_are_forgotten_together_once_they_are_half_of_the_table() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let a = attr(&mut attrs, 20);
    let key = |i: u32| [&[32][..], &i.to_be_bytes()].concat();
    (0..20_000).for_each(|i| _ = rib.announce(&mut attrs, &key(i), path(1, a)));
    decide(&mut rib, &mut attrs);
    let mut withdraw = |rib: &mut Rib, from, to| {
        (from..to).for_each(|i| assert!(rib.withdraw(&mut attrs, &key(i), Source(1), 0)));
        decide(rib, &mut attrs);
        rib.reclaim(|id| id.0 == 3);
    };
    withdraw(&mut rib, 0, 9_000);
    assert_eq!(rib.prefixes.len(), 20_000);
    withdraw(&mut rib, 9_000, 12_000);
    assert_eq!(
        (rib.prefixes.len(), rib.prefixes.find(&key(3)).is_some(), rib.emptied_count()),
        (8001, true, 1)
    );
    rib.reclaim(|_| false);
    assert_eq!((rib.prefixes.len(), rib.path_count()), (8000, 8000));
}

#[test]
fn an_undecided_prefix_waits() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let a = attr(&mut attrs, 20);
    rib.announce(&mut attrs, KEY, path(1, a));
    let mut changes = Vec::new();
    rib.decide(&mut attrs, |_, _, _| false, |_, _, _| None, |_, _| 0, &mut changes, None);
    assert!(changes.is_empty() && !rib.is_dirty() && rib.is_undecided(PrefixId(0)));
    rib.resume_deferred();
    assert_eq!(decide(&mut rib, &mut attrs).len(), 1);
}

proptest::proptest! {
    /// Any sequence of operations leaves what a plain map of maps would hold.
    #[test]
    fn agrees_with_a_naive_model(
        operations in proptest::collection::vec((0u8..4, 0u8..6, 1u32..5, 0u32..4), 1..200)
    ) {
        use std::collections::BTreeMap;
        let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
        let mut model: BTreeMap<u8, BTreeMap<u32, u32>> = BTreeMap::new();
        let mut known: BTreeMap<u8, u32> = BTreeMap::new();
        for (operation, prefix, source, med) in operations {
            let key = [8, prefix];
            match operation {
                0 | 1 => {
                    let id = attr(&mut attrs, med);
                    rib.announce(&mut attrs, &key, path(source, id));
                    model.entry(prefix).or_default().insert(source, med);
                }
                2 => {
                    rib.withdraw(&mut attrs, &key, Source(source), 0);
                    model.entry(prefix).or_default().remove(&source);
                }
                _ => {
                    for change in decide(&mut rib, &mut attrs) {
                        let key = rib.prefixes.key(change.id)[1];
                        match change.new {
                            Some(path) => known.insert(key, attrs.set(path.attr).record.med),
                            None => known.remove(&key),
                        };
                    }
                    rib.reclaim(|_| false);
                    let best: BTreeMap<u8, u32> = model
                        .iter()
                        .filter_map(|(prefix, paths)| Some((*prefix, *paths.values().min()?)))
                        .collect();
                    proptest::prop_assert_eq!(&known, &best);
                }
            }
        }
        proptest::prop_assert_eq!(rib.path_count(), model.values().map(BTreeMap::len).sum::<usize>());
    }
}

#[test]
fn paths_of_one_source_are_told_apart_by_their_identifiers() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let (a, b) = (attr(&mut attrs, 20), attr(&mut attrs, 10));
    let numbered = |attr, path_id| Path { path_id, ..path(1, attr) };
    assert_eq!(rib.announce(&mut attrs, KEY, numbered(a, 7)), Announced::New);
    assert_eq!(rib.announce(&mut attrs, KEY, numbered(b, 8)), Announced::New);
    assert_eq!(decide(&mut rib, &mut attrs)[0].new, Some(numbered(b, 8)));
    assert_eq!(rib.announce(&mut attrs, KEY, numbered(a, 8)), Announced::Replaced);
    assert!(!rib.withdraw(&mut attrs, KEY, Source(1), 9));
    assert!(rib.withdraw(&mut attrs, KEY, Source(1), 7));
    assert_eq!(decide(&mut rib, &mut attrs)[0].new, Some(numbered(a, 8)));
    assert_eq!((rib.path_count(), rib.remove_source(&mut attrs, Source(1), false)), (1, 1));
}

#[test]
fn of_one_prefix_a_source_may_have_so_many_paths_and_is_asked_again_when_there_is_room() {
    let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
    let a = attr(&mut attrs, 1);
    let max = PATHS_OF_PREFIX_MAX as u32;
    let mut batch = Batch::default();
    let mut apply = |rib: &mut Rib, source, ids: std::ops::Range<u32>, is_announced: bool| {
        ids.for_each(|id| batch.push(KEY, is_announced.then_some(a), id));
        rib.apply(&mut attrs, Source(source), &mut batch)
    };
    let applied = apply(&mut rib, 1, 0..max + 50, true);
    assert_eq!((applied.new, applied.refused), (max, 50));
    assert_eq!(apply(&mut rib, 1, 0..max, true).refused, 0, "those that it has may change");
    assert_eq!(apply(&mut rib, 2, 0..max, true).refused, 0, "others have a share of their own");
    let half = max / 2;
    assert!(!apply(&mut rib, 1, 1..half, false).has_room_again);
    assert!(apply(&mut rib, 1, half..half + 1, false).has_room_again);
    assert!(!apply(&mut rib, 1, half + 1..max, false).has_room_again, "it is asked once");
    // What is stale does not stand in the way of a neighbour that is back.
    apply(&mut rib, 1, 0..max, true);
    rib.mark_stale(Source(1));
    assert_eq!(apply(&mut rib, 1, max..2 * max, true).refused, 0);
    assert_eq!(rib.path_count(), 3 * max as usize);
}
