//! A route with the actions of filters carried out.

use super::{FilterRoute, applies_to};
use crate::config::filter::{Action, CommunityPattern, CommunityValue, NextHopChange};
use bgp_proto::{NextHop, PathAttributes};
use ipnet::IpNet;
use std::net::IpAddr;

/// AS numbers in a path that surely fits an attribute.
const PATH_MAX: usize = 8000;

/// What has become of a route so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRoute {
    /// Its attributes.
    pub attributes: PathAttributes,
    /// Its next hop, if it was set.
    pub next_hop: Option<NextHopChange>,
    /// Was the MED set? Then it goes to another AS too.
    pub has_set_med: bool,
}

impl ChangedRoute {
    /// Nothing has been changed yet.
    pub fn new(attributes: PathAttributes) -> Self {
        Self { attributes, next_hop: None, has_set_med: false }
    }

    /// Carries out one action, on a route to this prefix.
    pub fn apply(&mut self, action: &Action, prefix: &IpNet) {
        match action {
            Action::SetNextHop(change) if applies_to(*change, prefix) => self.next_hop = Some(*change),
            _ => self.change_attributes(action),
        }
    }

    /// Carries out one action as far as it is about attributes.
    pub fn change_attributes(&mut self, action: &Action) {
        let attributes = &mut self.attributes;
        match action {
            Action::SetCommunities(values) => {
                attributes.communities.clear();
                attributes.extended_communities.clear();
                attributes.large_communities.clear();
                values.iter().for_each(|value| add(attributes, *value));
            }
            Action::AddCommunities(values) => values.iter().for_each(|value| add(attributes, *value)),
            Action::DeleteCommunities(patterns) => delete(attributes, patterns),
            Action::SetLocalPref(local_pref) => attributes.local_pref = Some(*local_pref),
            Action::SetMed(med) => {
                attributes.med = *med;
                self.has_set_med = true;
            }
            Action::Prepend(asns) => {
                let path = attributes.as_path.get_or_insert_default();
                if path.asns().count() + asns.len() <= PATH_MAX {
                    asns.iter().rev().for_each(|asn| path.prepend(*asn, 1));
                }
            }
            Action::SetNextHop(_) => {}
        }
    }

    /// The address that the next hop was set to.
    pub fn next_hop_address(&self) -> Option<NextHop> {
        match self.next_hop? {
            NextHopChange::Address(IpAddr::V4(v4)) => Some(NextHop::V4(v4)),
            NextHopChange::Address(IpAddr::V6(v6)) => Some(NextHop::V6(v6)),
            NextHopChange::SelfAddress | NextHopChange::Unchanged => None,
        }
    }

    /// How a route looks after this.
    pub(super) fn seen_as<'a>(&'a self, route: &FilterRoute<'a>) -> FilterRoute<'a> {
        let next_hop = self.next_hop_address().or(route.next_hop);
        FilterRoute { attributes: &self.attributes, next_hop, ..*route }
    }
}

/// At the end, once, and as many as an attribute has room for.
fn add(attributes: &mut PathAttributes, value: CommunityValue) {
    fn push<T: PartialEq>(values: &mut Vec<T>, value: T) {
        if !values.contains(&value) && (values.len() + 1) * size_of::<T>() <= usize::from(u16::MAX) {
            values.push(value);
        }
    }
    match value {
        CommunityValue::Standard(community) => push(&mut attributes.communities, community),
        CommunityValue::Extended(community) => push(&mut attributes.extended_communities, community),
        CommunityValue::Large(community) => push(&mut attributes.large_communities, community),
    }
}

fn delete(attributes: &mut PathAttributes, patterns: &[CommunityPattern]) {
    attributes.communities.retain(|community| !patterns.iter().any(|p| p.fits_standard(*community)));
    attributes.extended_communities.retain(|community| !patterns.iter().any(|p| p.fits_extended(*community)));
    attributes.large_communities.retain(|community| !patterns.iter().any(|p| p.fits_large(*community)));
}
