//! The library's face: build a speaker, hold its handle, ask, announce, follow routes, stop.

mod errors;
mod events;
mod routes;

pub use errors::{ApplyError, ChangeError, QueryError, StartError, StopError, Stopped};
pub use events::{SpeakerEvent, SpeakerEvents};
pub(crate) use routes::Ticket;
pub use routes::{RouteChange, RouteSubscription};

#[cfg(feature = "fib")]
use crate::config::KernelImport;
use crate::config::{
    Announcement, FibRules, ListenRange, Neighbor, NeighborId, NeighborRef, SpeakerConfig, Step, diff,
    resolve,
};
use crate::engine::{Pager, StartKind, StopMode};
use crate::io::command::{Command, Edit, Reply};
use crate::io::{Driver, DriverParts};
use crate::view::{
    ExplainView, MalformedView, MetricsView, NeighborView, RouteCursor, RouteQuery, RouteView, StatusView,
};
use bgp_proto::{Asn, BgpId};
use ipnet::IpNet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// We come back: connections are closed without a word, neighbours keep our routes (RFC 4724), and the kernel
    /// keeps what it has.
    Restart,
    /// We leave: neighbours are told so and drop our routes, and with feature `fib` the kernel is cleaned.
    Leave,
}

/// Routes, and whether there are more.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteList {
    /// In the order of their prefixes, the best path of each first.
    pub routes: Vec<RouteView>,
    /// The limit was reached; put it into the next query to go on there.
    pub next: Option<RouteCursor>,
}

/// Makes a [`Speaker`]. AS 64512, no neighbours and no listening address unless said otherwise.
#[derive(Clone, Debug)]
#[must_use]
pub struct SpeakerBuilder {
    config: SpeakerConfig,
    start: StartKind,
    #[cfg(feature = "fib")]
    fib: Option<fib_sync::FibConfig>,
}

impl SpeakerBuilder {
    /// Our AS.
    pub fn asn(mut self, asn: Asn) -> Self {
        self.config.asn = asn;
        self
    }

    /// Our BGP Identifier. Needed; customarily one of the node's IPv4 addresses.
    pub fn router_id(mut self, router_id: Ipv4Addr) -> Self {
        self.config.router_id = BgpId::from(router_id);
        self
    }

    /// One more address to listen on.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.config.listen.push(address);
        self
    }

    /// One more neighbour.
    pub fn neighbor(mut self, neighbor: Neighbor) -> Self {
        self.config.neighbors.insert(neighbor.id(), neighbor);
        self
    }

    /// Neighbours that may connect without being listed.
    pub fn listen_range(mut self, range: ListenRange) -> Self {
        self.config.listen_ranges.push(range);
        self
    }

    /// Makes it a route reflector of this cluster.
    pub fn reflector(mut self, cluster_id: Ipv4Addr) -> Self {
        self.config.cluster_id = Some(BgpId::from(cluster_id));
        self
    }

    /// One more prefix to originate.
    pub fn announce(mut self, announcement: Announcement) -> Self {
        self.config.announcements.insert(announcement.prefix, announcement);
        self
    }

    /// All of the above at once.
    pub fn config(mut self, config: SpeakerConfig) -> Self {
        self.config = config;
        self
    }

    /// What we know of the time before this start; a fresh one unless said otherwise. With feature `fib`, own routes that
    /// are found in the kernel make it a restart.
    pub fn start_kind(mut self, start: StartKind) -> Self {
        self.start = start;
        self
    }

    /// Installs learned routes, and blackholes for own blocks, in the kernel's FIB.
    #[cfg(feature = "fib")]
    pub fn fib(mut self, fib: fib_sync::FibConfig) -> Self {
        self.fib = Some(fib);
        self
    }

    /// What gets into the kernel's FIB, and through which tunnel. Without rules everything does, and next hops are
    /// reached the way that the kernel's own routes say.
    pub fn fib_rules(mut self, rules: FibRules) -> Self {
        self.config.fib_rules = rules;
        self
    }

    /// Announces routes that other programs put into the kernel.
    #[cfg(feature = "fib")]
    pub fn kernel_import(mut self, import: KernelImport) -> Self {
        self.config.kernel_import = Some(import);
        self
    }

    /// Starts it on the current tokio runtime. Without a FIB, sockets are opened before the first await, in the network
    /// namespace of the calling thread; with one, the netlink sockets are, and listening sockets once the kernel's
    /// routes are known.
    ///
    /// # Errors
    /// What is wrong with the configuration, or what the system refuses.
    pub async fn start(self) -> Result<Speaker, StartError> {
        let problems = self.config.problems();
        if !problems.is_empty() {
            return Err(StartError::Config(problems));
        }
        #[allow(unused_mut, reason = "mutated with feature fib")]
        let mut start = self.start;
        #[cfg(feature = "fib")]
        let fib = match self.fib {
            Some(config) => {
                let fib = fib_sync::Fib::open(config.clone()).await?;
                if fib.adopted() > 0 {
                    start = StartKind::Restarted;
                }
                Some((config, fib))
            }
            None => None,
        };
        let (sender, commands) = mpsc::channel(crate::io::CHANNEL_CAPACITY);
        let seed = RandomState::new().hash_one(std::process::id());
        let parts = DriverParts {
            config: self.config,
            seed,
            start,
            commands,
            // Without a FIB, what an earlier run may have left is not to come back as somebody else's.
            #[cfg(feature = "fib")]
            protocol: fib.as_ref().map_or(fib_sync::FibConfig::default().protocol, |(fib, _)| fib.protocol),
        };
        #[allow(unused_mut, reason = "mutated with feature fib")]
        let mut driver = Driver::new(parts)?;
        #[cfg(feature = "fib")]
        driver.open_kernel_feed()?;
        let listening = driver.listen_addresses();
        #[cfg(feature = "fib")]
        let rules = driver.fib_rules();
        let handle = SpeakerHandle {
            commands: sender,
            next_subscriber: Arc::default(),
            #[cfg(feature = "fib")]
            fib: None,
        };
        #[cfg(feature = "fib")]
        let handle = match fib {
            Some((config, fib)) => handle.with_fib(config, fib, rules),
            None => handle,
        };
        #[cfg(feature = "fib")]
        driver.take_first_kernel_news().await;
        let driver = tokio::spawn(driver.run());
        Ok(Speaker { handle, driver: Some(driver), listening })
    }
}

