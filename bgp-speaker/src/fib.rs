//! From the Loc-RIB to the kernel: learned routes via their next hop, own blocks as blackholes, as far as the
//! [`FibRules`] let them. What is announced as a plain route stays out of the kernel.

use crate::config::{AnnouncementKind, FibDecision, FibRules};
use crate::speaker::{RouteChange, RouteSubscription, Stop};
use crate::view::FibView;
use bgp_proto::NextHop;
use fib_sync::{Change, Fib, FibConfig, FibError, NextHop as Hop, NextHopSet, Route};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Linux's own name for the device of the IPIP tunnel.
const TUNNEL_DEVICE: &str = "tunl0";

/// Carries route changes to a [`Fib`]. One per speaker with a FIB.
#[derive(Debug)]
pub(crate) struct FibGlue {
    config: FibConfig,
    /// `None` once it has stopped: handles may outlive the speaker, the kernel's programmer does not.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    fib: Arc<Fib>,
    task: JoinHandle<()>,
}

impl FibGlue {
    /// Starts to follow the Loc-RIB.
    pub(crate) fn start(
        config: FibConfig,
        fib: Fib,
        subscription: RouteSubscription,
        rules: watch::Receiver<Arc<FibRules>>,
    ) -> Self {
        let fib = Arc::new(fib);
        let task = tokio::spawn(follow(fib.clone(), subscription, rules));
        Self { config, running: Mutex::new(Some(Running { fib, task })) }
    }

    /// Stops following. Leaving takes our routes out of the kernel, restarting leaves them there.
    ///
    /// # Errors
    /// The kernel has kept some of our routes.
    pub(crate) async fn stop(&self, stop: Stop) -> Result<(), FibError> {
        let Some(running) = self.take() else { return Ok(()) };
        running.task.abort();
        // Its end is what was wanted; what it last handed over must come before the removal.
        _ = running.task.await;
        if stop == Stop::Leave {
            let count = running.fib.remove_all().await?;
            tracing::info!(count, "our routes removed from the kernel");
        }
        Ok(())
    }

    /// Stops following, at once.
    pub(crate) fn abandon(&self) {
        if let Some(running) = self.take() {
            running.task.abort();
        }
    }

    /// The kernel's side.
    pub(crate) fn view(&self) -> FibView {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (table, protocol) = (self.config.table, self.config.protocol);
        let Some(running) = running.as_ref().filter(|running| !running.task.is_finished()) else {
            let last_error = Some("the kernel is not programmed any more".to_owned());
            return FibView { table, protocol, last_error, ..FibView::default() };
        };
        let status = running.fib.status();
        FibView {
            table,
            protocol,
            desired: status.desired,
            installed: status.installed,
            pending: status.pending,
            conflicts: status.conflicts,
            in_sync: status.is_in_step(),
            last_error: status.last_error,
            operations_ok: status.operations_ok,
            operations_failed: status.operations_failed,
            resyncs: status.resyncs,
            repaired: status.repaired,
        }
    }

    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn follow(
    fib: Arc<Fib>,
    mut subscription: RouteSubscription,
    mut rules: watch::Receiver<Arc<FibRules>>,
) {
    let mut in_force = Translator::default();
    rules.mark_changed();
    loop {
        let changes = tokio::select! {
            biased;
            Ok(()) = rules.changed() => Vec::new(),
            changes = subscription.next_batch() => match changes {
                Some(changes) => changes,
                None => return,
            },
        };
        let converged = changes.contains(&RouteChange::Converged);
        // New rules come before the routes that are told again because of them.
        let mut demanded = in_force.follow(&rules.borrow_and_update());
        demanded.extend(changes.into_iter().filter_map(|change| in_force.desired(change)));
        let changes = demanded;
        match fib.apply(changes).await {
            // One route is wrong; the others were accepted.
            Err(error @ FibError::InvalidRoute { .. }) => tracing::error!(%error, "not for the kernel"),
            Err(error) => return tracing::error!(%error, "the kernel is no longer programmed"),
            Ok(()) => {}
        }
        if converged {
            tracing::info!("all neighbours heard, stale routes leave the kernel");
            if let Err(error) = fib.converged().await {
                tracing::error!(%error, "stale routes could not be removed from the kernel");
            }
        }
    }
}

/// What a change asks of the kernel, by the rules that are in force.
#[derive(Debug, Default)]
struct Translator {
    rules: Arc<FibRules>,
    /// The next hop set made last. Routes come by the thousand over one next hop, and share one set.
    latest: Option<((IpAddr, FibDecision), NextHopSet)>,
}

impl Translator {
    /// Takes other rules, and says what becomes of routes to neighbours.
    fn follow(&mut self, rules: &Arc<FibRules>) -> Vec<Change> {
        if Arc::ptr_eq(&self.rules, rules) {
            return Vec::new();
        }
        let old = std::mem::replace(&mut self.rules, rules.clone());
        let gone = old.host_routes.keys().filter(|prefix| !rules.host_routes.contains_key(*prefix));
        let mut changes: Vec<Change> = gone.copied().map(Change::Remove).collect();
        let new = rules.host_routes.iter().filter(|(prefix, via)| old.host_routes.get(*prefix) != Some(*via));
        changes.extend(new.map(|(prefix, via)| Change::Set(Route::via(*prefix, *via))));
        changes
    }

