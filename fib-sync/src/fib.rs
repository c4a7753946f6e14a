//! The handle: what an owner of routes does with this crate.

use std::net::IpAddr;

use ipnet::IpNet;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::FibConfig;
use crate::decision::{NextHopDecision, RouteExplanation};
use crate::error::FibError;
use crate::kernel::{Action, Hop, Kernel, KernelRoute, Lost, Snapshot};
use crate::model::{Change, InvalidRoute, NextHopSet, Route};
use crate::netlink::{Monitor, RouteSocket};
use crate::planner::{Planner, Work};
use crate::status::{FibEvent, FibStatus, InstalledKind, InstalledNextHop, InstalledRoute};
use crate::task::{Demand, Ears, Question, Task, now};
use crate::worker::Worker;

/// Calls that wait for the task; more wait in their callers.
const CALLS_MAX: usize = 16;
/// Events that a slow reader may be behind.
const EVENTS_MAX: usize = 8192;
/// How often the first reading of the kernel's routes may be disturbed before `open` gives up.
const FIRST_DUMP_ATTEMPTS: usize = 50;

/// A desired set of routes, kept in step with the kernel's table.
///
/// Dropping the handle stops its task and closes its sockets. The kernel's routes stay as they are, so that
/// forwarding goes on; [`remove_all`](Fib::remove_all) is the way to leave nothing behind.
#[derive(Debug)]
pub struct Fib {
    demands: mpsc::Sender<Demand>,
    questions: mpsc::Sender<Question>,
    status: watch::Receiver<FibStatus>,
    events: broadcast::Sender<FibEvent>,
    adopted: usize,
    task: JoinHandle<()>,
}

impl Drop for Fib {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fib {
    /// Opens the kernel's routing table and reads which of its routes are ours.
    ///
    /// The sockets are made before the first `await`, so they belong to the network namespace of the thread that
    /// first polls this call. Routes found are adopted: they stay as they are until the owner asks for something
    /// else for their prefix, or says that it has [`converged`](Fib::converged) without asking for them.
    ///
    /// # Errors
    /// [`FibError::Config`], [`FibError::NotPermitted`] without `CAP_NET_ADMIN`, [`FibError::Socket`] and
    /// [`FibError::Kernel`] when the sockets or the first reading fail.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn open(config: FibConfig) -> Result<Fib, FibError> {
        config.validate()?;
        let socket = RouteSocket::open(config.ownership())?;
        let monitor = Monitor::open(config.ownership(), socket.port())?;
        Fib::start(&config, socket, Ears::Kernel(monitor)).await
    }

    /// As [`open`](Fib::open), over an in-memory kernel.
    ///
    /// # Errors
    /// As `open`.
    #[cfg(any(test, feature = "test-util"))]
    pub async fn open_fake(
        config: FibConfig,
        kernel: &crate::fake_kernel::FakeKernel,
    ) -> Result<Fib, FibError> {
        config.validate()?;
        kernel.serve(config.ownership());
        Fib::start(&config, kernel.clone(), Ears::Fake(kernel.clone())).await
    }

    async fn start<K: Kernel>(config: &FibConfig, kernel: K, ears: Ears) -> Result<Fib, FibError> {
        let mut planner = Planner::new(config, now());
        let kernel = first_dump(&mut planner, kernel).await?;
        let status = planner.status();
        let adopted = status.leftover;
        tracing::info!(
            table = config.table,
            protocol = config.protocol,
            adopted,
            "opened the kernel's routing table"
        );
        let (demands, demands_rx) = mpsc::channel(CALLS_MAX);
        let (questions, questions_rx) = mpsc::channel(CALLS_MAX);
        let (status_tx, status) = watch::channel(status);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let task = Task {
            planner,
            worker: Worker::new(kernel),
            ears,
            demands: demands_rx,
            questions: questions_rx,
            status: status_tx,
            events: events.clone(),
        };
        Ok(Fib { demands, questions, status, events, adopted, task: tokio::spawn(task.run()) })
    }

    /// How many routes of ours were found when this `Fib` was opened.
    pub fn adopted(&self) -> usize {
        self.adopted
    }