/// A running speaker. Dropping it stops every task, as [`Stop::Restart`] does but without waiting.
#[derive(Debug)]
pub struct Speaker {
    handle: SpeakerHandle,
    driver: Option<JoinHandle<()>>,
    listening: Vec<SocketAddr>,
}

impl Speaker {
    /// Starts to describe a speaker.
    pub fn builder() -> SpeakerBuilder {
        SpeakerBuilder {
            config: SpeakerConfig::new(Ipv4Addr::UNSPECIFIED),
            start: StartKind::Fresh,
            #[cfg(feature = "fib")]
            fib: None,
        }
    }

    /// Where it listened when it started; a configured port 0 is a real one here.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// A handle that can be cloned and given away, and does not keep the speaker running.
    pub fn handle(&self) -> SpeakerHandle {
        self.handle.clone()
    }

    /// Stops it; all connections are closed when this returns.
    ///
    /// # Errors
    /// It had stopped already, or the kernel kept routes that were to go.
    pub async fn stop(mut self, stop: Stop) -> Result<(), StopError> {
        self.handle.shutdown(stop).await?;
        if let Some(driver) = self.driver.take() {
            // Only a panic could make this fail, and that one is reported by the runtime.
            _ = driver.await;
        }
        Ok(())
    }
}

impl Deref for Speaker {
    type Target = SpeakerHandle;

    fn deref(&self) -> &SpeakerHandle {
        &self.handle
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
        #[cfg(feature = "fib")]
        self.handle.abandon_fib();
    }
}

/// Asks things of a running speaker. Cheap to clone; once the speaker has stopped, every call says so.
#[derive(Clone, Debug)]
pub struct SpeakerHandle {
    commands: mpsc::Sender<Command>,
    next_subscriber: Arc<AtomicU64>,
    #[cfg(feature = "fib")]
    fib: Option<Arc<crate::fib::FibGlue>>,
}

