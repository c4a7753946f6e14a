//! The full mesh among nodes that are no reflectors.

use super::SessionPlan;
use super::context::{BGP_PORT, Context};
use super::session::{of_mesh, password};
use crate::cluster::Problem;
use crate::cluster::calico::key::{Key, Resource};

/// One session with each node and family, unless the mesh is off or we are a reflector ourselves.
pub(super) fn sessions(context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<SessionPlan> {
    let config = context.config;
    if config.mesh_enabled == Some(false) || context.node.cluster_id.is_some() {
        return Vec::new();
    }
    let key = || Key::named(Resource::BgpConfiguration, "default").to_string();
    let password = password(context, config.mesh_password.as_ref(), "BGPConfiguration", &key, problems);
    let mut sessions = Vec::new();
    let nodes = context.snapshot.nodes.iter().filter(|(_, node)| node.cluster_id.is_none());
    for (name, node) in nodes {
        for is_ipv4 in [true, false] {
            let (Some(own), Some(address)) = (context.node.address(is_ipv4), node.address(is_ipv4)) else {
                continue;
            };
            if own != address {
                let port = context.listen_port(name).unwrap_or(BGP_PORT);
                // Where the neighbour names none, it is taken to be in our AS, not in the cluster's.
                let remote_as = node.asn.unwrap_or(context.asn);
                sessions.push(of_mesh(context, own, address, port, remote_as, password.clone()));
            }
        }
    }
    // Two nodes with one address are one neighbour: the first by name.
    let mut seen = std::collections::HashSet::new();
    sessions.retain(|session| seen.insert(session.address));
    sessions
}