    /// Makes `desired` the whole of what is wanted: missing routes are installed, different ones replaced, all
    /// others of ours removed. This includes what [`converged`](Fib::converged) does. Of several routes for one
    /// prefix the last counts. Returns when the set is accepted; the kernel's work goes on, see
    /// [`flush`](Fib::flush).
    ///
    /// # Errors
    /// [`FibError::InvalidRoute`] if some can never be installed; the others are accepted. [`FibError::Closed`].
    pub async fn replace_all(&self, mut desired: Vec<Route>) -> Result<(), FibError> {
        let mut refused = Refused::default();
        desired.retain(|route| refused.check(route));
        self.demand(|reply| Demand::ReplaceAll(desired, reply)).await?;
        refused.into_result()
    }

    /// Takes changes to what is wanted; the latest for a prefix counts, also while an earlier one is on its way to
    /// the kernel. Returns when they are accepted. While more than [`FibConfig::queue_limit`] prefixes wait for the
    /// kernel, this waits too.
    ///
    /// # Errors
    /// As [`replace_all`](Fib::replace_all).
    pub async fn apply(&self, mut changes: Vec<Change>) -> Result<(), FibError> {
        let mut refused = Refused::default();
        changes.retain(|change| match change {
            Change::Remove(_) => true,
            Change::Set(route) => refused.check(route),
        });
        self.demand(|reply| Demand::Apply(changes, reply)).await?;
        refused.into_result()
    }

    /// The owner has said everything it wants: routes that were found at the start, or that appear under our
    /// protocol id, and that nobody asked for are removed from now on.
    ///
    /// # Errors
    /// [`FibError::Closed`].
    pub async fn converged(&self) -> Result<(), FibError> {
        self.demand(Demand::Converged).await
    }

    /// Waits until nothing is queued or on its way, and says where things stand. Refused routes do not hold this
    /// up: they are counted as pending.
    ///
    /// # Errors
    /// [`FibError::Closed`].
    pub async fn flush(&self) -> Result<FibStatus, FibError> {
        self.ask(Question::Flush).await
    }

    /// Our routes as the kernel has them now, in no particular order. Reads the kernel, not what is believed of it.
    ///
    /// # Errors
    /// [`FibError::Socket`] or [`FibError::Kernel`] when reading fails, [`FibError::Closed`].
    pub async fn installed(&self) -> Result<Vec<InstalledRoute>, FibError> {
        let snapshot = self.ask(Question::Installed).await??;
        Ok(installed_routes(&snapshot))
    }

    /// What was decided about each next hop in use: the interface and the gateway, and why.
    ///
    /// # Errors
    /// [`FibError::Closed`].
    pub async fn next_hops(&self) -> Result<Vec<NextHopDecision>, FibError> {
        self.ask(Question::NextHops).await
    }

    /// Where a prefix stands and why; `None` if no route for exactly this prefix is wanted.
    ///
    /// # Errors
    /// [`FibError::Closed`].
    pub async fn explain(&self, prefix: IpNet) -> Result<Option<RouteExplanation>, FibError> {
        self.ask(|reply| Question::Explain(prefix, reply)).await
    }

    /// Every route that is wanted over `from` is wanted over `to` from now on: what is to be done when a next hop fails.
    /// Returns how many routes that is. Where routes share a nexthop object, and nobody else's use of it stands in the
    /// way, the kernel is sent one message however many they are. The same happens by itself when the last of the
    /// routes over a set is given another by [`apply`](Fib::apply) or [`replace_all`](Fib::replace_all).
    ///
    /// # Errors
    /// [`FibError::InvalidRoute`] if `to` cannot carry a family that `from` can; nothing has changed then.
    /// [`FibError::Closed`].
    pub async fn fail_over(&self, from: NextHopSet, to: NextHopSet) -> Result<usize, FibError> {
        let mut refused = Refused::default();
        for prefix in [IpNet::from(IpAddr::from([0; 4])), IpNet::from(IpAddr::from([0; 16]))] {
            if Route::unicast(prefix, from.clone()).validate().is_ok() {
                refused.check(&Route::unicast(prefix, to.clone()));
            }
        }
        refused.into_result()?;
        self.demand(|reply| Demand::FailOver { from, to, reply }).await
    }

    /// Where things stand now, without waiting.
    pub fn status(&self) -> FibStatus {
        self.status.borrow().clone()
    }

