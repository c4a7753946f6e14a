//! What other programs have in a routing table: their routes, and the networks of the interfaces' addresses.
//!
//! A watch has no task of its own and no queue. It holds what the kernel has, and is driven by whoever asks for the
//! next changes; what happens between two questions waits in the socket's buffer, and if that overflows the kernel is
//! read back and compared.

mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::task::JoinHandle;

use crate::error::{ConfigError, FibError};
use crate::kernel::{Lost, Notice, Others, Ownership};
use crate::netlink::{Monitor, RouteSocket};
use crate::task::{now, reached};
use table::Table;

/// The shortest time between two readings of the kernel.
const GAP_MIN: Duration = Duration::from_millis(20);
/// A reading takes no more than this share of the time.
const GAP_PER_COST: u32 = 10;
/// How long after a failed reading the next one is tried.
const GAP_FAILED: Duration = Duration::from_secs(1);
/// How often the first reading may be disturbed before the watch gives up.
const FIRST_ATTEMPTS: u32 = 50;

/// What a [`RouteWatch`] looks at.
///
/// ```
/// assert_eq!(fib_sync::WatchConfig::default().table, 254);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// The routing table; 254 is `main`.
    pub table: u32,
    /// The protocol id of our own routes, which are not told: that of the [`FibConfig`](crate::FibConfig).
    pub protocol: u8,
    /// The most routes that are held. Those of further prefixes are counted and not told, until there is room.
    pub routes_max: usize,
    /// How often the kernel is read back although no change was reported.
    pub audit_interval: Option<Duration>,
}

impl Default for WatchConfig {
    fn default() -> WatchConfig {
        WatchConfig {
            table: 254,
            protocol: crate::FibConfig::default().protocol,
            routes_max: 1 << 20,
            audit_interval: Some(Duration::from_secs(300)),
        }
    }
}

/// A route of another program. Of several for one prefix, that with the lowest metric, which is the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ForeignRoute {
    /// The destination.
    pub prefix: IpNet,
    /// What happens to packets for it.
    pub kind: ForeignKind,
    /// The interface that they leave by; `None` with several next hops, or none.
    pub interface: Option<Arc<str>>,
    /// The router that they are sent to; `None` with several next hops, or if the destination is on the interface.
    pub gateway: Option<IpAddr>,
    /// The metric as the kernel has it: 0 for an IPv4 route without one, 1024 for an IPv6 one.
    pub metric: u32,
    /// The protocol id: 3 is `boot`, 4 `static`; others are in `/etc/iproute2/rt_protos`.
    pub protocol: u8,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ForeignKind {
    /// Drops silently.
    Blackhole,
    /// Drops, and tells the sender that it is not allowed.
    Prohibit,
    /// Sends on.
    Unicast,
    /// Drops, and tells the sender that there is no way.
    Unreachable,
}

/// A change of what others have. The latest state, not each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchChange {
    /// The network of an address.
    Network {
        /// The network; of a point-to-point address, the far end.
        prefix: IpNet,
        /// The interface that has it, the first by name; `None`: none any more.
        interface: Option<Arc<str>>,
    },
    /// The route to a prefix.
    Route {
        /// The prefix.
        prefix: IpNet,
        /// The route; `None`: there is none any more.
        route: Option<ForeignRoute>,
    },
}

/// Where a [`RouteWatch`] stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct WatchStatus {
    /// Prefixes with a route that was told.
    pub routes: usize,
    /// Networks of addresses.
    pub networks: usize,
    /// Routes that were not taken in because there was no room, since the last reading.
    pub refused: usize,
    /// How often the kernel was read, the first time included.
    pub readings: u64,
    /// Why the last reading failed, if it did.
    pub last_error: Option<String>,
}

/// Follows the routes and addresses of others: first all there are, then every change.
///
/// Taken are routes of one table that send on or drop, by any program but us. Not taken: what the kernel itself made
/// (protocol `kernel`, `redirect`), copies in its cache, local and broadcast addresses, and prefixes that mean nothing
/// beyond this host or link (127.0.0.0/8, 169.254.0.0/16, fe80::/10, multicast).
///
/// ```no_run
/// # async fn example() -> Result<(), fib_sync::FibError> {
/// let mut watch = fib_sync::RouteWatch::open(fib_sync::WatchConfig::default())?;
/// loop {
///     for change in watch.next().await? {
///         println!("{change:?}");
///     }
/// }
/// # }
/// ```
pub struct RouteWatch {
    monitor: Monitor,
    audit_interval: Option<Duration>,
    /// `None` while a thread reads with it.
    socket: Option<Box<RouteSocket>>,
    reading: Option<JoinHandle<Reading>>,
    table: Table,
    notices: Vec<Notice>,
    /// When the kernel is to be read again.
    due: Option<Instant>,
    not_before: Instant,
    failures: u32,
    status: WatchStatus,
}

