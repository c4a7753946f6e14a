//! Tables of a network's speakers, and whether they agree.

use super::network::Network;
use super::node::NodeId;
use crate::config::{Family, PolicyRef, SpeakerConfig};
use crate::engine::speaker::BestRoute;
use crate::view::{NeighborView, RouteQuery, RouteTable, RouteView};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::time::Duration;

/// Routes by prefix and path identifier.
pub type Paths = BTreeMap<(IpNet, Option<u32>), RouteView>;

/// How long a network may take to come to rest.
const CONVERGENCE_MAX: Duration = Duration::from_secs(1800);

impl Network {
    /// How one node sees another.
    pub fn neighbor(&self, at: NodeId, of: NodeId) -> Option<NeighborView> {
        let engine = self.node(at).engine()?;
        let address = of.address().to_string();
        engine.neighbors(self.now()).into_iter().find(|view| view.address == address)
    }

    /// Is the session up on both sides?
    pub fn is_up(&self, a: NodeId, b: NodeId) -> bool {
        let sees = |at, of| self.neighbor(at, of).is_some_and(|view| view.state == "Established");
        sees(a, b) && sees(b, a)
    }

    fn routes(&self, at: NodeId, table: RouteTable, neighbor: Option<NodeId>) -> Vec<RouteView> {
        let Some(engine) = self.node(at).engine() else { return Vec::new() };
        let query =
            RouteQuery { table, neighbor: neighbor.map(|of| of.address().into()), ..RouteQuery::default() };
        engine.routes(query).map(|(routes, _)| routes).unwrap_or_default()
    }

    fn table(&self, at: NodeId, table: RouteTable, neighbor: Option<NodeId>) -> BTreeMap<IpNet, RouteView> {
        let routes = self.routes(at, table, neighbor);
        routes.into_iter().map(|route| (route.prefix, route)).collect()
    }

    fn paths(&self, at: NodeId, table: RouteTable, neighbor: NodeId) -> Paths {
        let routes = self.routes(at, table, Some(neighbor));
        routes.into_iter().map(|route| ((route.prefix, route.path_id), route)).collect()
    }

    /// Adj-RIB-In by prefix and path identifier.
    pub fn received_paths(&self, at: NodeId, from: NodeId) -> Paths {
        self.paths(at, RouteTable::Received, from)
    }

    /// Adj-RIB-Out by prefix and path identifier.
    pub fn advertised_paths(&self, at: NodeId, to: NodeId) -> Paths {
        self.paths(at, RouteTable::Advertised, to)
    }

    /// Adj-RIB-In; with ADD-PATH one route of each prefix.
    pub fn received(&self, at: NodeId, from: NodeId) -> BTreeMap<IpNet, RouteView> {
        self.table(at, RouteTable::Received, Some(from))
    }

    /// Adj-RIB-Out; with ADD-PATH one route of each prefix.
    pub fn advertised(&self, at: NodeId, to: NodeId) -> BTreeMap<IpNet, RouteView> {
        self.table(at, RouteTable::Advertised, Some(to))
    }

    /// Loc-RIB.
    pub fn best(&self, at: NodeId) -> BTreeMap<IpNet, RouteView> {
        self.table(at, RouteTable::Best, None)
    }

    /// What the subscriber at a node was told last of a prefix.
    pub fn subscribed(&self, at: NodeId, prefix: IpNet) -> Option<&BestRoute> {
        self.node(at).routes.get(&prefix)
    }

    /// Pairs of running nodes that are to have a session: configured on both sides, by list or range.
    pub fn expected_sessions(&self) -> Vec<(NodeId, NodeId)> {
        let knows = |at: NodeId, of: NodeId| {
            let config = self.config(at);
            let listed = config.neighbors.get(&of.address().into());
            listed.is_some_and(|neighbor| neighbor.enabled)
                || listed.is_none()
                    && config.listen_ranges.iter().any(|range| range.prefix.contains(&of.address()))
        };
        let pairs = self.ids().flat_map(|a| self.ids().map(move |b| (a, b)));
        pairs
            .filter(|(a, b)| a < b && self.is_running(*a) && self.is_running(*b))
            .filter(|(a, b)| knows(*a, *b) && knows(*b, *a))
            .filter(|(a, b)| {
                let dials = |at: NodeId, to: NodeId| {
                    self.config(at)
                        .neighbors
                        .get(&to.address().into())
                        .is_some_and(|neighbor| !neighbor.passive)
                };
                dials(*a, *b) || dials(*b, *a)
            })
            .collect()
    }

    /// Everything is up that is to be, nothing moves, and nobody waits for anybody.
    pub fn is_converged(&self) -> bool {
        self.is_idle()
            && self.ids().filter_map(|id| self.node(id).engine()).all(|engine| engine.is_converged())
            && self.expected_sessions().into_iter().all(|(a, b)| self.is_up(a, b))
            && self.ids().filter_map(|id| self.node(id).engine()).all(|engine| {
                engine.neighbors(self.now()).iter().all(|neighbor| !neighbor.restarting && !neighbor.slow)
            })
    }

