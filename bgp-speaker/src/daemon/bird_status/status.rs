//! `show status`: who we are, since when, and whether we are still recovering.

use super::reply::Reply;
use super::times::long;
use super::{Picture, VERSION};

/// The whole reply.
pub(super) fn show(picture: &Picture, reply: &mut Reply) {
    let Picture { now, status, reconfigured, .. } = picture;
    reply.line(1000, &format!("BIRD {VERSION}"));
    reply.line(1011, &format!("Router ID is {}", status.router_id));
    reply.line(1011, &format!("Current server time is {}", long(*now)));
    reply.line(1011, &format!("Last reboot on {}", long(picture.before(status.uptime_secs))));
    reply.line(1011, &format!("Last reconfiguration on {}", long(*reconfigured)));
    if !status.ready {
        let waiting = picture.neighbors.iter().filter(|neighbor| neighbor.state != "Established").count();
        reply.line(24, "Graceful restart recovery in progress");
        reply.line(24, &format!("  Waiting for {waiting} protocols to recover"));
    }
    reply.end(13, "Daemon is up and running");
}
