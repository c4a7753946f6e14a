//! Does a condition hold for a route?

use super::FilterRoute;
use crate::config::Family;
use crate::config::filter::{CommunityPattern, Condition};
use crate::engine::rib::DEFAULT_LOCAL_PREF;
use bgp_proto::{AsPathSegmentKind, Asn, PathAttributes};
use ipnet::IpNet;
use std::net::IpAddr;

pub(super) fn holds(condition: &Condition, route: &FilterRoute<'_>) -> bool {
    let attributes = route.attributes;
    let path = attributes.as_path.as_ref();
    match condition {
        Condition::Family(family) => Family::of(&route.prefix) == *family,
        Condition::Prefix { set, negated } => set.contains(&route.prefix) != *negated,
        Condition::NextHop(networks) => is_in(networks, route.next_hop.map(|next_hop| next_hop.addr())),
        Condition::Neighbor(networks) => is_in(networks, route.neighbor),
        Condition::Session(kind) => route.session == *kind,
        Condition::Source(source) => route.source == *source,
        Condition::AsPathStart(asns) => starts_with(attributes, asns),
        Condition::AsPathContains(asns) => {
            path.is_some_and(|path| path.asns().any(|asn| asns.contains(&asn)))
        }
        Condition::AsPathOrigin(asns) => {
            path.and_then(|path| path.origin_asn()).is_some_and(|asn| asns.contains(&asn))
        }
        Condition::AsPathLength(range) => range.contains(&path.map_or(0, |path| path.path_len() as u32)),
        Condition::AllCommunities(patterns) => patterns.iter().all(|pattern| carries(attributes, pattern)),
        Condition::AnyCommunity(patterns) => patterns.iter().any(|pattern| carries(attributes, pattern)),
        Condition::Interface(patterns) => {
            route.interface.is_some_and(|name| patterns.iter().any(|pattern| pattern.fits(name)))
        }
        Condition::LocalPref(range) => range.contains(&attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)),
        Condition::Med(range) => range.contains(&attributes.med.unwrap_or(0)),
    }
}

fn is_in(networks: &[IpNet], address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
}

/// An AS_SET has no order: nothing that is one starts with a sequence of several.
fn starts_with(attributes: &PathAttributes, asns: &[Asn]) -> bool {
    let segments = attributes.as_path.iter().flat_map(|path| path.segments());
    let sequences = segments.take_while(|segment| segment.kind == AsPathSegmentKind::Sequence);
    let mut first = sequences.flat_map(|segment| segment.asns.iter());
    asns.iter().all(|asn| first.next() == Some(asn))
}

fn carries(attributes: &PathAttributes, pattern: &CommunityPattern) -> bool {
    attributes.communities.iter().any(|community| pattern.fits_standard(*community))
        || attributes.large_communities.iter().any(|community| pattern.fits_large(*community))
        || attributes.extended_communities.iter().any(|community| pattern.fits_extended(*community))
}
