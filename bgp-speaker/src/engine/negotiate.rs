//! Two OPENs in, one session's terms out. Pure.

use super::next_hop::SelfAddresses;
use crate::config::{Family, SessionOptions, SpeakerConfig};
use bgp_proto::{
    AddPathDirection, Afi, AfiSafi, Asn, BgpId, Capability, GracefulRestart, GracefulRestartFamily, HoldTime,
    Notification, NotificationCode, Open, PeerType, SessionParams, subcode,
};
use std::time::Duration;

/// RFC 4724 §3: the restart time has 12 bits.
const RESTART_TIME_MAX_SECS: u64 = 4095;

/// What we say and what we insist on. One per session, made when its connection comes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSide {
    /// Our OPEN.
    pub open: Open,
    /// The AS that the neighbour must have.
    pub remote_as: Asn,
    /// Time between KEEPALIVEs that is asked for.
    pub keepalive: Option<Duration>,
    /// Our addresses on this session.
    pub own: SelfAddresses,
}

/// The state that our graceful restart capability reports (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartFlags {
    /// R: we have just restarted and wait for nobody's End-of-RIB but theirs.
    pub restarting: bool,
    /// F: what we forwarded before, we still forward.
    pub forwarding_preserved: bool,
}

/// What both sides agreed on. One per session that reached OpenConfirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// For the codec.
    pub params: SessionParams,
    /// The neighbour's AS.
    pub remote_as: Asn,
    /// Our AS on this session.
    pub local_as: Asn,
    /// The neighbour's identifier.
    pub remote_id: BgpId,
    /// `None`: no hold timer and no KEEPALIVEs (RFC 4271 §4.2).
    pub hold_time: Option<Duration>,
    /// Time between KEEPALIVEs, at most: a third of the hold time, or less if that is asked for.
    pub keepalive: Option<Duration>,
    /// Families that both announced.
    pub families: Vec<Family>,
    /// It takes ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// Its graceful restart capability, if we use it too.
    pub graceful_restart: Option<GracefulRestart>,
    /// All that it sent, for display.
    pub capabilities: Vec<Capability>,
    /// Our addresses on this session.
    pub own: SelfAddresses,
}

impl Negotiated {
    /// Internal or external?
    pub fn is_external(&self) -> bool {
        self.params.peer_type == PeerType::External
    }

    /// Did it list this family in its graceful restart capability, and with its forwarding state kept?
    pub fn restart_family(&self, family: Family) -> Option<bool> {
        let restart = self.graceful_restart.as_ref()?;
        let entry = restart.families.iter().find(|entry| entry.family == family.afi_safi())?;
        Some(entry.forwarding_preserved)
    }

    /// Both sides use RFC 8538: a NOTIFICATION or an expired hold timer keeps routes as well.
    pub fn has_notification_restart(&self) -> bool {
        self.graceful_restart.as_ref().is_some_and(|restart| restart.notification)
    }
}

/// Our OPEN towards a neighbour with these options.
pub fn local_open(config: &SpeakerConfig, options: &SessionOptions, flags: RestartFlags) -> Open {
    let asn = options.local_as.unwrap_or(config.asn);
    let mut capabilities: Vec<Capability> =
        options.families.iter().map(|family| Capability::MultiProtocol(family.afi_safi())).collect();
    capabilities.push(Capability::RouteRefresh);
    if options.families.contains(&Family::Ipv4Unicast) {
        capabilities.push(Capability::ExtendedNextHop(vec![(AfiSafi::IPV4_UNICAST, Afi::IPV6)]));
    }
    capabilities.push(Capability::ExtendedMessage);
    capabilities.push(Capability::FourOctetAs(asn));
    if let Some(direction) = options.add_paths.direction() {
        let families = options.families.iter().map(|family| (family.afi_safi(), direction));
        capabilities.push(Capability::AddPath(families.collect()));
    }
    if config.graceful_restart.enabled {
        let restart = graceful_restart(config.restart_time(options), &options.families, flags);
        capabilities.push(Capability::GracefulRestart(restart));
    }
    Open {
        version: 4,
        asn,
        hold_time: HoldTime::from_secs(options.hold_time_secs.unwrap_or(config.hold_time_secs))
            .unwrap_or_default(),
        bgp_id: config.router_id,
        capabilities,
    }
}

fn graceful_restart(restart_time: Duration, families: &[Family], flags: RestartFlags) -> GracefulRestart {
    let secs = restart_time.as_secs().min(RESTART_TIME_MAX_SECS);
    GracefulRestart {
        restarting: flags.restarting,
        notification: true,
        restart_time_secs: u16::try_from(secs).unwrap_or(0),
        families: families
            .iter()
            .map(|family| GracefulRestartFamily {
                family: family.afi_safi(),
                forwarding_preserved: flags.forwarding_preserved,
            })
            .collect(),
    }
}

