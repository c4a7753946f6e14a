//! Bytes in: framing, dispatch, and the way of an UPDATE into the Adj-RIB-In.

use super::Engine;
use crate::config::Family;
use crate::engine::collision::Direction;
use crate::engine::conn::ConnId;
use crate::engine::malformed::{Problem, action_name};
use crate::engine::next_hop::is_usable;
use crate::engine::peer::LastAttributes;
use crate::engine::policy::Policy;
use crate::engine::readvertise::Relation;
use crate::engine::rib::{AttrId, AttrRecord, BATCH_LEN, PATHS_OF_PREFIX_MAX, Source, is_kept_apart};
use crate::engine::session::{Event, StateKind};
use crate::engine::time::MonoTime;
use crate::engine::wire::{canonical_params, decode_canonical};
use bgp_proto::{
    AfiSafi, AttributeCode, AttributeError, AttributeErrorReason, AttributeFlags, DecodeError, Decoder,
    Frame, Message, MessageType, MpReachView, MpUnreachView, NextHop, NlriError, NlriIter, Notification,
    NotificationCode, PathAttributes, RawAttribute, RawAttributes, RouteRefresh, SessionParams,
    UpdateErrorAction, UpdateView, check_nlri, decode_attributes, frame, subcode,
};
use bytes::BytesMut;
use std::sync::Arc;

/// Of what is no message, so many octets are kept.
const NOT_A_MESSAGE_SHOWN: usize = 64;

/// Why an UPDATE ends the session.
struct Fatal {
    notification: Notification,
    /// What is wrong, if no attribute has been blamed already.
    why: Option<String>,
}

impl From<DecodeError> for Fatal {
    fn from(error: DecodeError) -> Self {
        Fatal { notification: error.notification(), why: Some(error.to_string()) }
    }
}

/// What an UPDATE announces and withdraws, found but not interpreted.
#[derive(Default)]
struct Sections<'a> {
    withdrawn: &'a [u8],
    nlri: &'a [u8],
    reach: Option<MpReachView<'a>>,
    unreach: Option<MpUnreachView<'a>>,
    /// Something is wrong outside of what is copied to be looked up; the whole block is to be judged.
    is_irregular: bool,
}

