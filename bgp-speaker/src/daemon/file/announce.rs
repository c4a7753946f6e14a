//! `[announce]`.

use super::reader::{Reader, Section};
use super::values;
use crate::config::Announcement;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// What the file originates, by prefix.
pub(super) fn read(reader: &Reader<'_>, section: Option<Section<'_>>) -> BTreeMap<IpNet, Announcement> {
    let Some(mut section) = section else {
        return BTreeMap::new();
    };
    let blocks = section.list("blocks", values::prefix).unwrap_or_default();
    let blocks = blocks.into_iter().map(|(path, prefix)| (path, Announcement::block(prefix)));
    let routes = section.sections("routes").into_iter().filter_map(|route| {
        let path = route.key_path("prefix");
        Some((path, read_route(route)?))
    });
    let routes: Vec<(String, Announcement)> = routes.collect();
    section.finish();

    let mut announcements = BTreeMap::new();
    let mut paths: BTreeMap<IpNet, String> = BTreeMap::new();
    for (path, announcement) in blocks.chain(routes) {
        let prefix = announcement.prefix;
        if let Some(first) = paths.get(&prefix) {
            let line = reader.line(first);
            reader.report(&path, format!("{prefix} is already {first} (line {line})"));
            continue;
        }
        paths.insert(prefix, path);
        announcements.insert(prefix, announcement);
    }
    announcements
}

fn read_route(mut section: Section<'_>) -> Option<Announcement> {
    let prefix = section.required("prefix", values::prefix);
    let med = section.read("med", values::integer(0..=u32::MAX));
    let local_pref = section.read("local_pref", values::integer(0..=u32::MAX));
    let communities = section.list("communities", values::notation("a community such as \"64512:100\""));
    let large_communities =
        section.list("large_communities", values::notation("a large community such as \"64512:1:100\""));
    section.finish();
    let mut announcement = Announcement::route(prefix?);
    announcement.med = med;
    announcement.local_pref = local_pref;
    announcement.communities = without_paths(communities);
    announcement.large_communities = without_paths(large_communities);
    Some(announcement)
}

fn without_paths<T>(list: Option<Vec<(String, T)>>) -> Vec<T> {
    list.unwrap_or_default().into_iter().map(|(_, value)| value).collect()
}