    /// What happens from now on. Without a reader events cost nothing; a slow reader loses the oldest, and is told.
    pub fn events(&self) -> FibEvents {
        FibEvents { receiver: self.events.subscribe() }
    }

    /// Wants nothing any more and waits until all routes of ours, and only ours, are gone. Returns how many went.
    ///
    /// # Errors
    /// [`FibError::Closed`]. A route that the kernel will not let go is pending, in [`status`](Fib::status).
    pub async fn remove_all(&self) -> Result<usize, FibError> {
        self.demand(Demand::RemoveAll).await
    }

    async fn demand<T>(&self, demand: impl FnOnce(oneshot::Sender<T>) -> Demand) -> Result<T, FibError> {
        let (reply, answer) = oneshot::channel();
        self.demands.send(demand(reply)).await.map_err(|_| FibError::Closed)?;
        answer.await.map_err(|_| FibError::Closed)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, FibError> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(reply)).await.map_err(|_| FibError::Closed)?;
        answer.await.map_err(|_| FibError::Closed)
    }
}

/// The events of one [`Fib`], from the moment of [`Fib::events`].
#[derive(Debug)]
pub struct FibEvents {
    receiver: broadcast::Receiver<FibEvent>,
}

impl FibEvents {
    /// The next event; `None` when the `Fib` is gone. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Option<FibEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(FibEvent::Lagged { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Reads the kernel until that has succeeded once.
async fn first_dump<K: Kernel>(planner: &mut Planner, mut kernel: K) -> Result<K, FibError> {
    for attempt in 1.. {
        match planner.next_work(now()) {
            Some(Work::Dump(reading)) => {
                let dump = move || {
                    let result = kernel.read(&reading);
                    (kernel, result)
                };
                let (returned, result) =
                    tokio::task::spawn_blocking(dump).await.map_err(|_| FibError::Closed)?;
                kernel = returned;
                match result {
                    Err(lost) if attempt >= FIRST_DUMP_ATTEMPTS => return Err(lost.into_error()),
                    Err(Lost::Failed(error)) => return Err(error),
                    result => planner.dump_done(now(), result),
                }
            }
            _ if planner.knows_kernel() => break,
            _ => match planner.next_deadline() {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => break,
            },
        }
        if planner.knows_kernel() {
            break;
        }
    }
    Ok(kernel)
}

/// Routes that can never be installed, among those of one call.
#[derive(Debug, Default)]
struct Refused {
    first: Option<(Route, InvalidRoute)>,
    more: usize,
}

impl Refused {
    fn check(&mut self, route: &Route) -> bool {
        let Err(reason) = route.validate() else { return true };
        match self.first {
            None => self.first = Some((route.clone(), reason)),
            Some(_) => self.more += 1,
        }
        false
    }

    fn into_result(self) -> Result<(), FibError> {
        match self.first {
            None => Ok(()),
            Some((route, reason)) => {
                Err(FibError::InvalidRoute { route: Box::new(route), reason, more: self.more })
            }
        }
    }
}

fn installed_routes(snapshot: &Snapshot) -> Vec<InstalledRoute> {
    let name = |index: u32| {
        let link = snapshot.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("#{index}"), |link| link.name.to_string())
    };
    let next_hop = |hop: &Hop| InstalledNextHop::of(hop, &name(hop.interface));
    let installed = |route: &KernelRoute| InstalledRoute {
        prefix: route.prefix,
        metric: route.metric,
        kind: match route.content.action {
            Action::Blackhole => InstalledKind::Blackhole,
            Action::Other(number) => InstalledKind::Other(number),
            Action::Prohibit => InstalledKind::Prohibit,
            Action::Unicast => InstalledKind::Unicast(route.content.hops.iter().map(next_hop).collect()),
            Action::Unreachable => InstalledKind::Unreachable,
        },
        nexthop_id: (route.content.nexthop_id != 0).then_some(route.content.nexthop_id),
    };
    snapshot.routes.iter().flatten().map(installed).collect()
}

impl InstalledRoute {
    /// Whether this is a route for `prefix` over exactly one gateway, `gateway`.
    pub fn is_via(&self, prefix: IpNet, gateway: std::net::IpAddr) -> bool {
        let InstalledKind::Unicast(hops) = &self.kind else { return false };
        self.prefix == prefix && matches!(hops.as_slice(), [hop] if hop.gateway == Some(gateway))
    }
}