/// Checks the neighbour's OPEN against ours.
///
/// # Errors
/// The NOTIFICATION to send: 2/2 wrong AS, 2/3 our own identifier from our own AS (RFC 6286), 2/7 no common family.
pub fn negotiate(local: &LocalSide, remote: &Open) -> Result<Negotiated, Notification> {
    if remote.asn != local.remote_as {
        return Err(Notification::bad_peer_as());
    }
    let is_external = remote.asn != local.open.asn;
    if !is_external && remote.bgp_id == local.open.bgp_id {
        return Err(Notification::bad_bgp_id());
    }
    let families = common_families(&local.open, remote);
    if families.is_empty() {
        let mut data = Vec::new();
        for family in offered(&local.open) {
            // RFC 5492 §5: the capabilities that the peer should have offered.
            data.extend([1, 4]);
            data.extend(family.afi_safi().afi.0.to_be_bytes());
            data.extend([0, family.afi_safi().safi.0]);
        }
        let code = NotificationCode::OPEN_MESSAGE_ERROR;
        return Err(Notification::with_data(code, subcode::open::UNSUPPORTED_CAPABILITY, &data));
    }
    let has =
        |wanted: &Capability| [&local.open, remote].iter().all(|open| open.capabilities.contains(wanted));
    let mut params = SessionParams {
        peer_type: if is_external { PeerType::External } else { PeerType::Internal },
        four_octet_as: remote.capabilities.iter().any(|c| matches!(c, Capability::FourOctetAs(_))),
        extended_messages: has(&Capability::ExtendedMessage),
        ..SessionParams::default()
    };
    if takes_ipv6_next_hop(&local.open) && takes_ipv6_next_hop(remote) {
        params.extended_next_hop.insert(AfiSafi::IPV4_UNICAST);
    }
    for family in families.iter().map(|family| family.afi_safi()) {
        // RFC 7911 §4: a direction is used if one side sends and the other receives.
        let (ours, theirs) = (add_path_of(&local.open, family), add_path_of(remote, family));
        if ours.is_some_and(AddPathDirection::receives) && theirs.is_some_and(AddPathDirection::sends) {
            params.add_path_rx.insert(family);
        }
        if ours.is_some_and(AddPathDirection::sends) && theirs.is_some_and(AddPathDirection::receives) {
            params.add_path_tx.insert(family);
        }
    }
    let hold_secs = u64::from(local.open.hold_time.as_secs().min(remote.hold_time.as_secs()));
    let hold_time = (hold_secs > 0).then(|| Duration::from_secs(hold_secs));
    let a_third = hold_time.map(|time| time / 3);
    Ok(Negotiated {
        params,
        remote_as: remote.asn,
        local_as: local.open.asn,
        remote_id: remote.bgp_id,
        hold_time,
        keepalive: a_third.map(|third| local.keepalive.map_or(third, |asked| asked.min(third))),
        families,
        route_refresh: has(&Capability::RouteRefresh),
        graceful_restart: graceful_restart_of(&local.open).and_then(|_| graceful_restart_of(remote)).cloned(),
        capabilities: remote.capabilities.clone(),
        own: local.own,
    })
}

fn common_families(local: &Open, remote: &Open) -> Vec<Family> {
    let theirs = offered(remote);
    offered(local).into_iter().filter(|family| theirs.contains(family)).collect()
}

/// RFC 4760 §8: without any MP capability a speaker means IPv4 unicast.
fn offered(open: &Open) -> Vec<Family> {
    let mut has_any = false;
    let mut families = Vec::new();
    for capability in &open.capabilities {
        if let Capability::MultiProtocol(afi_safi) = capability {
            has_any = true;
            families.extend(Family::from_afi_safi(*afi_safi).filter(|family| !families.contains(family)));
        }
    }
    if has_any { families } else { vec![Family::Ipv4Unicast] }
}

fn takes_ipv6_next_hop(open: &Open) -> bool {
    open.capabilities.iter().any(|capability| match capability {
        Capability::ExtendedNextHop(entries) => entries.contains(&(AfiSafi::IPV4_UNICAST, Afi::IPV6)),
        _ => false,
    })
}

/// What an OPEN says about several paths of one prefix of a family.
fn add_path_of(open: &Open, family: AfiSafi) -> Option<AddPathDirection> {
    open.capabilities.iter().find_map(|capability| match capability {
        Capability::AddPath(families) => {
            families.iter().find(|(listed, _)| *listed == family).map(|(_, direction)| *direction)
        }
        _ => None,
    })
}