    fn desired(&mut self, change: RouteChange) -> Option<Change> {
        match change {
            RouteChange::Converged => None,
            // The way to a neighbour is not for the neighbours to say.
            RouteChange::Local { prefix, .. }
            | RouteChange::Withdrawn { prefix }
            | RouteChange::Learned { prefix, .. }
                if self.rules.host_routes.contains_key(&prefix) =>
            {
                None
            }
            RouteChange::Local { prefix, kind: AnnouncementKind::Block }
                if self.rules.has_blackhole(prefix) =>
            {
                Some(Change::Set(Route::blackhole(prefix)))
            }
            RouteChange::Local { prefix, .. } | RouteChange::Withdrawn { prefix } => {
                Some(Change::Remove(prefix))
            }
            RouteChange::Learned { prefix, next_hop, .. } => {
                let gateway = gateway(next_hop);
                match self.rules.learned(prefix, gateway) {
                    FibDecision::Skip => Some(Change::Remove(prefix)),
                    decision => Some(Change::Set(Route::unicast(prefix, self.way(gateway, decision)?))),
                }
            }
        }
    }

    /// Through the connected networks, or through the tunnel. `None` does not happen: the tunnel has a gateway.
    fn way(&mut self, gateway: IpAddr, decision: FibDecision) -> Option<NextHopSet> {
        let key = (gateway, decision);
        if let Some((_, set)) = self.latest.as_ref().filter(|(latest, _)| *latest == key) {
            return Some(set.clone());
        }
        let set = match decision {
            FibDecision::Tunnel => {
                let device = TUNNEL_DEVICE.parse().ok()?;
                NextHopSet::new([Hop::via(gateway).on(device).onlink()]).ok()?
            }
            FibDecision::Direct | FibDecision::Skip => NextHopSet::from(gateway),
        };
        self.latest = Some((key, set.clone()));
        Some(set)
    }
}

fn gateway(next_hop: NextHop) -> IpAddr {
    match next_hop {
        NextHop::V6WithLinkLocal { global, link_local } if global.is_unspecified() => IpAddr::V6(link_local),
        other => other.addr(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Encapsulation, EncapsulationMode, PoolRule};
    use ipnet::IpNet;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn learned(prefix: &str, next_hop: [u8; 4]) -> RouteChange {
        let next_hop = NextHop::V4(next_hop.into());
        RouteChange::Learned { prefix: net(prefix), next_hop, from: next_hop.addr() }
    }

    fn set_via(prefix: &str, gateway: [u8; 4]) -> Option<Change> {
        Some(Change::Set(Route::via(net(prefix), gateway.into())))
    }

    #[test]
    fn blocks_are_blackholes_and_plain_routes_stay_out() {
        let prefix = net("10.0.0.0/26");
        let block = RouteChange::Local { prefix, kind: AnnouncementKind::Block };
        assert_eq!(Translator::default().desired(block), Some(Change::Set(Route::blackhole(prefix))));
        let route = RouteChange::Local { prefix, kind: AnnouncementKind::Route };
        assert_eq!(Translator::default().desired(route), Some(Change::Remove(prefix)));
    }

    #[test]
    fn learned_routes_go_via_their_next_hop() {
        let mut translator = Translator::default();
        for gateway in [[172, 17, 8, 101], [172, 17, 8, 101], [172, 17, 8, 102]] {
            assert_eq!(translator.desired(learned("10.0.0.0/26", gateway)), set_via("10.0.0.0/26", gateway));
        }
    }

    #[test]
    fn the_rules_decide_between_the_tunnel_the_network_and_nothing() {
        let rule = PoolRule {
            program: true,
            encapsulation: Encapsulation::Ipip,
            when: EncapsulationMode::CrossSubnet,
        };
        let foreign = PoolRule { program: false, ..rule };
        let rules = FibRules {
            pools: [(net("10.1.0.0/16"), rule), (net("10.2.0.0/16"), foreign)].into(),
            own_subnet: Some("172.17.8.0/24".parse().unwrap()),
            ..FibRules::default()
        };
        let mut translator = Translator::default();
        assert_eq!(translator.follow(&Arc::new(rules)), []);
        let (near, far) = ([172, 17, 8, 101], [172, 17, 9, 101]);
        assert_eq!(translator.desired(learned("10.1.0.0/26", near)), set_via("10.1.0.0/26", near));
        let hop = Hop::via(far.into()).on("tunl0".parse().unwrap()).onlink();
        let tunnel = Route::unicast(net("10.1.0.0/26"), NextHopSet::new([hop]).unwrap());
        assert_eq!(translator.desired(learned("10.1.0.0/26", far)), Some(Change::Set(tunnel)));
        assert_eq!(
            translator.desired(learned("10.2.0.0/26", near)),
            Some(Change::Remove(net("10.2.0.0/26")))
        );
        let block = RouteChange::Local { prefix: net("10.2.0.64/26"), kind: AnnouncementKind::Block };
        assert_eq!(translator.desired(block), Some(Change::Remove(net("10.2.0.64/26"))));
    }

    #[test]
    fn routes_to_neighbours_come_and_go_with_the_rules_and_nobody_else_sets_them() {
        let rules = |via: &[(&str, [u8; 4])]| {
            let host_routes = via.iter().map(|(prefix, via)| (net(prefix), (*via).into())).collect();
            Arc::new(FibRules { host_routes, ..FibRules::default() })
        };
        let mut translator = Translator::default();
        let set = |prefix, via| set_via(prefix, via).unwrap();
        let first = rules(&[("10.9.0.1/32", [10, 0, 0, 1]), ("10.9.0.2/32", [10, 0, 0, 1])]);
        let both = [set("10.9.0.1/32", [10, 0, 0, 1]), set("10.9.0.2/32", [10, 0, 0, 1])];
        assert_eq!(translator.follow(&first), both);
        assert_eq!(translator.follow(&first), []);
        assert_eq!(translator.desired(learned("10.9.0.1/32", [10, 0, 0, 7])), None);
        let second = rules(&[("10.9.0.2/32", [10, 0, 0, 2])]);
        let changes = [Change::Remove(net("10.9.0.1/32")), set("10.9.0.2/32", [10, 0, 0, 2])];
        assert_eq!(translator.follow(&second), changes);
        assert_eq!(
            translator.desired(learned("10.9.0.1/32", [10, 0, 0, 7])),
            set_via("10.9.0.1/32", [10, 0, 0, 7])
        );
    }
}