/// The socket comes back with what was read.
type Reading = (Box<RouteSocket>, Result<Others, Lost>);

impl std::fmt::Debug for RouteWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteWatch").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl RouteWatch {
    /// Opens the sockets, in the network namespace of the calling thread. Needs no privilege; without `CAP_NET_ADMIN`
    /// routes that vanish with their interface may be told late, by the next reading.
    ///
    /// # Errors
    /// [`FibError::Config`] and [`FibError::Socket`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn open(config: WatchConfig) -> Result<RouteWatch, FibError> {
        if matches!(config.table, 0 | 255) {
            return Err(ConfigError::Table { table: config.table }.into());
        }
        let ownership = Ownership { table: config.table, protocol: config.protocol, metric: 0 };
        // Listening comes first, so that nothing is missed between the first reading and the first notice.
        let monitor = Monitor::open_for_others(ownership)?;
        let socket = Box::new(RouteSocket::open_to_read(ownership)?);
        let begin = now();
        Ok(RouteWatch {
            monitor,
            audit_interval: config.audit_interval,
            socket: Some(socket),
            reading: None,
            table: Table::new(config.protocol, config.routes_max),
            notices: Vec::new(),
            due: Some(begin),
            not_before: begin,
            failures: 0,
            status: WatchStatus::default(),
        })
    }

    /// The next changes: at first all there is, perhaps nothing; then at least one. Can be cancelled without losing
    /// anything.
    ///
    /// # Errors
    /// The first reading of the kernel failed, which may be asked for again; or, as [`FibError::Closed`], the runtime is
    /// shutting down. Later failures are put right by the next reading, and are in the [`status`](RouteWatch::status).
    pub async fn next(&mut self) -> Result<Vec<WatchChange>, FibError> {
        loop {
            if let Some(reading) = &mut self.reading {
                let (socket, result) = reading.await.map_err(|_| FibError::Closed)?;
                (self.reading, self.socket) = (None, Some(socket));
                let is_first = self.status.readings == 0;
                if self.has_read(result)? {
                    let changes = self.table.take_changes();
                    if is_first || !changes.is_empty() {
                        return Ok(changes);
                    }
                }
                continue;
            }
            if self.due.is_some_and(|due| due <= now()) {
                self.begin_reading();
                continue;
            }
            let due = self.due;
            tokio::select! {
                heard = self.monitor.notices(&mut self.notices) => {
                    if let Err(error) = heard {
                        // Deaf for a moment: whatever was said meanwhile, a reading will show.
                        tracing::warn!(%error, "the monitor socket failed");
                        self.read_at(now() + GAP_FAILED);
                        reached(self.due).await;
                        continue;
                    }
                    self.notices.drain(..).for_each(|notice| self.table.notice(notice));
                    if self.table.take_doubt() {
                        self.read_at(now());
                    }
                    let changes = self.table.take_changes();
                    if !changes.is_empty() {
                        return Ok(changes);
                    }
                }
                () = reached(due) => {}
            }
        }
    }

    /// Where it stands, as of the last changes that were told.
    pub fn status(&self) -> WatchStatus {
        let (routes, networks, refused) = self.table.counts();
        WatchStatus { routes, networks, refused, ..self.status.clone() }
    }

    fn begin_reading(&mut self) {
        self.due = None;
        if let Some(mut socket) = self.socket.take() {
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let others = socket.read_others();
                (socket, others)
            }));
        }
    }

    /// Takes a reading; `false`: there will have to be another one.
    fn has_read(&mut self, result: Result<Others, Lost>) -> Result<bool, FibError> {
        let now = now();
        let others = match result {
            Ok(others) => others,
            Err(lost) => {
                self.failures += 1;
                let is_hopeless = matches!(lost, Lost::Failed(_)) || self.failures >= FIRST_ATTEMPTS;
                let gap = if is_hopeless { GAP_FAILED } else { GAP_MIN };
                self.due = Some(now + gap);
                let error = lost.into_error();
                self.status.last_error = Some(error.to_string());
                return if self.status.readings == 0 && is_hopeless { Err(error) } else { Ok(false) };
            }
        };
        self.not_before = now + GAP_MIN.max(others.cost * GAP_PER_COST);
        self.due = self.audit_interval.map(|interval| now + interval);
        self.failures = 0;
        self.status.readings += 1;
        self.status.last_error = None;
        self.table.replace(others);
        Ok(true)
    }

    fn read_at(&mut self, at: Instant) {
        let at = at.max(self.not_before);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}
