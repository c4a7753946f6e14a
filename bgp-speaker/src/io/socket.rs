//! One connection's socket: reads to the engine, writes from it.

use super::ready::{ReadyQueue, SocketWaker};
use crate::engine::{ConnId, Engine, MonoTime};
use socket2::SockRef;
use std::io::{self, IoSlice, Read};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Shared by all sockets of a driver; what a message needs that is not complete is kept per socket.
pub(super) const READ_BUFFER_BYTES: usize = 256 * 1024;
/// Reads and writes of one socket before others have their turn.
const READS_PER_TURN: usize = 2;
const WRITE_BYTES_PER_TURN: usize = 1024 * 1024;
/// What is read of a connection before another one of the same neighbour is looked at. An end that comes after more than
/// this is seen in its turn.
const EARLY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a closed connection may take to carry its last bytes.
const LINGER: Duration = Duration::from_secs(3);

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    id: ConnId,
    stream: TcpStream,
    notify: Arc<SocketWaker>,
    waker: Waker,
    /// The beginning of a message.
    partial: Vec<u8>,
    is_write_blocked: bool,
}

impl Socket {
    /// Takes over a connected stream.
    pub(super) fn new(id: ConnId, stream: TcpStream, queue: &Arc<ReadyQueue>) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let notify = SocketWaker::new(id, queue.clone());
        let waker = Waker::from(notify.clone());
        Self { id, stream, notify, waker, partial: Vec::new(), is_write_blocked: false }
    }

    /// Reads what the kernel holds already, whether we have been told of it or not, up to a bound.
    ///
    /// # Errors
    /// The connection's; also when the neighbour has closed it.
    pub(super) fn read_early(
        &mut self,
        now: MonoTime,
        engine: &mut Engine,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut total = 0;
        // An end, and an error, come after the data, by a read of their own.
        while total < EARLY_BYTES_MAX {
            let kept = self.partial.len();
            buffer[..kept].copy_from_slice(&self.partial);
            // The runtime would only try if it had been told.
            match (&*SockRef::from(&self.stream)).read(&mut buffer[kept..]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the neighbour")),
                Ok(count) => {
                    total += count;
                    self.hand_over(now, engine, &buffer[..kept + count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn hand_over(&mut self, now: MonoTime, engine: &mut Engine, received: &[u8]) {
        let used = engine.handle_bytes(now, self.id, received);
        self.partial.clear();
        self.partial.extend_from_slice(&received[used..]);
    }

    /// It was reported ready: reads, up to a bound, and returns how many bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn read(
        &mut self,
        now: MonoTime,
        engine: &mut Engine,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        self.notify.taken();
        let mut total = 0;
        for _ in 0..READS_PER_TURN {
            let kept = self.partial.len();
            buffer[..kept].copy_from_slice(&self.partial);
            let count = match self.stream.try_read(&mut buffer[kept..]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the neighbour")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.stream.poll_read_ready(&mut Context::from_waker(&self.waker)) {
                        Poll::Pending => return Ok(total),
                        Poll::Ready(outcome) => outcome?,
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            total += count;
            self.hand_over(now, engine, &buffer[..kept + count]);
        }
        self.notify.again();
        Ok(total)
    }

    /// Was it waiting for room to write?
    pub(super) fn is_write_blocked(&self) -> bool {
        self.is_write_blocked
    }

    /// Writes what the engine has for it, up to a bound.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn write(&mut self, engine: &mut Engine) -> io::Result<()> {
        self.is_write_blocked = false;
        let mut budget = WRITE_BYTES_PER_TURN;
        loop {
            let mut slices: Vec<IoSlice<'_>> = Vec::new();
            if !engine.fill(self.id, &mut slices) {
                return Ok(());
            }
            let outcome = match &slices[..] {
                // The cheaper call for the commonest case, a change told to a thousand neighbours.
                [one] => self.stream.try_write(one),
                _ => self.stream.try_write_vectored(&slices),
            };
            match outcome {
                Ok(count) => {
                    drop(slices);
                    if !engine.written(self.id, count) {
                        return Ok(());
                    }
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.stream.poll_write_ready(&mut Context::from_waker(&self.waker)) {
                        Poll::Pending => {
                            self.is_write_blocked = true;
                            return Ok(());
                        }
                        Poll::Ready(outcome) => outcome?,
                    }
                }
                Err(error) => return Err(error),
            }
            if budget == 0 {
                self.is_write_blocked = true;
                self.notify.again();
                return Ok(());
            }
        }
    }

    /// Closes: what is still queued is written, and then read until the neighbour closes too, so that unread bytes of
    /// its do not make the kernel reset the connection before it has read our NOTIFICATION.
    pub(super) fn close(self, engine: &mut Engine) -> impl Future<Output = ()> + use<> {
        let mut rest = Vec::new();
        loop {
            let mut slices = Vec::new();
            if !engine.fill(self.id, &mut slices) {
                break;
            }
            let before = rest.len();
            slices.iter().for_each(|slice| rest.extend_from_slice(slice));
            drop(slices);
            engine.written(self.id, rest.len() - before);
        }
        let mut stream = self.stream;
        async move {
            let finish = async {
                stream.write_all(&rest).await?;
                stream.shutdown().await?;
                let mut sink = [0; 4096];
                while stream.read(&mut sink).await? > 0 {}
                io::Result::Ok(())
            };
            // Whatever fails here, the connection is over.
            _ = tokio::time::timeout(LINGER, finish).await;
        }
    }
}
