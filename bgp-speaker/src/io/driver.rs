//! The loop around the engine.
//!
//! ```text
//! listeners, connectors --Event--> +--------+ --effects--> connectors, Socket::close
//! handles -------------Command---> | Driver | --bytes----> sockets, vectored writes
//! sockets ---------------ready---> +--------+ --changes--> subscribers
//! ```
//!
//! A turn takes what there is, within bounds, lets the engine work the batch off once no more input is
//! queued (or enough of it has come), and writes. Nothing in a turn waits.

use super::addresses;
use super::clock::Clock;
use super::command::{Command, Edit, Reply};
use super::connector;
use super::durations::Durations;
#[cfg(feature = "fib")]
use super::kernel_feed::KernelFeed;
use super::kernel_feed::{KernelNews, NEWS_MAX};
use super::listener::{ListenError, Listeners};
use super::ready::ReadyQueue;
use super::refusals::Refusals;
use super::socket::{READ_BUFFER_BYTES, Socket};
use super::socket_options;
use super::subscribers::Subscribers;
use crate::config::{FibRules, SpeakerConfig, Step, StepAction};
use crate::engine::{ConnId, ConnectTarget, Effect, Engine, MonoTime, StartKind, StopMode};
use crate::speaker::{ApplyError, SpeakerEvent};
use crate::view::{KernelImportView, MetricsView, StatusView};
use hashbrown::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Input after which the engine works a batch off although more is queued.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// How long interface addresses are believed: a storm of connections asks once, a new address counts soon.
const BESIDE_FRESH: Duration = Duration::from_secs(1);
/// Commands and events taken per turn.
const MESSAGES_PER_TURN: usize = 256;
/// How long the start waits for what others have in the kernel. What comes later is announced later.
#[cfg(feature = "fib")]
const KERNEL_PATIENCE: Duration = Duration::from_secs(10);
/// Events that a slow reader may be behind.
const EVENTS_MAX: usize = 4096;
/// Bound of the channels towards the driver; whoever finds them full waits.
pub(crate) const CHANNEL_CAPACITY: usize = 1024;

/// What listeners and connectors report.
#[derive(Debug)]
pub(super) enum Event {
    Accepted { stream: TcpStream, remote: SocketAddr },
    Connected { id: ConnId, outcome: io::Result<TcpStream> },
}

/// Owner of the engine and all sockets. One per speaker.
pub(crate) struct Driver {
    clock: Clock,
    engine: Engine,
    listeners: Listeners,
    sockets: HashMap<ConnId, Socket>,
    attempts: HashMap<ConnId, AbortHandle>,
    /// The tasks behind `attempts`, which end with the driver.
    connecting: JoinSet<()>,
    /// Connections that carry their last bytes.
    closing: JoinSet<()>,
    subscribers: Subscribers,
    refusals: Refusals,
    /// Whoever follows what happens.
    events_out: broadcast::Sender<SpeakerEvent>,
    /// For whoever writes routes into the kernel.
    fib_rules: watch::Sender<Arc<FibRules>>,
    ready: Arc<ReadyQueue>,
    ready_now: Vec<ConnId>,
    buffer: Box<[u8]>,
    batch_bytes: usize,
    /// When the first bytes of the batch were read.
    batch_since: Option<MonoTime>,
    decisions: Durations,
    propagations: Durations,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Receiver<Event>,
    events_sender: mpsc::Sender<Event>,
    kernel_news: mpsc::Receiver<KernelNews>,
    #[cfg_attr(not(feature = "fib"), allow(dead_code, reason = "keeps the channel open"))]
    kernel_sender: mpsc::Sender<KernelNews>,
    kernel_view: KernelImportView,
    #[cfg(feature = "fib")]
    kernel_feed: Option<KernelFeed>,
    #[cfg(feature = "fib")]
    protocol: u8,
    /// Interface addresses beside a local one, and when the system was asked.
    beside: HashMap<IpAddr, (MonoTime, Vec<IpAddr>)>,
}

/// What a driver is made of.
pub(crate) struct DriverParts {
    pub(crate) config: SpeakerConfig,
    pub(crate) seed: u64,
    pub(crate) start: StartKind,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Marks our own routes in the kernel.
    #[cfg(feature = "fib")]
    pub(crate) protocol: u8,
}

