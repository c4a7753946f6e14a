//! `show route`: the table, page by page, so that one client's question about a big table holds nothing else up. Each
//! page is as the table is when its turn comes.

use super::reply::Reply;
use super::times::short;
use super::{Picture, Side, word};
use crate::config::{Encapsulation, Family, FibRules, NeighborRef};
use crate::speaker::{QueryError, SpeakerHandle};
use crate::view::{FibNextHopView, RouteQuery, RouteView};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Routes of a page.
const PAGE_ROUTES: usize = 4096;
/// BIRD's preferences of what it learns by BGP, and of what it is told by its own file.
const PREFERENCE_BGP: u32 = 100;
const PREFERENCE_STATIC: u32 = 200;
/// Of networks of interfaces, and of what it learns from the kernel.
const PREFERENCE_DIRECT: u32 = 240;
const PREFERENCE_KERNEL: u32 = 10;

/// A walk over the table. One per question.
#[derive(Debug)]
pub(super) struct Walk {
    picture: Picture,
    next_hops: Vec<FibNextHopView>,
    /// The next page; `None`: that was the last.
    query: Option<RouteQuery>,
    /// Of the row before.
    prefix: Option<IpNet>,
}

impl Walk {
    pub(super) fn new(picture: Picture, next_hops: Vec<FibNextHopView>, side: Side) -> Self {
        let all = match side.family {
            Family::Ipv4Unicast => IpNet::V4(Ipv4Net::default()),
            Family::Ipv6Unicast => IpNet::V6(Ipv6Net::default()),
        };
        let limit = Some(PAGE_ROUTES);
        let query = RouteQuery { prefix: Some(all), longer: true, limit, ..RouteQuery::default() };
        Self { picture, next_hops, query: Some(query), prefix: None }
    }

    /// Writes the next page into the reply; `false` once that was the end of it.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub(super) async fn next_page(
        &mut self,
        handle: &SpeakerHandle,
        reply: &mut Reply,
    ) -> Result<bool, QueryError> {
        let Some(query) = self.query.take() else {
            reply.end(0, "");
            return Ok(false);
        };
        let list = handle.routes(query.clone()).await?;
        list.routes.iter().for_each(|route| self.row(route, reply));
        self.query = list.next.map(|next| RouteQuery { after: Some(next), ..query });
        Ok(true)
    }

    fn row(&mut self, route: &RouteView, reply: &mut Reply) {
        // Another path to the same prefix does not repeat it.
        let is_same = self.prefix.replace(route.prefix) == Some(route.prefix);
        let prefix = if is_same { String::new() } else { route.prefix.to_string() };
        let via = self.via(route);
        let best = if route.best { " *" } else { "" };
        let (source, info) = self.source_and_info(route);
        reply.line(1007, &format!("{prefix:<18} {via} [{source}]{best}{info}"));
    }

    fn source_and_info(&self, route: &RouteView) -> (String, String) {
        let Picture { now, .. } = self.picture;
        let Ok(from) = route.from.parse::<NeighborRef>() else {
            let since = short(self.picture.before(self.picture.status.uptime_secs), now);
            let (source, preference) = match &route.kernel {
                None => ("static1", PREFERENCE_STATIC),
                Some(kernel) if kernel.is_network => ("direct1", PREFERENCE_DIRECT),
                Some(_) => ("kernel1", PREFERENCE_KERNEL),
            };
            return (format!("{source} {since}"), format!(" ({preference})"));
        };
        let is_it = |neighbor: &&crate::view::NeighborView| {
            neighbor.address == from.address.to_string() && from.port.is_none_or(|port| port == neighbor.port)
        };
        let neighbor = self.picture.neighbors.iter().find(is_it);
        let name = neighbor.map_or_else(|| route.from.clone(), |neighbor| neighbor.name.clone());
        let since = short(self.picture.before(neighbor.map_or(0, |neighbor| neighbor.uptime_secs)), now);
        let teller = if route.next_hop.as_deref() == Some(from.address.to_string().as_str()) {
            String::new()
        } else {
            format!(" from {}", from.address)
        };
        let letter = match route.origin.as_str() {
            "igp" => "i",
            "egp" => "e",
            _ => "?",
        };
        let last_as = route.as_path.split(' ').next_back().filter(|asn| !asn.is_empty());
        let origin = last_as.map_or_else(String::new, |asn| format!("AS{asn}"));
        (format!("{} {since}{teller}", word(&name)), format!(" ({PREFERENCE_BGP}/0) [{origin}{letter}]"))
    }

    /// Where packets go, as far as the kernel's side has been decided.
    fn via(&self, route: &RouteView) -> String {
        if let Some(kernel) = route.kernel.as_ref().filter(|kernel| !kernel.is_blackhole) {
            let interface = kernel.interface.as_deref().unwrap_or("?");
            let gateway = kernel.gateway.as_ref();
            return gateway
                .map_or(format!("dev {interface}"), |gateway| format!("via {gateway} on {interface}"));
        }
        let Some(next_hop) = &route.next_hop else { return "blackhole".to_owned() };
        let is_tunnelled = is_in_tunnel(&self.picture.config.fib_rules, &route.prefix);
        let to_it = || {
            let is_to_it = |view: &&FibNextHopView| {
                view.next_hop.is_some_and(|address| address.to_string() == *next_hop)
            };
            self.next_hops.iter().filter(is_to_it)
        };
        // One next hop may be reached in two ways, by the pool of the route.
        let by_rule = to_it().find(|view| view.rule.starts_with("tunnel") == is_tunnelled);
        match by_rule.or_else(|| to_it().next()).map(|view| view.ways.first()) {
            Some(Some(way)) => way_text(way, next_hop),
            Some(None) => "unreachable".to_owned(),
            None => format!("via {next_hop} on ?"),
        }
    }
}

/// `via GATEWAY dev DEVICE onlink` in BIRD's words.
fn way_text(way: &str, next_hop: &str) -> String {
    let words: Vec<&str> = way.split(' ').collect();
    match words[..] {
        ["via", gateway, "dev", device, ..] => format!("via {gateway} on {device}"),
        ["dev", device, ..] => format!("dev {device}"),
        _ => format!("via {next_hop} on ?"),
    }
}

/// Does the pool that a prefix is in have a tunnel?
fn is_in_tunnel(rules: &FibRules, prefix: &IpNet) -> bool {
    let pools = rules.pools.iter().filter(|(pool, _)| pool.contains(prefix));
    let longest = pools.max_by_key(|(pool, _)| pool.prefix_len());
    longest.is_some_and(|(_, rule)| rule.program && rule.encapsulation != Encapsulation::None)
}
