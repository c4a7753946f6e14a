//! All sessions of the generator, on one thread and one `epoll`.

use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};

use super::client::{Client, Pace, State};
use super::table::{NO_OWNER, Table, Watch};
use crate::error::LabError;

/// The sessions, and the table that they are checked against.
pub struct Crowd {
    remote: Ipv4Addr,
    epoll: Epoll,
    clients: Vec<Client>,
    table: Table,
    buffer: Box<[u8]>,
    events: Vec<EpollEvent>,
    /// Pairs of client and prefix that are not yet as they should be.
    missing_count: u64,
    /// Whether a session that is lost comes again by itself, as while all connect at once.
    is_persistent: bool,
    lost_count: u64,
    last_tick: Instant,
}

/// What a look at the crowd tells, for people who wait.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

const BUFFER_SIZE: usize = 256 * 1024;

/// Pause between looks at timers: keepalives, reconnections, limited readers.
const TICK: Duration = Duration::from_millis(100);

/// Sessions on their way up at one time, where they are not meant to be a burden: BIRD's queue of connections holds 8.
const OPENING_MAX: usize = 8;

/// The receive buffer of clients that do not read at full pace: fixed, so that the kernel does not read for them.
const SMALL_RECEIVE_BUFFER: usize = 64 * 1024;