impl Engine {
    /// Received bytes of a connection, from a message boundary on. Returns how many were used: all whole messages; the
    /// caller offers the rest again with what follows. After the connection was closed, everything is used.
    pub fn handle_bytes(&mut self, now: MonoTime, id: ConnId, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let Some(conn) = self.conns.get(&id).filter(|conn| !conn.is_closing) else { return bytes.len() };
            let (source, direction, params) = (conn.source, conn.direction, conn.params.clone());
            if self.is_established(source, direction) {
                let updates = self.handle_updates(now, source, direction, &bytes[used..], &params);
                used += updates;
                if updates > 0 {
                    continue;
                }
            }
            match frame(&bytes[used..], &params) {
                Ok(None) => return used,
                Ok(Some(message)) => {
                    used += message.bytes.len();
                    self.handle_message(now, source, direction, message, &params);
                }
                Err(error) => {
                    tracing::debug!(%error, "not a BGP message");
                    let problems = vec![Problem::fatal(error.to_string())];
                    let shown = &bytes[used..bytes.len().min(used + NOT_A_MESSAGE_SHOWN)];
                    self.note_malformed(now, source, shown, problems, &params);
                    self.drive(now, source, direction, Event::MalformedMessage(error.notification()));
                    return bytes.len();
                }
            }
        }
    }

    fn is_established(&self, source: Source, direction: Direction) -> bool {
        self.peer(source).is_some_and(|peer| peer.session(direction).kind() == StateKind::Established)
    }

    /// The UPDATEs at the front, of which most input consists: the state machine is told once for all, and their routes
    /// go into the table together. Returns how many bytes were used.
    fn handle_updates(
        &mut self,
        now: MonoTime,
        source: Source,
        direction: Direction,
        bytes: &[u8],
        params: &Arc<SessionParams>,
    ) -> usize {
        let (mut used, mut count) = (0, 0);
        let mut outcome = Ok(());
        while outcome.is_ok()
            && let Ok(Some(message)) = frame(&bytes[used..], params)
            && message.kind == MessageType::UPDATE
        {
            used += message.bytes.len();
            count += 1;
            outcome = self.import(now, source, message.body(), params);
            if outcome.is_err() || !self.scratch.problems.is_empty() {
                self.keep_malformed(now, source, message.bytes, outcome.as_ref().err(), params);
            }
            if self.incoming.iter().any(|batch| batch.len() >= BATCH_LEN) {
                self.take_in(now, source);
                if !self.is_established(source, direction) {
                    return used;
                }
            }
        }
        self.take_in(now, source);
        if count > 0 {
            self.count_received(source, MessageType::UPDATE, count);
            let event = match outcome {
                Ok(()) => Event::Update,
                Err(Fatal { notification, .. }) => Event::MalformedMessage(notification),
            };
            self.drive(now, source, direction, event);
        }
        used
    }

    fn count_received(&mut self, source: Source, kind: MessageType, count: u64) {
        if let Some(peer) = self.peer_mut(source) {
            peer.messages_received.add(kind, count);
            self.counters.received.add(kind, count);
        }
    }

    fn handle_message(
        &mut self,
        now: MonoTime,
        source: Source,
        direction: Direction,
        message: Frame<'_>,
        params: &Arc<SessionParams>,
    ) {
        self.count_received(source, message.kind, 1);
        let Some(peer) = self.peer(source) else { return };
        let state = peer.session(direction).kind();
        let event = match Message::decode(&mut Decoder::new(SessionParams::clone(params)), message.bytes) {
            Ok(Message::Open(open)) if state == StateKind::OpenSent => {
                return self.handle_open(now, source, direction, open);
            }
            Ok(Message::Open(open)) => Event::Open(Box::new(open)),
            Ok(Message::Update(_)) => Event::Update,
            Ok(Message::Notification(notification)) => Event::Notification(notification),
            Ok(Message::Keepalive) => Event::Keepalive,
            Ok(Message::RouteRefresh(request)) => {
                self.note_refresh_request(source, state, request);
                Event::RouteRefresh
            }
            Err(error) => {
                let problems = vec![Problem::fatal(error.to_string())];
                self.note_malformed(now, source, message.bytes, problems, params);
                Event::MalformedMessage(error.notification())
            }
        };
        self.drive(now, source, direction, event);
    }

    /// RFC 2918 §4: a request for a family that was not agreed upon is ignored.
    fn note_refresh_request(&mut self, source: Source, state: StateKind, request: RouteRefresh) {
        let family = Family::from_afi_safi(request.family);
        if state == StateKind::Established && request.subtype == 0 {
            self.refreshes.extend(family.map(|family| (source, family)));
        }
    }

    fn import(
        &mut self,
        now: MonoTime,
        source: Source,
        body: &[u8],
        params: &SessionParams,
    ) -> Result<(), Fatal> {
        let view = UpdateView::parse(body)?;
        if let Some(family) = view.end_of_rib() {
            self.take_in(now, source);
            self.handle_end_of_rib(now, source, family);
            return Ok(());
        }
        for nlri in [view.withdrawn, view.nlri] {
            check_nlri(nlri, AfiSafi::IPV4_UNICAST, params.add_path_rx(AfiSafi::IPV4_UNICAST))
                .map_err(DecodeError::from)?;
        }
        let mut sections = Sections { withdrawn: view.withdrawn, nlri: view.nlri, ..Sections::default() };
        let (action, next_hop) = self.split_attributes(source, &view, params, &mut sections)?;
        self.withdraw_all(Family::Ipv4Unicast, sections.withdrawn, params);
        if let Some(unreach) = &sections.unreach {
            self.withdraw_family(source, unreach.family, unreach.nlri, params);
        }
        let announced = [
            (AfiSafi::IPV4_UNICAST, sections.nlri, next_hop),
            sections.reach.as_ref().map_or((AfiSafi::IPV4_UNICAST, &[][..], None), |reach| {
                (reach.family, reach.nlri, Some(reach.next_hop))
            }),
        ];
        for (family, nlri, next_hop) in announced {
            let Some(family) = self.negotiated_family(source, family).filter(|_| !nlri.is_empty()) else {
                continue;
            };
            let attr = match action {
                Action7606::Withdraw => None,
                Action7606::Use if sections.is_irregular => {
                    let attributes = self.report(source, &view, params)?;
                    attributes.map(|attributes| self.intern(attributes, next_hop))
                }
                Action7606::Use => self.attributes_of(source, &view, next_hop, params)?,
            };
            match attr.filter(|attr| self.is_acceptable(source, *attr)) {
                Some(attr) if self.filters_import(source) => {
                    self.announce_filtered(source, family, nlri, attr, params);
                }
                Some(attr) => self.announce_all(family, nlri, attr, params),
                None => self.withdraw_all(family, nlri, params),
            }
        }
        Ok(())
    }

    /// Finds MP_REACH_NLRI and MP_UNREACH_NLRI, and copies what is left to the scratch space, ready to be looked up.
    /// Returns NEXT_HOP's value.
    fn split_attributes<'a>(
        &mut self,
        source: Source,
        view: &UpdateView<'a>,
        params: &SessionParams,
        sections: &mut Sections<'a>,
    ) -> Result<(Action7606, Option<NextHop>), Fatal> {
        self.scratch.attributes.clear();
        let mut next_hop = None;
        let mut action = Action7606::Use;
        for attribute in RawAttributes::new(view.attributes) {
            let Ok(attribute) = attribute else {
                sections.is_irregular = true;
                break;
            };
            sections.is_irregular |= !has_expected_shape(&attribute);
            let outcome = match attribute.code {
                AttributeCode::MP_REACH_NLRI if sections.reach.is_none() => {
                    MpReachView::parse(attribute.value, params).map(|reach| sections.reach = Some(reach))
                }
                AttributeCode::MP_UNREACH_NLRI if sections.unreach.is_none() => {
                    MpUnreachView::parse(attribute.value).map(|unreach| sections.unreach = Some(unreach))
                }
                AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI => {
                    let code = NotificationCode::UPDATE_MESSAGE_ERROR;
                    let notification = Notification::new(code, subcode::update::MALFORMED_ATTRIBUTE_LIST);
                    return Err(Fatal { notification, why: Some(format!("{} twice", attribute.code)) });
                }
                AttributeCode::NEXT_HOP => {
                    next_hop = next_hop.or_else(|| NextHop::from_octets(attribute.value));
                    Ok(())
                }
                _ => {
                    self.scratch.attributes.extend_from_slice(attribute.tlv);
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                action = action.max(self.judge(source, &error, error.action())?);
            }
        }
        for (family, nlri) in sections.mp_nlri() {
            let checked = check_nlri(nlri, family, params.add_path_rx(family));
            if self.negotiated_family(source, family).is_some() {
                checked.map_err(DecodeError::from)?;
            }
        }
        let has_any = sections.is_irregular || !self.scratch.attributes.is_empty();
        if view.nlri.is_empty() && sections.reach.is_none() && has_any {
            // Nothing is announced; attributes are still checked (RFC 7606 §5.2), and then of no use.
            self.report(source, view, params)?;
        }
        Ok((action, next_hop))
    }

    /// The interned set of an UPDATE's attributes with this next hop; `None`: treat as withdraw.
    fn attributes_of(
        &mut self,
        source: Source,
        view: &UpdateView<'_>,
        next_hop: Option<NextHop>,
        params: &SessionParams,
    ) -> Result<Option<AttrId>, Fatal> {
        let raw = std::mem::take(&mut self.scratch.attributes);
        let last = self.peer(source).and_then(|peer| peer.established.as_ref()?.last_attributes.as_ref());
        let known = match last {
            Some(last) if last.next_hop == next_hop && last.bytes == raw => Some(last.attr),
            _ if params.four_octet_as && next_hop.is_some() => {
                // What was seen from an internal peer may hold what an external one must not send (RFC 7606 §7).
                let is_internal = self.sources[source.0 as usize].relation != Relation::External;
                self.attrs
                    .find(&raw, next_hop)
                    .filter(|attr| is_internal || !self.attrs.record(*attr).is_internal)
            }
            _ => None,
        };
        let attr = match known {
            Some(attr) => Some(attr),
            None => self.report(source, view, params)?.map(|attributes| self.intern(attributes, next_hop)),
        };
        if let Some(attr) = attr {
            self.remember_attributes(source, &raw, next_hop, attr);
        }
        self.scratch.attributes = raw;
        Ok(attr)
    }

    fn remember_attributes(&mut self, source: Source, raw: &[u8], next_hop: Option<NextHop>, attr: AttrId) {
        let peer = self.peers[source.0 as usize].as_deref_mut();
        let Some(established) = peer.and_then(|peer| peer.established.as_mut()) else { return };
        match &mut established.last_attributes {
            Some(last) if last.attr == attr && last.next_hop == next_hop && last.bytes == raw => {}
            last => {
                self.attrs.retain(attr);
                let mut bytes = match last.take() {
                    Some(last) => {
                        self.attrs.release(last.attr);
                        last.bytes
                    }
                    None => Vec::new(),
                };
                bytes.clear();
                bytes.extend_from_slice(raw);
                *last = Some(LastAttributes { bytes, next_hop, attr });
            }
        }
    }

    /// Decodes and judges an attribute block; `None`: treat as withdraw.
    fn report(
        &mut self,
        source: Source,
        view: &UpdateView<'_>,
        params: &SessionParams,
    ) -> Result<Option<PathAttributes>, Fatal> {
        let report = decode_attributes(view.attributes, params, view.mandatory_needs());
        let mut action = Action7606::Use;
        for problem in &report.problems {
            action = action.max(self.judge(source, &problem.error, problem.action)?);
        }
        Ok((action == Action7606::Use).then_some(report.attributes))
    }

    /// Keeps an UPDATE in which problems were found.
    fn keep_malformed(
        &mut self,
        now: MonoTime,
        source: Source,
        bytes: &[u8],
        fatal: Option<&Fatal>,
        params: &Arc<SessionParams>,
    ) {
        let mut problems = std::mem::take(&mut self.scratch.problems);
        problems.extend(fatal.and_then(|fatal| fatal.why.clone()).map(Problem::fatal));
        self.note_malformed(now, source, bytes, problems, params);
    }

    fn note_malformed(
        &mut self,
        now: MonoTime,
        source: Source,
        bytes: &[u8],
        problems: Vec<Problem>,
        params: &Arc<SessionParams>,
    ) {
        if let Some(peer) = self.peer_mut(source) {
            peer.malformed_count += 1;
            let id = peer.neighbor.id();
            self.malformed.note(now, id, bytes, problems, params);
        }
    }

    fn judge(
        &mut self,
        source: Source,
        error: &AttributeError,
        action: UpdateErrorAction,
    ) -> Result<Action7606, Fatal> {
        let neighbor = self.sources[source.0 as usize].address;
        tracing::warn!(%neighbor, %error, ?action, "malformed UPDATE");
        self.scratch.problems.push(Problem::of_attribute(error, action));
        let action_name = action_name(action);
        *self.counters.update_errors.entry((error.code.to_string(), action_name)).or_default() += 1;
        match action {
            UpdateErrorAction::AttributeDiscard => Ok(Action7606::Use),
            UpdateErrorAction::TreatAsWithdraw => Ok(Action7606::Withdraw),
            // RFC 4760 §7: of a family that was never agreed upon, nothing is kept that could go wrong.
            UpdateErrorAction::AfiSafiDisable
                if matches!(
                    error.reason,
                    AttributeErrorReason::Nlri(NlriError::UnsupportedFamily { .. })
                ) =>
            {
                Ok(Action7606::Use)
            }
            // A family that cannot be read any more cannot be ignored either: what it withdraws would stay.
            UpdateErrorAction::AfiSafiDisable | UpdateErrorAction::SessionReset => {
                Err(Fatal { notification: error.notification(), why: None })
            }
        }
    }

    /// Interns a decoded set.
    pub(super) fn intern(&mut self, mut attributes: PathAttributes, next_hop: Option<NextHop>) -> AttrId {
        attributes.next_hop = None;
        let record = AttrRecord::new(&attributes, &Self::identity(&self.config));
        let mut wire = BytesMut::new();
        attributes.encode(&canonical_params(), &mut wire);
        debug_assert!(RawAttributes::new(&wire).flatten().all(|a| !is_kept_apart(a.code)), "kept apart");
        self.attrs.intern(&wire, next_hop, record)
    }

    /// Loops, policy and next hop: may a path with these attributes enter the Adj-RIB-In of this source?
    fn is_acceptable(&self, source: Source, attr: AttrId) -> bool {
        let Some(peer) = self.peer(source) else { return false };
        let Some(established) = &peer.established else { return false };
        let terms = &established.terms;
        let set = self.attrs.set(attr);
        let record = set.record;
        let has_more_than = |count: u8, asn| {
            let path = decode_canonical(set.wire).as_path;
            path.is_some_and(|path| path.asns().filter(|other| *other == asn).count() > usize::from(count))
        };
        let has_own_as = match peer.options().allow_own_as {
            0 if terms.local_as == self.config.asn => record.has_own_as,
            0 => record.has_own_as || has_more_than(0, terms.local_as),
            allowed => [terms.local_as, self.config.asn].into_iter().any(|asn| has_more_than(allowed, asn)),
        };
        // RFC 4271 §9.1.2: our AS in the path. RFC 4456 §8: our identifier as originator, our cluster in the list.
        let is_loop =
            has_own_as || record.originator == Some(self.config.router_id) || record.has_own_cluster;
        let has_next_hop =
            set.next_hop.is_some_and(|next_hop| is_usable(next_hop) && !terms.own.contains(next_hop.addr()));
        !is_loop && has_next_hop && peer.import != Policy::Reject
    }

    /// Announced prefixes wait for [`Engine::take_in`].
    pub(super) fn announce_all(&mut self, family: Family, nlri: &[u8], attr: AttrId, params: &SessionParams) {
        self.queue(family, nlri, Some(attr), params);
    }

    /// What waits goes into the table.
    fn take_in(&mut self, now: MonoTime, source: Source) {
        let (mut has_more, mut refused, mut has_room_again) = (false, 0, false);
        for family in Family::ALL {
            let index = family.index();
            if self.incoming[index].len() == 0 {
                continue;
            }
            let applied = self.ribs[index].apply(&mut self.attrs, source, &mut self.incoming[index]);
            let count = &mut self.sources[source.0 as usize].path_count[index];
            *count = *count + applied.new - applied.gone;
            has_more |= applied.new > 0;
            refused += applied.refused;
            has_room_again |= applied.has_room_again;
        }
        if refused > 0 {
            let neighbor = self.sources[source.0 as usize].address;
            let max = PATHS_OF_PREFIX_MAX;
            tracing::warn!(%neighbor, refused, max, "too many paths of one prefix, the rest is not kept");
        }
        if has_room_again {
            self.request_refresh(source);
        }
        let limit = self.peer(source).and_then(|peer| peer.options().max_prefixes);
        let total: u32 = self.sources[source.0 as usize].path_count.iter().sum();
        if has_more && limit.is_some_and(|limit| total > limit) {
            tracing::warn!(neighbor = %self.sources[source.0 as usize].address, total, "more prefixes than max_prefixes");
            self.stop_peer(now, source, &Notification::cease(subcode::cease::MAXIMUM_PREFIXES));
        }
    }

    fn queue(&mut self, family: Family, nlri: &[u8], attr: Option<AttrId>, params: &SessionParams) {
        let afi_safi = family.afi_safi();
        let batch = &mut self.incoming[family.index()];
        for nlri in NlriIter::new(nlri, afi_safi, params.add_path_rx(afi_safi)).flatten() {
            let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
            let length = nlri.canonical(&mut key);
            batch.push(&key[..length], attr, nlri.path_id.unwrap_or(0));
        }
    }

    fn withdraw_family(&mut self, source: Source, family: AfiSafi, nlri: &[u8], params: &SessionParams) {
        if let Some(family) = self.negotiated_family(source, family) {
            self.withdraw_all(family, nlri, params);
        }
    }

    /// Withdrawn prefixes wait for [`Engine::take_in`].
    pub(super) fn withdraw_all(&mut self, family: Family, nlri: &[u8], params: &SessionParams) {
        self.queue(family, nlri, None, params);
    }

    /// Removes a source's paths of some families, all of them or the stale ones.
    pub(super) fn purge(&mut self, source: Source, only_stale: bool, families: &[Family]) {
        for family in families {
            let index = family.index();
            if self.sources[source.0 as usize].path_count[index] > 0 {
                let gone = self.ribs[index].remove_source(&mut self.attrs, source, only_stale);
                self.sources[source.0 as usize].path_count[index] -= gone as u32;
            }
        }
    }

    /// RFC 4724 §4.2: what is still stale was not announced again.
    fn handle_end_of_rib(&mut self, now: MonoTime, source: Source, family: AfiSafi) {
        let Some(family) = self.negotiated_family(source, family) else { return };
        let Some(peer) = self.peer_mut(source) else { return };
        if let Some(established) = &mut peer.established {
            established.end_of_rib[family.index()] = true;
        }
        if let Some(retention) = &mut peer.retention {
            let was_stale = std::mem::take(&mut retention.stale[family.index()]);
            if retention.stale == [false; Family::ALL.len()] {
                peer.retention = None;
            }
            if was_stale {
                self.purge(source, true, &[family]);
            }
        }
        self.look_at_convergence(now);
    }

    fn negotiated_family(&self, source: Source, family: AfiSafi) -> Option<Family> {
        let family = Family::from_afi_safi(family)?;
        let established = self.peer(source)?.established.as_ref()?;
        established.terms.families.contains(&family).then_some(family)
    }
}

/// Are the flags, and the length of NEXT_HOP, as they should be in an attribute that is kept apart?
fn has_expected_shape(attribute: &RawAttribute<'_>) -> bool {
    let flags = attribute.flags.0
        & (AttributeFlags::OPTIONAL.0 | AttributeFlags::TRANSITIVE.0 | AttributeFlags::PARTIAL.0);
    match attribute.code {
        AttributeCode::NEXT_HOP => flags == AttributeFlags::TRANSITIVE.0 && attribute.value.len() == 4,
        AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI => flags == AttributeFlags::OPTIONAL.0,
        _ => true,
    }
}

/// What is left of an RFC 7606 action once the session is to stay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action7606 {
    Use,
    Withdraw,
}

impl<'a> Sections<'a> {
    fn mp_nlri(&self) -> impl Iterator<Item = (AfiSafi, &'a [u8])> + use<'a> {
        let reach = self.reach.as_ref().map(|reach| (reach.family, reach.nlri));
        let unreach = self.unreach.as_ref().map(|unreach| (unreach.family, unreach.nlri));
        reach.into_iter().chain(unreach)
    }
}
