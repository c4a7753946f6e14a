//! Import filters: the prefixes of an UPDATE, sorted by what becomes of them.

use super::Engine;
use crate::config::Family;
use crate::config::filter::RouteSource;
use crate::engine::policy::{ChangedRoute, FilterRoute, Policy, RuleId};
use crate::engine::rib::{AttrId, Source};
use crate::engine::update_group::session_kind;
use crate::engine::wire::decode_canonical;
use bgp_proto::{NlriIter, SessionParams};
use ipnet::IpNet;

/// Prefixes of one UPDATE that fare alike, in the encoding in which they were received.
struct Outcome {
    /// The rules that change them; `None`: they do not pass.
    changes: Option<Vec<RuleId>>,
    /// The next hop depends on the family of the prefix, which one UPDATE has one of; so one prefix stands for all.
    example: IpNet,
    nlri: Vec<u8>,
}

impl Engine {
    /// Does this source have filters to pass?
    pub(super) fn filters_import(&self, source: Source) -> bool {
        self.peer(source).is_some_and(|peer| matches!(peer.import, Policy::Filters(_)))
    }

    /// Prefixes that were announced with these attributes, as far as they pass, and with what the filters make of it.
    pub(super) fn announce_filtered(
        &mut self,
        source: Source,
        family: Family,
        nlri: &[u8],
        attr: AttrId,
        params: &SessionParams,
    ) {
        let Some(policy) = self.peer(source).map(|peer| peer.import.clone()) else { return };
        for outcome in self.judge_import(&policy, source, family, nlri, attr, params) {
            let attr = match &outcome.changes {
                None => None,
                Some(changes) if changes.is_empty() => Some(attr),
                Some(changes) => Some(self.changed(&policy, changes, attr, &outcome.example)),
            };
            match attr {
                Some(attr) => self.announce_all(family, &outcome.nlri, attr, params),
                None => self.withdraw_all(family, &outcome.nlri, params),
            }
        }
    }

    fn judge_import(
        &self,
        policy: &Policy,
        source: Source,
        family: Family,
        nlri: &[u8],
        attr: AttrId,
        params: &SessionParams,
    ) -> Vec<Outcome> {
        let set = self.attrs.set(attr);
        let info = &self.sources[source.0 as usize];
        let attributes = decode_canonical(set.wire);
        let judge = |prefix: IpNet| {
            let route = FilterRoute {
                prefix,
                attributes: &attributes,
                next_hop: set.next_hop,
                source: RouteSource::Peers,
                neighbor: Some(info.address),
                interface: None,
                session: session_kind(info.relation),
            };
            let verdict = policy.evaluate(&route, |_| ());
            verdict.is_accepted.then_some(verdict.changes)
        };
        let afi_safi = family.afi_safi();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut rest = NlriIter::new(nlri, afi_safi, params.add_path_rx(afi_safi));
        loop {
            let before = rest.rest();
            let Some(Ok(next)) = rest.next() else { return outcomes };
            let Some(prefix) = next.to_ipnet(afi_safi) else { continue };
            let changes = judge(prefix);
            if !policy.reads_prefix() {
                return vec![Outcome { changes, example: prefix, nlri: nlri.to_vec() }];
            }
            let bytes = &before[..before.len() - rest.rest().len()];
            match outcomes.iter_mut().find(|outcome| outcome.changes == changes) {
                Some(outcome) => outcome.nlri.extend_from_slice(bytes),
                None => outcomes.push(Outcome { changes, example: prefix, nlri: bytes.to_vec() }),
            }
        }
    }

    /// The interned set that rules make of another.
    fn changed(&mut self, policy: &Policy, changes: &[RuleId], attr: AttrId, prefix: &IpNet) -> AttrId {
        let set = self.attrs.set(attr);
        let next_hop = set.next_hop;
        let mut route = ChangedRoute::new(decode_canonical(set.wire));
        policy.actions(changes).for_each(|action| route.apply(action, prefix));
        let next_hop = route.next_hop_address().or(next_hop);
        self.intern(route.attributes, next_hop)
    }
}