impl SpeakerHandle {
    /// The configuration in force.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn config(&self) -> Result<SpeakerConfig, Stopped> {
        self.ask(Command::Config).await
    }

    /// What [`SpeakerHandle::apply`] would do, without doing it.
    ///
    /// # Errors
    /// As `apply`, but nothing is opened.
    pub async fn plan(&self, new: SpeakerConfig) -> Result<Vec<Step>, ApplyError> {
        check(&new)?;
        Ok(diff(&self.config().await?, &new))
    }

    /// Makes a configuration the one in force; the steps that led to it.
    ///
    /// # Errors
    /// What is wrong with it, or an address that cannot be listened on; nothing has changed then.
    pub async fn apply(&self, new: SpeakerConfig) -> Result<Vec<Step>, ApplyError> {
        self.ask(|reply| Command::Apply(Box::new(new), reply)).await?
    }

    /// Originates a prefix, or changes how.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn announce(&self, announcement: Announcement) -> Result<(), ApplyError> {
        let edit =
            |config: &mut SpeakerConfig| _ = config.announcements.insert(announcement.prefix, announcement);
        self.change(edit).await.map(|_| ())
    }

    /// Stops originating a prefix; was it originated?
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn withdraw(&self, prefix: IpNet) -> Result<bool, ApplyError> {
        let prefix = prefix.trunc();
        let steps = self.change(move |config| _ = config.announcements.remove(&prefix)).await?;
        Ok(!steps.is_empty())
    }

    /// Follows the Loc-RIB: a snapshot, then every change.
    pub fn subscribe(&self) -> RouteSubscription {
        let id = self.next_subscriber.fetch_add(1, Ordering::Relaxed);
        RouteSubscription::new(id, self.clone())
    }

    /// Follows the changes of the Loc-RIB from now on, without what there is already.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn follow_routes(&self) -> Result<RouteSubscription, Stopped> {
        let subscription = self.subscribe();
        self.ask(|reply| Command::FollowRoutes(subscription.ticket(), reply)).await?;
        Ok(subscription)
    }

    /// What happens from now on to sessions and to the configuration. Without a reader events cost nothing; a slow
    /// reader loses the oldest, and is told.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn events(&self) -> Result<SpeakerEvents, Stopped> {
        self.ask(Command::Events).await.map(SpeakerEvents::new)
    }

    /// Messages that could not be read or used, of each neighbour the latest, the oldest first.
    ///
    /// # Errors
    /// There is no such neighbour, nor messages of a former one; or the speaker has stopped.
    pub async fn malformed(&self, neighbor: Option<NeighborRef>) -> Result<Vec<MalformedView>, QueryError> {
        Ok(self.ask(|reply| Command::Malformed(neighbor, reply)).await??)
    }

    /// The kernel's side in detail; `None` if routes stay out of it.
    #[cfg(feature = "fib")]
    pub async fn fib(&self) -> Option<crate::view::FibDetailsView> {
        match &self.fib {
            Some(fib) => Some(fib.details().await),
            None => None,
        }
    }

    /// What happens on the kernel's side from now on; `None` if routes stay out of it.
    #[cfg(feature = "fib")]
    pub fn fib_events(&self) -> Option<fib_sync::FibEvents> {
        self.fib.as_ref().and_then(|fib| fib.events())
    }

    /// Why a prefix is where it is: its paths and how they compare, whom it is told and why not, and what the kernel
    /// does with it. With `to`, of those whom it is told only this neighbour.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one; or the speaker has stopped.
    pub async fn explain(&self, prefix: IpNet, to: Option<NeighborRef>) -> Result<ExplainView, QueryError> {
        #[allow(unused_mut, reason = "mutated with feature fib")]
        let mut view = self.ask(|reply| Command::Explain(prefix, to, reply)).await??;
        #[cfg(feature = "fib")]
        {
            view.kernel = self.explain_fib(prefix).await;
        }
        Ok(view)
    }

    /// What the kernel does with a prefix and why, in words: a line for the route, and one for each of its next hops.
    /// Nothing if no route for exactly this prefix is meant for the kernel.
    #[cfg(feature = "fib")]
    pub async fn explain_fib(&self, prefix: ipnet::IpNet) -> Vec<String> {
        match &self.fib {
            Some(fib) => fib.explain(prefix).await,
            None => Vec::new(),
        }
    }

    /// One screen about the speaker.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn status(&self) -> Result<StatusView, Stopped> {
        #[allow(unused_mut, reason = "mutated with feature fib")]
        let mut status = self.ask(Command::Status).await?;
        #[cfg(feature = "fib")]
        {
            status.fib = self.fib.as_ref().map(|fib| fib.view());
        }
        Ok(status)
    }

    /// All neighbours, by address and port.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn neighbors(&self) -> Result<Vec<NeighborView>, Stopped> {
        self.ask(Command::Neighbors).await
    }

    /// Routes, as the query says, each as it was at some time during the call: large tables are read in parts, between
    /// which the speaker goes on. What is there throughout is told, once, also over several pages.
    ///
    /// # Errors
    /// The query names a neighbour that there is not, or more than one; or the speaker has stopped.
    pub async fn routes(&self, query: RouteQuery) -> Result<RouteList, QueryError> {
        let mut pager = Pager::new(query);
        while let Some(question) = pager.question() {
            pager.take(self.ask(|reply| Command::Page(question, reply)).await??);
        }
        let (routes, next) = pager.finish();
        Ok(RouteList { routes, next })
    }

    /// How many prefixes nobody but these neighbours tells: what would be lost without them. What others told before they
    /// restarted does not count.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn sole_routes(&self, neighbors: Vec<NeighborId>) -> Result<usize, Stopped> {
        self.ask(|reply| Command::SoleRoutes(neighbors, reply)).await
    }

    /// Counters and gauges.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub async fn metrics(&self) -> Result<MetricsView, Stopped> {
        self.ask(Command::Metrics).await
    }

    /// Closes and reopens a neighbour's session.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one; or the speaker has stopped.
    pub async fn reset(&self, neighbor: impl Into<NeighborRef>) -> Result<(), QueryError> {
        let neighbor = neighbor.into();
        Ok(self.ask(|reply| Command::Reset(neighbor, reply)).await??)
    }

    /// Exchanges all routes with a neighbour again, both ways (RFC 2918).
    ///
    /// # Errors
    /// There is no such neighbour, or more than one; or the speaker has stopped.
    pub async fn refresh(&self, neighbor: impl Into<NeighborRef>) -> Result<(), QueryError> {
        let neighbor = neighbor.into();
        Ok(self.ask(|reply| Command::Refresh(neighbor, reply)).await??)
    }

    /// Enables or disables a listed neighbour.
    ///
    /// # Errors
    /// It is not listed, or more than one is; a configuration with the change could not be applied, and is not; or the
    /// speaker has stopped.
    pub async fn set_enabled(
        &self,
        neighbor: impl Into<NeighborRef>,
        enabled: bool,
    ) -> Result<(), ChangeError> {
        let wanted = neighbor.into();
        let (found, is_found) = oneshot::channel();
        let edit = move |config: &mut SpeakerConfig| {
            let id = resolve(&config.neighbors, wanted);
            if let Some(neighbor) = id.as_ref().ok().and_then(|id| config.neighbors.get_mut(id)) {
                neighbor.enabled = enabled;
            }
            // Whoever asked may be gone.
            _ = found.send(id.map(drop));
        };
        self.change(edit).await?;
        Ok(is_found.await.map_err(|_| ApplyError::Stopped(Stopped))??)
    }

    /// What [`Speaker::stop`] does, for those who only have a handle.
    ///
    /// # Errors
    /// It had stopped already, or the kernel kept routes that were to go.
    pub async fn shutdown(&self, stop: Stop) -> Result<(), StopError> {
        let mode = match stop {
            Stop::Restart => StopMode::Restart,
            Stop::Leave => StopMode::Leave,
        };
        self.ask(|reply| Command::Stop(mode, reply)).await?;
        #[cfg(feature = "fib")]
        if let Some(fib) = &self.fib {
            fib.stop(stop).await?;
        }
        Ok(())
    }

    /// Waits until the speaker has stopped.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }

    #[cfg(feature = "fib")]
    fn with_fib(
        mut self,
        config: fib_sync::FibConfig,
        fib: fib_sync::Fib,
        rules: tokio::sync::watch::Receiver<Arc<FibRules>>,
    ) -> Self {
        let subscription = self.subscribe();
        self.fib = Some(Arc::new(crate::fib::FibGlue::start(config, fib, subscription, rules)));
        self
    }

    #[cfg(feature = "fib")]
    fn abandon_fib(&self) {
        if let Some(fib) = &self.fib {
            fib.abandon();
        }
    }

    async fn change(
        &self,
        edit: impl FnOnce(&mut SpeakerConfig) + Send + 'static,
    ) -> Result<Vec<Step>, ApplyError> {
        self.ask(|reply| Command::Change(Edit(Box::new(edit)), reply)).await?
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

fn check(config: &SpeakerConfig) -> Result<(), ApplyError> {
    let problems = config.problems();
    if problems.is_empty() { Ok(()) } else { Err(ApplyError::Invalid(problems)) }
}