impl Driver {
    /// Opens the listening sockets.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub(crate) fn new(parts: DriverParts) -> Result<Self, ListenError> {
        let (events_sender, events) = mpsc::channel(CHANNEL_CAPACITY);
        let mut listeners = Listeners::new(events_sender.clone());
        listeners.apply(&parts.config)?;
        let (kernel_sender, kernel_news) = mpsc::channel(NEWS_MAX);
        let clock = Clock::start();
        let (fib_rules, _) = watch::channel(Arc::new(parts.config.fib_rules.clone()));
        Ok(Self {
            clock,
            fib_rules,
            engine: Engine::new(parts.config, parts.seed, parts.start, clock.now()),
            listeners,
            sockets: HashMap::new(),
            attempts: HashMap::new(),
            connecting: JoinSet::new(),
            closing: JoinSet::new(),
            subscribers: Subscribers::default(),
            refusals: Refusals::default(),
            events_out: broadcast::Sender::new(EVENTS_MAX),
            ready: Arc::default(),
            ready_now: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES + bgp_proto::MAX_EXTENDED_LEN].into(),
            batch_bytes: 0,
            batch_since: None,
            decisions: Durations::default(),
            propagations: Durations::default(),
            commands: parts.commands,
            events,
            events_sender,
            kernel_news,
            kernel_sender,
            kernel_view: KernelImportView::default(),
            #[cfg(feature = "fib")]
            kernel_feed: None,
            #[cfg(feature = "fib")]
            protocol: parts.protocol,
            beside: HashMap::new(),
        })
    }

    /// Begins to follow what others have in the kernel, if that is wanted.
    ///
    /// # Errors
    /// The system does not let us.
    #[cfg(feature = "fib")]
    pub(crate) fn open_kernel_feed(&mut self) -> Result<(), fib_sync::FibError> {
        if self.engine.config().kernel_import.is_some() {
            self.kernel_feed = Some(KernelFeed::open(self.protocol, self.kernel_sender.clone())?);
        }
        Ok(())
    }

    /// Takes what others have in the kernel before the first session is up: a neighbour that has kept our routes over a
    /// restart is then told all of them before it is told that this was all.
    #[cfg(feature = "fib")]
    pub(crate) async fn take_first_kernel_news(&mut self) {
        if self.kernel_feed.is_none() {
            return;
        }
        match tokio::time::timeout(KERNEL_PATIENCE, self.kernel_news.recv()).await {
            Ok(news) => news.into_iter().for_each(|news| self.handle_kernel_news(news)),
            Err(_) => tracing::warn!("the kernel's routes are not known yet; starting without them"),
        }
    }

    /// Which routes go to the kernel, now and later.
    #[cfg(feature = "fib")]
    pub(crate) fn fib_rules(&self) -> watch::Receiver<Arc<FibRules>> {
        self.fib_rules.subscribe()
    }

    /// Where it listens.
    pub(crate) fn listen_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// Runs until it is told to stop, or nobody is left who could.
    pub(crate) async fn run(self) {
        // Readiness is polled many times a turn; the turns themselves give way to other tasks.
        tokio::task::unconstrained(self.turns()).await;
    }

    async fn turns(mut self) {
        loop {
            let input = self.wait().await;
            let outcome = match input {
                Input::Command(None) => ControlFlow::Break(None),
                Input::Command(Some(command)) => self.answer(command),
                Input::Event(event) => {
                    self.handle_event(event);
                    ControlFlow::Continue(())
                }
                Input::Kernel(news) => {
                    self.handle_kernel_news(news);
                    ControlFlow::Continue(())
                }
                Input::Ready | Input::Deadline => ControlFlow::Continue(()),
            };
            self.engine.handle_deadline(self.clock.now());
            self.read_ready();
            let outcome = if outcome.is_continue() { self.take_messages() } else { outcome };
            if let ControlFlow::Break(stop) = outcome {
                return self.finish(stop).await;
            }
            self.collect_ready().await;
            if self.ready_now.is_empty() || self.batch_bytes >= BATCH_BYTES_MAX {
                self.settle();
            }
        }
    }

    /// Until a socket is ready, a message is there, or a deadline has come. If there is something already, other tasks
    /// of the runtime get their turn.
    async fn wait(&mut self) -> Input {
        if !self.ready_now.is_empty() || self.engine.is_walking() {
            tokio::task::yield_now().await;
            return Input::Ready;
        }
        let deadline = self.engine.next_deadline().map(|at| self.clock.instant(at));
        let deadline = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (ready, ready_now) = (&self.ready, &mut self.ready_now);
        tokio::select! {
            biased;
            command = self.commands.recv() => Input::Command(command),
            Some(event) = self.events.recv() => Input::Event(event),
            Some(news) = self.kernel_news.recv() => Input::Kernel(news),
            () = std::future::poll_fn(|context| ready.poll_take(context, ready_now)) => Input::Ready,
            () = deadline => Input::Deadline,
        }
    }

    /// Sockets that became ready in the meantime.
    async fn collect_ready(&mut self) {
        let (ready, ready_now) = (&self.ready, &mut self.ready_now);
        std::future::poll_fn(|context| {
            _ = ready.poll_take(context, ready_now);
            Poll::Ready(())
        })
        .await;
    }

    fn take_messages(&mut self) -> ControlFlow<Option<Stop>> {
        for _ in 0..MESSAGES_PER_TURN {
            let Ok(event) = self.events.try_recv() else { break };
            self.handle_event(event);
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Ok(command) = self.commands.try_recv() else { break };
            self.answer(command)?;
        }
        for _ in 0..NEWS_MAX {
            let Ok(news) = self.kernel_news.try_recv() else { break };
            self.handle_kernel_news(news);
        }
        ControlFlow::Continue(())
    }

    fn handle_kernel_news(&mut self, news: KernelNews) {
        // What was still on its way when this was switched off.
        if self.engine.config().kernel_import.is_some() {
            self.engine.kernel_changed(news.changes, news.is_all);
            self.kernel_view = news.view;
        }
    }

    fn handle_event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Accepted { stream, remote } => self.accepted(now, stream, remote),
            Event::Connected { id, outcome } => {
                if self.attempts.remove(&id).is_none() {
                    return;
                }
                match outcome.and_then(|stream| Ok((stream.local_addr()?.ip(), stream))) {
                    Ok((local, stream)) => {
                        self.add_socket(id, stream);
                        let others = self.beside(local);
                        self.engine.connected(now, id, local, &others);
                    }
                    Err(error) => self.engine.connect_failed(now, id, &error.to_string()),
                }
            }
        }
    }

    fn accepted(&mut self, now: MonoTime, stream: TcpStream, remote: SocketAddr) {
        let Ok(local) = stream.local_addr().map(|local| local.ip().to_canonical()) else { return };
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        if self.listeners.is_keyless(remote.ip()) {
            return self.note_refused(now, remote, "no-key", "its TCP MD5 key could not be set");
        }
        // A neighbour that resets its session connects again at once: what it said last comes first.
        for id in self.engine.connections_of(remote.ip()) {
            self.read_early(now, id);
        }
        let others = self.beside(local);
        let ttl = socket_options::received_ttl(&stream, remote.ip());
        match self.engine.accept(now, remote, local, &others, ttl) {
            Ok(id) => {
                if let Some(hops) = self.engine.ttl_security(id)
                    && let Err(error) = socket_options::set_ttl_security(&stream, remote.ip(), hops)
                {
                    tracing::error!(%remote, %error, "connection refused: ttl_security cannot be set");
                    return self.engine.closed(now, id, "ttl_security cannot be set");
                }
                self.add_socket(id, stream);
            }
            Err(refused) => self.note_refused(now, remote, refused.label(), &refused.to_string()),
        }
    }

    /// At length once in a while, since anybody can have it happen as often as they like.
    fn note_refused(&mut self, now: MonoTime, remote: SocketAddr, label: &'static str, why: &str) {
        let Some(told) = self.refusals.note(now, remote.ip(), label) else { return };
        let range = told.range.map_or_else(|| "elsewhere".to_owned(), |range| range.to_string());
        match told.untold {
            0 => tracing::info!(%remote, refused = why, "connection refused"),
            untold => tracing::info!(
                %remote, refused = why, range, untold,
                "connection refused, and others from that range since it was last said"
            ),
        }
    }

    fn add_socket(&mut self, id: ConnId, stream: TcpStream) {
        self.sockets.insert(id, Socket::new(id, stream, &self.ready));
    }

    fn beside(&mut self, local: IpAddr) -> Vec<IpAddr> {
        let now = self.clock.now();
        let known = self.beside.get(&local).filter(|(asked, _)| now.since(*asked) < BESIDE_FRESH);
        if let Some((_, others)) = known {
            return others.clone();
        }
        let others = addresses::beside(local);
        self.beside.insert(local, (now, others.clone()));
        others
    }

    fn read_ready(&mut self) {
        let now = self.clock.now();
        for id in std::mem::take(&mut self.ready_now) {
            let Some(socket) = self.sockets.get_mut(&id) else { continue };
            let mut outcome = socket.read(now, &mut self.engine, &mut self.buffer);
            if outcome.is_ok() && socket.is_write_blocked() {
                outcome = socket.write(&mut self.engine).and(outcome);
            }
            self.note_read(now, id, outcome);
        }
    }

    fn read_early(&mut self, now: MonoTime, id: ConnId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let outcome = socket.read_early(now, &mut self.engine, &mut self.buffer);
        self.note_read(now, id, outcome);
    }

    fn note_read(&mut self, now: MonoTime, id: ConnId, outcome: io::Result<usize>) {
        match outcome {
            Ok(count) => {
                self.batch_bytes += count;
                self.batch_since = self.batch_since.or(Some(now));
            }
            Err(error) => self.lose(now, id, &error),
        }
    }

    /// Works off the batch, and everything that follows from it.
    fn settle(&mut self) {
        self.batch_bytes = 0;
        self.subscribers.forget_gone();
        let mut since = self.batch_since.take();
        loop {
            let has_work = self.engine.needs_flush();
            if has_work {
                let start = self.clock.now();
                let subscribers = &self.subscribers;
                self.engine.flush(|family, id| subscribers.hold(family, id));
                self.decisions.note(self.clock.now().since(start));
            }
            // Whoever follows both hears of a session before its routes.
            self.tell_events();
            self.subscribers.update(&mut self.engine);
            self.perform_effects();
            self.write_woken();
            if let Some(since) = since.take().filter(|_| has_work) {
                self.propagations.note(self.clock.now().since(since));
            }
            // A failed write ends a session, which is the next batch. What is left of a walk waits for its next turn.
            if !self.engine.needs_flush() || self.engine.is_walking() {
                return;
            }
        }
    }

    fn tell_events(&mut self) {
        while let Some(change) = self.engine.poll_session_change() {
            // Nobody listening is no error, and costs nothing from then on.
            let outcome = self.events_out.send(SpeakerEvent::Session(change));
            self.engine.tell_session_changes(outcome.is_ok());
        }
    }

    fn perform_effects(&mut self) {
        while self.closing.try_join_next().is_some() {}
        while self.connecting.try_join_next().is_some() {}
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Connect(target) => self.connect(target),
                Effect::Close(id) => {
                    if let Some(attempt) = self.attempts.remove(&id) {
                        attempt.abort();
                    }
                    if let Some(socket) = self.sockets.remove(&id) {
                        self.closing.spawn(socket.close(&mut self.engine));
                    }
                    self.engine.closed(self.clock.now(), id, "closed");
                }
            }
        }
    }

    fn connect(&mut self, target: ConnectTarget) {
        let events = self.events_sender.clone();
        let id = target.conn;
        let attempt = self.connecting.spawn(async move {
            let outcome = connector::connect(&target).await;
            // The driver has gone: so has the connection.
            _ = events.send(Event::Connected { id, outcome }).await;
        });
        self.attempts.insert(id, attempt);
    }

    fn write_woken(&mut self) {
        while let Some(id) = self.engine.poll_writable() {
            let Some(socket) = self.sockets.get_mut(&id) else { continue };
            if socket.is_write_blocked() {
                continue;
            }
            if let Err(error) = socket.write(&mut self.engine) {
                self.lose(self.clock.now(), id, &error);
            }
        }
    }

    fn lose(&mut self, now: MonoTime, id: ConnId, error: &io::Error) {
        self.sockets.remove(&id);
        self.engine.closed(now, id, &error.to_string());
    }

    /// Answers a command. Everything before it is in force when it is answered.
    fn answer(&mut self, command: Command) -> ControlFlow<Option<Stop>> {
        self.settle();
        let now = self.clock.now();
        match command {
            Command::Config(reply) => _ = reply.send(self.engine.config().clone()),
            Command::Apply(config, reply) => _ = reply.send(self.apply(now, *config)),
            Command::Change(Edit(edit), reply) => {
                let mut config = self.engine.config().clone();
                edit(&mut config);
                _ = reply.send(self.apply(now, config));
            }
            Command::Status(reply) => {
                let listen = self.listen_addresses().iter().map(ToString::to_string).collect();
                let imports = self.engine.config().kernel_import.is_some();
                let kernel_import = imports.then(|| self.kernel_view.clone());
                _ = reply.send(StatusView { listen, kernel_import, ..self.engine.status(now) });
            }
            Command::Neighbors(reply) => _ = reply.send(self.engine.neighbors(now)),
            Command::Page(question, reply) => _ = reply.send(self.engine.answer_page(&question)),
            Command::Explain(prefix, to, reply) => _ = reply.send(self.engine.explain(prefix, to)),
            Command::SoleRoutes(neighbors, reply) => _ = reply.send(self.engine.sole_routes(&neighbors)),
            Command::Metrics(reply) => _ = reply.send(self.metrics()),
            Command::Reset(address, reply) => _ = reply.send(self.engine.reset(now, address)),
            Command::Refresh(address, reply) => _ = reply.send(self.engine.refresh(address)),
            Command::Malformed(of, reply) => _ = reply.send(self.engine.malformed(now, of)),
            Command::Events(reply) => {
                self.engine.tell_session_changes(true);
                _ = reply.send(self.events_out.subscribe());
            }
            Command::NextRoutes(ticket, reply) => self.subscribers.next(ticket, reply, &self.engine),
            Command::FollowRoutes(ticket, reply) => {
                self.subscribers.follow(ticket, &self.engine);
                _ = reply.send(());
            }
            Command::Unsubscribe(id) => self.subscribers.remove(id),
            Command::Stop(mode, reply) => return ControlFlow::Break(Some(Stop { mode, reply })),
        }
        ControlFlow::Continue(())
    }

    fn metrics(&self) -> MetricsView {
        MetricsView {
            refused_connections: self.refusals.counts(),
            decision_seconds: self.decisions.view(),
            propagation_seconds: self.propagations.view(),
            ..self.engine.metrics()
        }
    }

    fn apply(&mut self, now: MonoTime, config: SpeakerConfig) -> Result<Vec<Step>, ApplyError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ApplyError::Invalid(problems));
        }
        #[cfg(feature = "fib")]
        let opened = match (&config.kernel_import, &self.kernel_feed) {
            (Some(_), None) => Some(KernelFeed::open(self.protocol, self.kernel_sender.clone())?),
            _ => None,
        };
        self.listeners.apply(&config)?;
        #[cfg(feature = "fib")]
        {
            let running = self.kernel_feed.take().filter(|_| config.kernel_import.is_some());
            self.kernel_feed = opened.or(running);
        }
        if config.kernel_import.is_none() {
            self.engine.kernel_changed(Vec::new(), true);
            self.kernel_view = KernelImportView::default();
        }
        let steps = self.engine.apply(now, config);
        if steps.iter().any(|step| step.action == StepAction::Fib) {
            // The rules first: whoever is told of a route again then finds the new ones.
            self.fib_rules.send_replace(Arc::new(self.engine.config().fib_rules.clone()));
            // What is undecided now is decided by then, or it would be told by the old rules alone.
            self.settle();
            self.subscribers.repeat(&self.engine);
        }
        self.settle();
        if !steps.is_empty() && self.events_out.receiver_count() > 0 {
            // Nobody listening any more is no error.
            _ = self.events_out.send(SpeakerEvent::Configured(steps.clone()));
        }
        Ok(steps)
    }

    /// Closes everything; whoever waits for the end is told when the last byte is handed to the kernel.
    async fn finish(mut self, stop: Option<Stop>) {
        // Whoever reconnects now is to be refused by the kernel, not left without an answer.
        self.listeners.close().await;
        let mode = stop.as_ref().map_or(StopMode::Restart, |stop| stop.mode);
        self.engine.stop(self.clock.now(), mode);
        self.settle();
        self.attempts.drain().for_each(|(_, attempt)| attempt.abort());
        while self.closing.join_next().await.is_some() {}
        if let Some(stop) = stop {
            _ = stop.reply.send(());
        }
    }
}

/// What a turn begins with.
enum Input {
    Ready,
    Deadline,
    /// `None`: nobody is left who could command.
    Command(Option<Command>),
    Event(Event),
    Kernel(KernelNews),
}

/// An order to stop.
struct Stop {
    mode: StopMode,
    reply: Reply<()>,
}
