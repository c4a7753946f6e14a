//! Routes of other programs as paths of ours: what the kernel has and the configuration takes.

use super::Engine;
use crate::config::{Announcement, Family};
use crate::engine::kernel::{KernelChange, KernelRoute};
use crate::engine::rib::{Announced, Path, Source};
use crate::engine::update_group::UpdateGroup;
use bgp_proto::{AsPath, NextHop, Origin, PathAttributes, encode_prefix};
use ipnet::IpNet;
use std::net::IpAddr;

impl Engine {
    /// Others have changed something in the kernel. With `is_all`, this is all that they have.
    pub fn kernel_changed(&mut self, changes: Vec<KernelChange>, is_all: bool) {
        let gone = if is_all { self.kernel.missing_in(&changes) } else { Vec::new() };
        for change in gone.into_iter().chain(changes) {
            let (prefix, is_route) = (change.prefix(), matches!(change, KernelChange::Route(..)));
            if !self.kernel.note(change) {
                continue;
            }
            if is_route {
                self.take_route(prefix);
            } else {
                self.take_network(prefix);
            }
        }
    }

    /// What is taken from the kernel is another selection now.
    pub(super) fn take_again(&mut self) {
        let routes: Vec<IpNet> = self.kernel.routes.keys().copied().collect();
        let networks: Vec<IpNet> = self.kernel.networks.keys().copied().collect();
        routes.into_iter().for_each(|prefix| self.take_route(prefix));
        networks.into_iter().for_each(|prefix| self.take_network(prefix));
        let yielded: Vec<IpNet> = self.kernel.yielded.iter().copied().collect();
        yielded.into_iter().for_each(|prefix| self.originate(prefix));
        if self.config.kernel_import.is_none() {
            self.kernel.yielded.clear();
        }
    }

    /// Puts the path for a route of the kernel in the table or out of it.
    fn take_route(&mut self, prefix: IpNet) {
        let import = self.config.kernel_import.as_ref().filter(|import| import.takes_route(&prefix));
        let taken = import.zip(self.kernel.routes.get(&prefix)).map(|(import, route)| {
            let (local_pref, is_elevated) = import.local_pref(&prefix, route.metric);
            (path_attributes(local_pref), next_hop(&prefix, route), is_elevated)
        });
        let wanted = taken.map(|(attributes, next_hop, is_elevated)| {
            let source = if is_elevated { Source::ELEVATED } else { Source::KERNEL };
            (source, attributes, next_hop)
        });
        // The announcement that yields is there as long as nothing stands in for it.
        let has_route = wanted.is_some();
        let yields = self.config.announcements.get(&prefix).is_some_and(|a| a.yields_to_kernel);
        if yields && has_route && self.kernel.yielded.insert(prefix) {
            self.originate(prefix);
        }
        for source in [Source::ELEVATED, Source::KERNEL] {
            let wanted = wanted.as_ref().filter(|(wanted, ..)| *wanted == source);
            let wanted = wanted.map(|(_, attributes, next_hop)| (attributes.clone(), *next_hop));
            self.set_own(prefix, source, wanted);
        }
    }

    fn take_network(&mut self, prefix: IpNet) {
        let import = self.config.kernel_import.as_ref();
        let is_taken = import
            .zip(self.kernel.networks.get(&prefix))
            .filter(|(import, interface)| import.takes_network(&prefix, interface));
        let wanted = is_taken.map(|(import, _)| (path_attributes(import.local_pref(&prefix, 0).0), None));
        self.set_own(prefix, Source::NETWORK, wanted);
    }

    /// The way that a route leads is no attribute of its path, and filters may look at it: groups whose filters do are
    /// to ask them again, unless they are about to do so anyway.
    pub(super) fn judge_moved(&mut self, family: Family, moved: &[IpNet]) {
        let rib = &self.ribs[family.index()];
        let concerned =
            |group: &&mut UpdateGroup| group.key.family == family && group.key.export.reads_interface();
        for prefix in moved.iter().filter(|prefix| Family::of(prefix) == family) {
            let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
            let length = encode_prefix(*prefix, &mut key);
            let Some(id) = rib.prefixes.find(&key[..length]).filter(|id| !rib.is_undecided(*id)) else {
                continue;
            };
            self.groups
                .iter_mut()
                .flatten()
                .filter(concerned)
                .for_each(|group| group.ask_again(id, rib.best(id)));
        }
    }

    /// Puts the path of one of our own sources in the table or out of it. `true`: it is there as it was.
    pub(super) fn set_own(
        &mut self,
        prefix: IpNet,
        source: Source,
        wanted: Option<(PathAttributes, Option<NextHop>)>,
    ) -> bool {
        let family = Family::of(&prefix);
        let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
        let length = encode_prefix(prefix, &mut key);
        let attr = wanted.map(|(attributes, next_hop)| self.intern(attributes, next_hop));
        let rib = &mut self.ribs[family.index()];
        let count = &mut self.sources[source.0 as usize].path_count[family.index()];
        let Some(attr) = attr else {
            *count -= u32::from(rib.withdraw(&mut self.attrs, &key[..length], source, 0));
            return false;
        };
        let outcome = rib.announce(&mut self.attrs, &key[..length], Path { source, attr, path_id: 0 });
        *count += u32::from(outcome == Announced::New);
        outcome == Announced::Same
    }

    /// Does an announcement stand back, since the kernel has, or had, a route in its place?
    pub(super) fn has_yielded(&mut self, announcement: &Announcement) -> bool {
        let prefix = announcement.prefix;
        if !announcement.yields_to_kernel {
            return false;
        }
        let takes = self.config.kernel_import.as_ref().is_some_and(|import| import.takes_route(&prefix));
        if takes && self.kernel.routes.contains_key(&prefix) {
            self.kernel.yielded.insert(prefix);
        }
        takes && self.kernel.yielded.contains(&prefix)
    }
}

fn path_attributes(local_pref: Option<u32>) -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath::default()),
        local_pref,
        ..PathAttributes::default()
    }
}

/// The router that a route leads to, where that means anything to others; `None`: we are the next hop.
fn next_hop(prefix: &IpNet, route: &KernelRoute) -> Option<NextHop> {
    match (prefix, route.gateway?) {
        (IpNet::V4(_), IpAddr::V4(gateway)) if !gateway.is_unspecified() && !gateway.is_loopback() => {
            Some(NextHop::V4(gateway))
        }
        (IpNet::V6(_), IpAddr::V6(gateway))
            if !gateway.is_unspecified() && !gateway.is_loopback() && !gateway.is_unicast_link_local() =>
        {
            Some(NextHop::V6(gateway))
        }
        _ => None,
    }
}