impl Crowd {
    /// A crowd that will talk to `remote`; it must be made and used inside the namespace.
    ///
    /// # Errors
    /// If the system has no epoll left.
    pub fn new(remote: Ipv4Addr, addresses: &[Ipv4Addr], table: Table) -> Result<Crowd, LabError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("making an epoll"))?;
        let clients = addresses.iter().zip(0..NO_OWNER).map(|(address, index)| Client::new(index, *address));
        Ok(Crowd {
            remote,
            epoll,
            clients: clients.collect(),
            table,
            buffer: vec![0; BUFFER_SIZE].into(),
            events: vec![EpollEvent::empty(); 256],
            missing_count: 0,
            is_persistent: false,
            lost_count: 0,
            last_tick: Instant::now(),
        })
    }

    /// How many clients there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Sessions that were lost and made anew.
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        self.lost_count
    }

    /// What a client sends whenever its session comes up.
    pub fn set_greeting(&mut self, client: usize, routes: Arc<[u8]>) {
        self.clients[client].greeting = Some(routes);
    }

    /// Bytes and UPDATEs received so far by all clients.
    #[must_use]
    pub fn received(&self) -> (u64, u64) {
        let bytes = self.clients.iter().map(|client| client.byte_count).sum();
        (bytes, self.clients.iter().map(|client| client.update_count).sum())
    }

    /// Makes `owner`'s route the best one of a prefix, and every other client expect it.
    pub fn expect(&mut self, number: usize, digest: u32, owner: usize) {
        self.table.set_owner(number, u16::try_from(owner).expect("fewer clients than 65535"));
        self.expect_change(number, digest);
    }

    /// Makes every client but the owner expect other attributes for a prefix, or none.
    pub fn expect_change(&mut self, number: usize, digest: u32) {
        self.table.expect(number, digest);
        for client in &mut self.clients {
            let before = client.held.match_count();
            self.table.unmatch(client.index, &mut client.held, number);
            self.missing_count += (before - client.held.match_count()) as u64;
        }
    }

    /// Sets digest and owner of every prefix before the clients connect.
    pub fn expect_all(&mut self, expectation: impl FnMut(usize) -> (u32, usize)) {
        self.expect_each(expectation);
        for client in &mut self.clients {
            client.held = self.table.start(client.index);
        }
        self.count_missing();
    }

    /// The same while they hold routes: every one of them must change.
    pub fn expect_all_anew(&mut self, expectation: impl FnMut(usize) -> (u32, usize)) {
        self.expect_each(expectation);
        for client in &mut self.clients {
            client.held = self.table.start_with_nothing_right(client.index);
        }
        self.count_missing();
    }

    fn expect_each(&mut self, mut expectation: impl FnMut(usize) -> (u32, usize)) {
        for number in 0..self.table.count() {
            let (digest, owner) = expectation(number);
            self.table.expect(number, digest);
            self.table.set_owner(number, u16::try_from(owner).expect("fewer clients than 65535"));
        }
    }

    /// A client that has heard nothing.
    fn start_over(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.held = self.table.start(client.index);
        self.count_missing();
    }

    fn count_missing(&mut self) {
        let held: usize = self.clients.iter().map(|client| client.held.match_count()).sum();
        self.missing_count = (self.clients.len() * self.table.count()) as u64 - held as u64;
    }

    /// Every prefix is as it should be at every client.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing_count == 0
    }

    /// The same for some clients.
    #[must_use]
    pub fn are_complete(&self, clients: impl IntoIterator<Item = usize>) -> bool {
        clients.into_iter().all(|index| self.clients[index].held.match_count() == self.table.count())
    }

    /// Bytes received so far by one client.
    #[must_use]
    pub fn received_by(&self, index: usize) -> u64 {
        self.clients[index].byte_count
    }

    /// Sessions that are up.
    #[must_use]
    pub fn up_count(&self) -> usize {
        self.clients.iter().filter(|client| client.state == State::Established).count()
    }

    /// Begins a session.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn connect(&mut self, index: usize) -> Result<(), LabError> {
        let client = &mut self.clients[index];
        client.is_wanted = true;
        client.connect(self.remote).map_err(failed("connecting a client"))?;
        let event = client.event();
        let stream = client.stream.as_ref().expect("it was just made");
        self.epoll.add(stream, event).map_err(failed("watching a client"))
    }

    /// Closes a session without a word. The client forgets what it held.
    pub fn disconnect(&mut self, index: usize) {
        self.clients[index].is_wanted = false;
        self.clients[index].disconnect();
        self.start_over(index);
    }

    /// Gives a client, before it connects, a receive buffer that stays small: the kernel will not read for it.
    pub fn limit_receive_buffer(&mut self, index: usize) {
        self.clients[index].receive_buffer = Some(SMALL_RECEIVE_BUFFER);
    }

    /// How fast a client reads from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_pace(&mut self, index: usize, pace: Pace) -> Result<(), LabError> {
        self.clients[index].pace = pace;
        self.update_interest(index).map_err(|error| self.lost(index, &error))
    }

    /// Sends bytes on a session.
    ///
    /// # Errors
    /// If the session is lost.
    pub fn send(&mut self, index: usize, bytes: Arc<[u8]>) -> Result<(), LabError> {
        let sent = self.clients[index].send(bytes).and_then(|()| self.update_interest(index));
        sent.map_err(|error| self.lost(index, &error))
    }

    /// Sends a part of the bytes.
    ///
    /// # Errors
    /// If the session is lost.
    pub fn send_part(&mut self, index: usize, bytes: Arc<[u8]>, part: Range<usize>) -> Result<(), LabError> {
        let sent = self.clients[index].send_part(bytes, part).and_then(|()| self.update_interest(index));
        sent.map_err(|error| self.lost(index, &error))
    }

    /// A change of a prefix was due at a moment: it is measured how long until all clients but its owner have seen it.
    pub fn watch_change(&mut self, number: usize, due: Instant) {
        let receiver_count = u32::try_from(self.clients.len() - 1).expect("fewer clients than 65535");
        self.table.watch_change(number, receiver_count, due);
    }

    /// Starts to measure changes.
    pub fn watch(&mut self) {
        self.table.watch();
    }

    /// Ends it.
    pub fn take_watch(&mut self) -> Watch {
        self.table.take_watch()
    }

    /// Connects everybody, few at a time so that no daemon is overrun, and waits until all sessions are up.
    ///
    /// # Errors
    /// As [`Crowd::run_until`].
    pub fn establish(&mut self, limit: Duration, progress: Progress<'_>) -> Result<(), LabError> {
        self.is_persistent = true;
        let start = Instant::now();
        for index in 0..self.clients.len() {
            self.connect(index)?;
            while self.opening_count() >= OPENING_MAX && start.elapsed() < limit {
                self.step(TICK)?;
            }
        }
        let rest = limit.saturating_sub(start.elapsed());
        self.run_until("all sessions to be up", rest, progress, |crowd| crowd.up_count() == crowd.len())?;
        self.is_persistent = false;
        Ok(())
    }

    /// Connects everybody at once; sessions that are refused or lost are tried again until all routes are in place. Returns
    /// when all sessions were up.
    ///
    /// # Errors
    /// As [`Crowd::run_until`].
    pub fn storm(&mut self, limit: Duration, progress: Progress<'_>) -> Result<Duration, LabError> {
        self.is_persistent = true;
        let start = Instant::now();
        for index in 0..self.clients.len() {
            self.connect(index)?;
        }
        self.run_until("all sessions to be up", limit, progress, |crowd| crowd.up_count() == crowd.len())?;
        let up = start.elapsed();
        let rest = limit.saturating_sub(up);
        self.run_until("all routes at all clients", rest, progress, Crowd::is_complete)?;
        self.is_persistent = false;
        Ok(up)
    }

    /// Connects some clients at once, as [`Crowd::storm`] does, and waits until every client has all routes.
    ///
    /// # Errors
    /// As [`Crowd::run_until`].
    pub fn reconnect(
        &mut self,
        clients: impl IntoIterator<Item = usize>,
        limit: Duration,
        progress: Progress<'_>,
    ) -> Result<(), LabError> {
        self.is_persistent = true;
        for index in clients {
            self.connect(index)?;
        }
        self.run_until("all routes at all clients", limit, progress, Crowd::is_complete)?;
        self.is_persistent = false;
        Ok(())
    }

    fn opening_count(&self) -> usize {
        let is_opening = |client: &&Client| !matches!(client.state, State::Down | State::Established);
        self.clients.iter().filter(is_opening).count()
    }

    /// Lets bytes flow until something is so, and returns how long it took.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with how far it came, [`LabError::Unexpected`] if a session is lost or a daemon is wrong.
    pub fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        progress: Progress<'_>,
        mut is_so: impl FnMut(&Crowd) -> bool,
    ) -> Result<Duration, LabError> {
        let start = Instant::now();
        let mut last_told = start;
        while !is_so(self) {
            self.step(TICK)?;
            if self.table.fault_count() > 0 {
                return Err(LabError::Unexpected {
                    what: "what the clients received".into(),
                    expected: "announced prefixes in well-formed UPDATEs".into(),
                    seen: format!("{} others", self.table.fault_count()),
                });
            }
            if last_told.elapsed() >= Duration::from_secs(1) {
                last_told = Instant::now();
                progress(&self.summary());
                if start.elapsed() > limit && !is_so(self) {
                    return Err(LabError::Timeout {
                        what: what.to_owned(),
                        after: start.elapsed(),
                        last_seen: self.summary(),
                    });
                }
            }
        }
        Ok(start.elapsed())
    }

    /// Waits for bytes, at most so long, and handles them.
    ///
    /// # Errors
    /// [`LabError::Unexpected`] if a session is lost.
    pub fn step(&mut self, timeout: Duration) -> Result<(), LabError> {
        let timeout = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        let ready = match self.epoll.wait(&mut self.events, EpollTimeout::from(timeout)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(failed("waiting for clients")(errno)),
        };
        for position in 0..ready {
            let event = self.events[position];
            let index = usize::try_from(event.data()).expect("an index that was a u16");
            let client = &mut self.clients[index];
            self.table.note_time();
            let before = client.held.match_count() as u64;
            let handled = client.handle(event.events(), &mut self.table, &mut self.buffer);
            self.missing_count = self.missing_count + before - client.held.match_count() as u64;
            if let Err(error) = handled.and_then(|()| self.update_interest(index)) {
                self.lose(index, &error)?;
            }
        }
        if self.last_tick.elapsed() >= TICK {
            self.tick()?;
        }
        Ok(())
    }

    /// Keepalives, limited readers, and sessions that come again.
    fn tick(&mut self) -> Result<(), LabError> {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(std::mem::replace(&mut self.last_tick, now));
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.state == State::Down && client.is_wanted && self.is_persistent {
                self.connect(index)?;
                continue;
            }
            let mut result = client.keep_alive(now);
            if let Pace::Limited(per_second) = client.pace
                && client.state == State::Established
            {
                let allowance = (per_second as f64 * elapsed.as_secs_f64()) as usize;
                let before = client.held.match_count() as u64;
                let room = (client.partial_len() + allowance).min(self.buffer.len());
                result = result.and(client.receive(&mut self.table, &mut self.buffer[..room]));
                self.missing_count = self.missing_count + before - client.held.match_count() as u64;
            }
            if let Err(error) = result.and_then(|()| self.update_interest(index)) {
                self.lose(index, &error)?;
            }
        }
        Ok(())
    }

    fn update_interest(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        if let Some(mut event) = client.take_new_interest()
            && let Some(stream) = &client.stream
        {
            self.epoll.modify(stream, &mut event)?;
        }
        Ok(())
    }

    /// A session is gone without our wish.
    fn lose(&mut self, index: usize, error: &io::Error) -> Result<(), LabError> {
        if !self.is_persistent {
            return Err(self.lost(index, error));
        }
        self.lost_count += 1;
        self.clients[index].disconnect();
        self.start_over(index);
        Ok(())
    }

    fn lost(&self, index: usize, error: &io::Error) -> LabError {
        LabError::Unexpected {
            what: format!("the session of client {}", self.clients[index].address),
            expected: "a session that stays up".into(),
            seen: error.to_string(),
        }
    }

    /// How far it is, in a few words.
    fn summary(&self) -> String {
        let all = (self.clients.len() * self.table.count()) as u64;
        let percent = (all - self.missing_count) * 100 / all.max(1);
        let complete = self.clients.iter().filter(|client| client.held.match_count() == self.table.count());
        format!(
            "{} of {} sessions up, {percent}% of routes in place, {} clients complete",
            self.up_count(),
            self.clients.len(),
            complete.count()
        )
    }
}

fn failed(what: &'static str) -> impl Fn(Errno) -> LabError {
    move |errno| LabError::Io { doing: what.into(), source: errno.into() }
}
