//! Sessions, from what was asked for.

use super::context::{BGP_PORT, Context};
use super::peers::{Explicit, Scope};
use super::{SessionPlan, mesh, peers};
use crate::cluster::Problem;
use crate::cluster::calico::key::{Key, Resource};
use crate::cluster::calico::model::{BgpFilter, BgpFilterRule, SecretKeyRef};
use crate::cluster::calico::value::GoDuration;
use crate::config::{NextHopMode, Role, Secret};
use bgp_proto::{Asn, BgpId};
use std::collections::HashMap;
use std::net::IpAddr;

/// Calico's, or rather BIRD's: how long neighbours keep our routes.
const RESTART_TIME_SECS: u16 = 120;
/// 12 bits on the wire, RFC 4724 §3.
const RESTART_TIME_MAX_SECS: u64 = 4095;

/// All sessions, by name. Of two between the same addresses only one could come up, so that a neighbour that somebody
/// asked for takes the place of the mesh's; a session that is up goes on under its new name.
pub(super) fn all(context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<SessionPlan> {
    let explicit = peers::explicit(context, problems);
    let session = |peer: &Explicit<'_>| (from_explicit(context, peer, problems), peer.name.to_owned());
    let mut explicit: Vec<(SessionPlan, String)> = explicit.iter().map(session).collect();
    explicit.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let mut taken: HashMap<IpAddr, &str> = HashMap::new();
    for (session, peer) in &explicit {
        if let Some(first) = taken.get(&session.address) {
            let reason = format!("{} is not set up: {first} has the same address", session.name);
            problems.push(Problem::new("BGPPeer", Key::named(Resource::BgpPeer, peer).to_string(), reason));
        } else {
            taken.insert(session.address, &session.name);
        }
    }
    let mesh = mesh::sessions(context, problems).into_iter();
    let mesh: Vec<SessionPlan> = mesh.filter(|mesh| !taken.contains_key(&mesh.address)).collect();
    let mut sessions: Vec<SessionPlan> =
        explicit.into_iter().map(|(session, _)| session).chain(mesh).collect();
    sessions.sort_by(|a, b| a.name.cmp(&b.name));
    sessions
}

fn from_explicit(context: &Context<'_>, explicit: &Explicit<'_>, problems: &mut Vec<Problem>) -> SessionPlan {
    let Explicit { name, peer, end, scope } = explicit;
    let own = context.node.address(end.address.is_ipv4());
    let local_as = if end.has_session_options { peer.local_as } else { None }.unwrap_or(context.asn);
    let is_internal = end.asn == local_as;
    let is_workload = *scope == Scope::LocalWorkload;
    let kind = match scope {
        Scope::Global => "Global",
        Scope::Node => "Node",
        Scope::LocalWorkload => "Local_Workload",
    };
    let key = || Key::named(Resource::BgpPeer, name).to_string();
    let mut session = SessionPlan {
        name: session_name(kind, end.address, end.port),
        address: end.address,
        port: end.port.unwrap_or(BGP_PORT),
        local_as,
        remote_as: end.asn,
        local_address: own.filter(|_| !is_workload && !peer.any_source_address),
        // Calico keeps one end of a session from connecting, lest the second connection abort a graceful restart.
        passive: is_workload
            || (*scope == Scope::Global
                && end.is_calico_node
                && own.is_some_and(|own| is_passive(own, end.address))),
        role: role(context, is_internal, end.cluster_id),
        ttl_security: None,
        next_hop: NextHopMode::Auto,
        keepalive_secs: None,
        restart_time_secs: RESTART_TIME_SECS,
        password: None,
        allow_own_as: if end.has_session_options && !is_workload { peer.allow_own_as } else { 0 },
        import: Vec::new(),
        export: Vec::new(),
    };
    add_filters(context, &mut session, &peer.filters, &key, problems);
    if is_workload {
        return session;
    }
    session.ttl_security = peer.ttl_security;
    session.next_hop = match peer.next_hop_mode {
        Some(mode) => mode,
        None if peer.keep_original_next_hop && !is_internal => NextHopMode::Unchanged,
        None => NextHopMode::Auto,
    };
    session.keepalive_secs =
        peer.keepalive_time.map(|time| u16::try_from(time.rounded_secs().max(1)).unwrap_or(u16::MAX));
    session.restart_time_secs = restart_time(peer.max_restart_time);
    session.password = password(context, peer.password.as_ref(), "BGPPeer", &key, problems);
    session
}

/// A client is internal, and not of our own cluster.
fn role(context: &Context<'_>, is_internal: bool, cluster_id: Option<BgpId>) -> Role {
    let ours = context.node.cluster_id;
    if is_internal && ours.is_some() && ours != cluster_id { Role::Client } else { Role::Peer }
}

/// A session of the mesh.
pub(super) fn of_mesh(
    context: &Context<'_>,
    own: IpAddr,
    address: IpAddr,
    port: u16,
    remote_as: Asn,
    password: Option<Secret>,
) -> SessionPlan {
    SessionPlan {
        name: session_name("Mesh", address, None),
        address,
        port,
        local_as: context.asn,
        remote_as,
        local_address: Some(own),
        passive: is_passive(own, address),
        role: Role::Peer,
        ttl_security: None,
        next_hop: NextHopMode::Auto,
        keepalive_secs: None,
        restart_time_secs: restart_time(context.config.mesh_max_restart_time),
        password,
        allow_own_as: 0,
        import: Vec::new(),
        export: Vec::new(),
    }
}

/// Calico's comparison is one of texts, so that `10.0.0.10` comes before `10.0.0.9`.
fn is_passive(own: IpAddr, peer: IpAddr) -> bool {
    peer.to_string() > own.to_string()
}

fn session_name(kind: &str, address: IpAddr, port: Option<u16>) -> String {
    let mut name = format!("{kind}_{address}").replace(['.', ':'], "_");
    if let Some(port) = port {
        name.push_str(&format!("_port_{port}"));
    }
    name
}

fn restart_time(configured: Option<GoDuration>) -> u16 {
    let secs = configured.map(|time| time.rounded_secs().min(RESTART_TIME_MAX_SECS));
    secs.and_then(|secs| u16::try_from(secs).ok()).unwrap_or(RESTART_TIME_SECS)
}

/// The password, or none where there is none: the session then fails to authenticate, and the problem says why.
pub(super) fn password(
    context: &Context<'_>,
    reference: Option<&SecretKeyRef>,
    kind: &'static str,
    key: &dyn Fn() -> String,
    problems: &mut Vec<Problem>,
) -> Option<Secret> {
    let reference = reference?;
    let namespace = &context.local.namespace;
    match context.snapshot.kubernetes.password(namespace, &reference.name, &reference.key) {
        Ok(password) => Some(password.clone()),
        Err(why) => {
            let reason = format!(
                "password: key {} of Secret {namespace}/{} {why}; sessions go without",
                reference.key, reference.name
            );
            problems.push(Problem::new(kind, key(), reason));
            None
        }
    }
}

/// The filters that have something to say about the session's family.
fn add_filters(
    context: &Context<'_>,
    session: &mut SessionPlan,
    names: &[String],
    key: &dyn Fn() -> String,
    problems: &mut Vec<Problem>,
) {
    let is_ipv4 = session.address.is_ipv4();
    for name in names {
        let Some(filter) = context.snapshot.filters.get(name.as_str()) else {
            let reason =
                format!("filters: there is no BGPFilter {name}; routes pass as if it were not named");
            problems.push(Problem::new("BGPPeer", key(), reason));
            continue;
        };
        let (import, export) = rules(filter, is_ipv4);
        if !import.is_empty() {
            session.import.push(name.clone());
        }
        if !export.is_empty() {
            session.export.push(name.clone());
        }
    }
}

/// Import and export.
fn rules(filter: &BgpFilter, is_ipv4: bool) -> (&[BgpFilterRule], &[BgpFilterRule]) {
    if is_ipv4 { (&filter.import_v4, &filter.export_v4) } else { (&filter.import_v6, &filter.export_v6) }
}
