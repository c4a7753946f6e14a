//! The one face of every BGP daemon in the lab: the five real ones and ours.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::error::LabError;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::RouteSpec;
use crate::wait::wait_until;

/// A BGP daemon that runs in a namespace and can be asked for its own view.
///
/// Readers never judge: they report what the daemon's own command line (or output) says. All waiting is the caller's.
pub trait Daemon {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// Starts it with the current description, and returns when it takes commands.
    ///
    /// # Errors
    /// If it does not start.
    fn start(&mut self) -> Result<(), LabError>;

    /// Asks it to end with SIGTERM and waits for that.
    fn stop(&mut self);

    /// Kills it with SIGKILL.
    fn kill(&mut self);

    /// The session with `peer` as this daemon sees it.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn session(&mut self, peer: IpAddr) -> Result<SeenSession, LabError>;

    /// Every route received from `peer`, both families, sorted.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError>;

    /// Originates a route, or changes its attributes, while running.
    ///
    /// # Errors
    /// If the daemon refuses.
    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError>;

    /// Stops originating a route.
    ///
    /// # Errors
    /// If the daemon refuses.
    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError>;

    /// Whether it has a command that sends a ROUTE-REFRESH.
    fn can_ask_refresh(&self) -> bool {
        true
    }

    /// Makes it send a ROUTE-REFRESH for both families to `peer`.
    ///
    /// # Errors
    /// If the daemon refuses.
    fn ask_refresh(&mut self, peer: IpAddr) -> Result<(), LabError>;

    /// A number that grows when `peer` sends it UPDATEs.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError>;

    /// A number that grows when `peer` asks it for a refresh: its own counter of requests, or of routes sent again.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError>;
}

/// Waits until the daemon says that its session with `peer` is up.
///
/// # Errors
/// On timeout, with the daemon's own words.
pub fn wait_established(
    daemon: &mut dyn Daemon,
    peer: IpAddr,
    limit: Duration,
) -> Result<SeenSession, LabError> {
    let what = format!("{} to say that its session with {peer} is up", daemon.name());
    wait_until(&what, limit, || match daemon.session(peer) {
        Ok(session) if session.is_established => Ok(session),
        Ok(session) => Err(session.detail),
        Err(error) => Err(error.to_string()),
    })
}

/// Waits until the routes that the daemon has from `peer` satisfy `judge`, which says what is wrong with them.
///
/// # Errors
/// On timeout, with the last complaint and the routes.
pub fn wait_routes(
    daemon: &mut dyn Daemon,
    peer: IpAddr,
    limit: Duration,
    mut judge: impl FnMut(&[SeenRoute]) -> Result<(), String>,
) -> Result<Vec<SeenRoute>, LabError> {
    let what = format!("{} to hold the right routes from {peer}", daemon.name());
    wait_until(&what, limit, || {
        let routes = daemon.routes_from(peer).map_err(|error| error.to_string())?;
        judge(&routes).map_err(|complaint| format!("{complaint}; it holds:\n{}", lines_of(&routes)))?;
        Ok::<_, String>(routes)
    })
}

/// Routes as indented lines, for messages.
#[must_use]
pub fn lines_of(routes: &[SeenRoute]) -> String {
    if routes.is_empty() {
        return "    (none)".into();
    }
    routes.iter().map(|route| format!("    {route}\n")).collect()
}
