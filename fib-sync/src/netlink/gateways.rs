//! Which way the kernel would send packets for a gateway: one look-up each, many per `send`.
//!
//! The answer is the route that matches, not the path of one packet. Where that route is one of ours, the best of the
//! others is sought in the main table, which is read through without being kept.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::decode::{self, DecodedRoute};
use super::encode;
use super::socket::{RouteSocket, failed, receive, send};
use super::wire::*;
use crate::error::Refusal;
use crate::kernel::{Action, KernelNexthop, Lost, Ownership, Way, WayOut};

/// Look-ups per `send`; each is answered by one message.
const LOOKUPS_MAX: usize = 256;
const RTN_LOCAL: u8 = 2;

/// A request for the route that matches an address.
pub(super) fn encode_lookup(writer: &mut Writer, address: IpAddr, sequence: u32) {
    writer.begin(RTM_GETROUTE, 0, sequence);
    // IPv6 always names the table, and refuses to be asked to.
    let (len, flags) =
        if address.is_ipv4() { (32, RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH) } else { (128, RTM_F_FIB_MATCH) };
    writer.put(&[family_of(address), len, 0, 0, 0, 0, 0, 0]);
    writer.put(&flags.to_ne_bytes());
    writer.attribute_ip(RTA_DST, address);
    writer.finish();
}

impl RouteSocket {
    /// The ways to `gateways`, in order.
    pub(super) fn ways(
        &mut self,
        gateways: &[IpAddr],
        ownership: &Ownership,
    ) -> Result<Vec<(IpAddr, Way)>, Lost> {
        let mut answers: Vec<Answer> = Vec::with_capacity(gateways.len());
        for some in gateways.chunks(LOOKUPS_MAX) {
            self.look_up(some, &mut answers)?;
        }
        let is_ours =
            |route: &DecodedRoute| route.table == ownership.table && route.protocol == ownership.protocol;
        let hidden: Vec<IpAddr> = gateways
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| matches!(answer, Ok(Some(route)) if is_ours(route)))
            .map(|(gateway, _)| *gateway)
            .collect();
        let mut others = self.best_of_others(&hidden, is_ours)?;
        for (gateway, answer) in gateways.iter().zip(&mut answers) {
            if matches!(answer, Ok(Some(route)) if is_ours(route)) {
                *answer = Ok(others.remove(gateway));
            }
        }
        self.expand_objects(&mut answers)?;
        Ok(gateways.iter().copied().zip(answers.into_iter().map(way)).collect())
    }

    fn look_up(&mut self, gateways: &[IpAddr], answers: &mut Vec<Answer>) -> Result<(), Lost> {
        let first = self.next_sequences(gateways.len());
        self.request.clear();
        for (index, gateway) in gateways.iter().enumerate() {
            encode_lookup(&mut self.request, *gateway, first.wrapping_add(index as u32));
        }
        send(&self.socket, self.request.bytes()).map_err(|source| Lost::Failed(failed("send", source)))?;
        let mut open = gateways.len();
        let begin = answers.len();
        answers.resize_with(begin + open, || Ok(None));
        while open > 0 {
            receive(&self.socket, &mut self.received, libc::MSG_DONTWAIT)?;
            for message in messages(&self.received) {
                let index = message.sequence.wrapping_sub(first) as usize;
                let Some(answer) = answers.get_mut(begin + index) else { continue };
                *answer = match message.message_type {
                    RTM_NEWROUTE => Ok(decode::route(message.payload)),
                    NLMSG_ERROR => decode::refusal(&message).map_or(Ok(None), Err),
                    _ => continue,
                };
                open = open.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// The longest match of each address among the main table's routes that are not ours; of equal ones that with the
    /// least metric.
    fn best_of_others(
        &mut self,
        addresses: &[IpAddr],
        is_ours: impl Fn(&DecodedRoute) -> bool,
    ) -> Result<HashMap<IpAddr, DecodedRoute>, Lost> {
        let mut best: HashMap<IpAddr, DecodedRoute> = HashMap::new();
        if addresses.is_empty() {
            return Ok(best);
        }
        let rank = |route: &DecodedRoute| (route.prefix.prefix_len(), u32::MAX - route.metric);
        for family in [AF_INET, AF_INET6] {
            let sequence = self.next_sequences(1);
            encode::dump_routes(&mut self.request, family, RT_TABLE_MAIN, 0, sequence);
            self.dump_messages(sequence, |message| {
                let Some(route) = decode::route(message.payload) else { return };
                if route.table != RT_TABLE_MAIN || is_ours(&route) {
                    return;
                }
                for address in addresses.iter().filter(|address| route.prefix.contains(*address)) {
                    if best.get(address).is_none_or(|known| rank(known) < rank(&route)) {
                        best.insert(*address, route.clone());
                    }
                }
            })
            .map_err(|end| end.or_refused("list routes"))?;
        }
        Ok(best)
    }

    /// Routes that only name a nexthop object say what that stands for.
    fn expand_objects(&mut self, answers: &mut [Answer]) -> Result<(), Lost> {
        let is_short = |route: &DecodedRoute| route.content.nexthop_id != 0 && route.content.hops.is_empty();
        if !answers.iter().flatten().flatten().any(is_short) {
            return Ok(());
        }
        let nexthops = self.dump_nexthops()?.unwrap_or_default();
        let by_id: HashMap<u32, &KernelNexthop> =
            nexthops.iter().map(|nexthop| (nexthop.id, nexthop)).collect();
        for route in answers.iter_mut().flatten().flatten().filter(|route| is_short(route)) {
            route.content.hops = decode::expand(route.content.nexthop_id, &by_id);
        }
        Ok(())
    }
}

/// `Ok(None)`: there is no route.
type Answer = Result<Option<DecodedRoute>, Refusal>;

fn way(answer: Answer) -> Way {
    let no_way = |text: &str| Err(Refusal::with_text(libc::ENETUNREACH, text));
    let Some(route) = answer? else { return no_way("no route leads to the next hop") };
    let DecodedRoute { prefix, protocol, content, .. } = route;
    match content.action {
        Action::Unicast if !content.hops.is_empty() => Ok(WayOut { prefix, protocol, hops: content.hops }),
        Action::Unicast => no_way("the route to the next hop has no way out"),
        Action::Other(RTN_LOCAL) => no_way("the next hop is an address of this host"),
        _ => no_way(&format!("the route to the next hop, {}, leads nowhere", describe(prefix))),
    }
}

fn describe(prefix: IpNet) -> String {
    if prefix.prefix_len() == 0 { "the default route".to_owned() } else { prefix.to_string() }
}