    /// Runs until nothing moves any more, and checks that all tables agree.
    ///
    /// # Panics
    /// If it does not come to rest, or they do not.
    pub fn converge(&mut self) {
        let until = self.now() + CONVERGENCE_MAX;
        while !self.is_converged() {
            assert!(
                self.now() < until,
                "seed {}: no rest within {CONVERGENCE_MAX:?}: {}",
                self.seed(),
                self.report()
            );
            // Looking costs more than running.
            self.run(Duration::from_millis(300));
        }
        for id in self.ids() {
            // Ids that were held for the sake of what was outstanding go with the next batch.
            self.tell_all(id);
            self.with_engine(id, |_, engine| engine.flush(|_, _| false));
        }
        self.check();
    }

    /// Checks that every Adj-RIB-In is the other side's Adj-RIB-Out, that subscribers know the Loc-RIB, and that
    /// every engine's books balance.
    ///
    /// # Panics
    /// If not.
    pub fn check(&self) {
        for (a, b) in self.expected_sessions().into_iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            self.check_way(a, b);
        }
        for id in self.ids().filter(|id| self.is_running(*id)) {
            self.check_subscriber(id);
            if let Err(problem) = self.engine(id).audit() {
                panic!("seed {}: node {}: {problem}", self.seed(), id.number());
            }
        }
    }

    fn check_way(&self, from: NodeId, to: NodeId) {
        let receiver = self.config(to);
        let import = receiver.neighbors.get(&from.address().into()).map(|neighbor| &neighbor.options.import);
        if matches!(import, Some(PolicyRef::Filters(_))) {
            // What a filter makes of it is for the model to say.
            return;
        }
        let rejects = import == Some(&PolicyRef::Reject);
        let mut expected = self.advertised_paths(from, to);
        let allowed = receiver.neighbors.get(&from.address().into()).map_or(0, |n| n.options.allow_own_as);
        expected.retain(|_, route| !rejects && !is_refused(receiver, to, allowed, route));
        let received = self.received_paths(to, from);
        let comparable = |routes: &Paths| -> Paths {
            routes.iter().map(|(path, route)| (*path, on_the_wire(route))).collect()
        };
        let (expected, received) = (comparable(&expected), comparable(&received));
        assert!(
            expected == received,
            "seed {}: {} -> {}: advertised {expected:#?}\nreceived {received:#?}",
            self.seed(),
            from.number(),
            to.number()
        );
    }

    fn check_subscriber(&self, id: NodeId) {
        let engine = self.engine(id);
        let best: BTreeMap<IpNet, BestRoute> = Family::ALL
            .into_iter()
            .flat_map(|family| engine.best_ids(family).map(move |id| (family, id)))
            .filter_map(|(family, id)| Some((engine.prefix(family, id)?, engine.best_route(family, id)?)))
            .collect();
        assert!(
            best == self.node(id).routes,
            "seed {}: node {}: best {best:#?}\nsubscriber {:#?}",
            self.seed(),
            id.number(),
            self.node(id).routes
        );
    }

    /// What is not as it should be, for a message.
    fn report(&self) -> String {
        let mut lines = vec![format!("idle: {}", self.is_idle())];
        for (a, b) in self.expected_sessions() {
            let state = |at, of| self.neighbor(at, of).map(|view| (view.state, view.last_error));
            if !self.is_up(a, b) {
                lines.push(format!("{}-{}: {:?} {:?}", a.number(), b.number(), state(a, b), state(b, a)));
            }
        }
        for id in self.ids().filter(|id| self.is_running(*id)) {
            let views = self.engine(id).neighbors(self.now());
            let waiting = views.iter().filter(|view| view.restarting || view.slow);
            lines.extend(waiting.map(|view| {
                format!("{}: {} restarting {} slow {}", id.number(), view.address, view.restarting, view.slow)
            }));
            if !self.engine(id).is_converged() {
                lines.push(format!("{}: first convergence not done", id.number()));
            }
        }
        lines.join("\n")
    }
}

/// A receiver keeps no route with itself in it.
fn is_refused(receiver: &SpeakerConfig, at: NodeId, allowed: u8, route: &RouteView) -> bool {
    let own_as = receiver.asn.to_string();
    route.as_path.split(' ').filter(|asn| *asn == own_as).count() > usize::from(allowed)
        || route.originator_id.as_deref() == Some(&receiver.router_id.to_string())
        || receiver.cluster_id.is_some_and(|id| route.cluster_list.contains(&id.to_string()))
        || route.next_hop.as_ref().is_some_and(|next_hop| {
            *next_hop == at.address().to_string()
                || *next_hop == super::configure::address_v6(at.number()).to_string()
        })
}

fn on_the_wire(route: &RouteView) -> RouteView {
    RouteView { from: String::new(), kernel: None, best: false, stale: false, ..route.clone() }
}