/// RFC 4724 §3: of several instances the last one counts.
fn graceful_restart_of(open: &Open) -> Option<&GracefulRestart> {
    open.capabilities.iter().rev().find_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AddPaths;

    const FRESH: RestartFlags = RestartFlags { restarting: false, forwarding_preserved: false };

    fn local() -> LocalSide {
        let config = SpeakerConfig::new([10, 0, 0, 1].into());
        LocalSide {
            open: local_open(&config, &SessionOptions::default(), FRESH),
            remote_as: config.asn,
            keepalive: None,
            own: SelfAddresses::default(),
        }
    }

    fn remote() -> Open {
        Open { bgp_id: BgpId(2), ..local().open }
    }

    #[test]
    fn equal_sides_agree_on_everything() {
        let negotiated = negotiate(&local(), &remote()).unwrap();
        assert_eq!(negotiated.families, Family::ALL);
        assert!(negotiated.params.four_octet_as && negotiated.params.extended_messages);
        assert!(negotiated.route_refresh && negotiated.has_notification_restart());
        assert!(!negotiated.is_external());
        assert_eq!(negotiated.hold_time, Some(Duration::from_secs(90)));
    }

    #[test]
    fn the_lower_hold_time_counts_and_zero_means_none() {
        for (theirs, expected) in [(30, Some(30)), (180, Some(90)), (0, None)] {
            let remote = Open { hold_time: HoldTime::from_secs(theirs).unwrap(), ..remote() };
            let negotiated = negotiate(&local(), &remote).unwrap();
            assert_eq!(negotiated.hold_time.map(|time| time.as_secs()), expected);
        }
    }

    #[test]
    fn keepalives_are_sent_as_often_as_asked_and_at_least_thrice_per_hold_time() {
        for (asked, expected) in [(None, 30), (Some(10), 10), (Some(60), 30)] {
            let local = LocalSide { keepalive: asked.map(Duration::from_secs), ..local() };
            let negotiated = negotiate(&local, &remote()).unwrap();
            assert_eq!(negotiated.keepalive, Some(Duration::from_secs(expected)));
            let never = Open { hold_time: HoldTime::from_secs(0).unwrap(), ..remote() };
            assert_eq!(negotiate(&local, &never).unwrap().keepalive, None);
        }
    }

    #[test]
    fn a_session_may_have_a_restart_time_of_its_own() {
        let config = SpeakerConfig::new([10, 0, 0, 1].into());
        for (own, expected) in [(None, 120), (Some(90), 90)] {
            let options = SessionOptions { restart_time_secs: own, ..SessionOptions::default() };
            let open = local_open(&config, &options, FRESH);
            assert_eq!(graceful_restart_of(&open).unwrap().restart_time_secs, expected);
        }
    }

    #[test]
    fn path_identifiers_are_used_in_a_direction_that_one_side_sends_and_the_other_receives() {
        let open = |add_paths, families: &[Family]| {
            let options = SessionOptions { add_paths, families: families.to_vec(), ..Default::default() };
            local_open(&SpeakerConfig::new([10, 0, 0, 1].into()), &options, FRESH)
        };
        let table = [
            (AddPaths::Both, AddPaths::Both, true, true),
            (AddPaths::Both, AddPaths::Send, true, false),
            (AddPaths::Send, AddPaths::Both, false, true),
            (AddPaths::Receive, AddPaths::Receive, false, false),
            (AddPaths::Off, AddPaths::Both, false, false),
            (AddPaths::Both, AddPaths::Off, false, false),
        ];
        for (ours, theirs, receives, sends) in table {
            let local = LocalSide { open: open(ours, &Family::ALL), ..local() };
            let remote = Open { bgp_id: BgpId(2), ..open(theirs, &[Family::Ipv6Unicast]) };
            let params = negotiate(&local, &remote).unwrap().params;
            let (v4, v6) = (AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST);
            assert_eq!((params.add_path_rx(v6), params.add_path_tx(v6)), (receives, sends));
            assert!(!params.add_path_rx(v4) && !params.add_path_tx(v4), "they do not exchange it");
        }
    }

    #[test]
    fn what_is_not_acceptable_is_answered_with_the_right_notification() {
        let wrong_as = Open { asn: Asn(65001), ..remote() };
        let our_id = Open { bgp_id: BgpId::from(std::net::Ipv4Addr::new(10, 0, 0, 1)), ..remote() };
        let vpn = AfiSafi { afi: Afi(1), safi: bgp_proto::Safi(128) };
        let no_family = Open { capabilities: vec![Capability::MultiProtocol(vpn)], ..remote() };
        for (open, code) in [(wrong_as, (2, 2)), (our_id, (2, 3)), (no_family, (2, 7))] {
            let error = negotiate(&local(), &open).unwrap_err();
            assert_eq!((error.code, error.subcode), code);
        }
    }

    #[test]
    fn an_old_speaker_without_capabilities_gets_plain_ipv4() {
        let negotiated = negotiate(&local(), &Open { capabilities: vec![], ..remote() }).unwrap();
        assert_eq!(negotiated.families, [Family::Ipv4Unicast]);
        assert!(!negotiated.params.four_octet_as && !negotiated.route_refresh);
        assert_eq!(negotiated.graceful_restart, None);
    }
}
