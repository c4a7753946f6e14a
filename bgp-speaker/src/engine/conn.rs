//! A connection as the engine sees it: an id, terms for the codec, and bytes waiting to be written.

use super::collision::Direction;
use super::rib::Source;
use super::send_hold::SendHold;
use super::update_group::Part;
use bgp_proto::SessionParams;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Names a connection, or an attempt at one, for good: ids are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Group bytes are taken into the write queue only up to this, so that a KEEPALIVE never waits behind more.
pub const WRITE_QUEUE_BYTES: usize = 256 * 1024;
const IO_SLICES_MAX: usize = 64;

/// One per connection.
#[derive(Debug)]
pub struct Conn {
    /// Of which peer.
    pub source: Source,
    /// Opened by whom.
    pub direction: Direction,
    /// What the codec is told; changes once, when the OPENs are exchanged.
    pub params: Arc<SessionParams>,
    /// No more input; what is queued is still written.
    pub is_closing: bool,
    /// In the engine's list of those with something to write.
    pub is_woken: bool,
    /// Its queue holds all that there is for it, as far as was known when it was filled last.
    pub is_caught_up: bool,
    /// Whole messages that go before any UPDATE of a group.
    pub control: VecDeque<Bytes>,
    /// Whether what is queued gets away.
    pub send_hold: SendHold,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// UPDATEs taken into the queue that nobody has counted yet.
    new_updates: u64,
}

impl Conn {
    /// Without anything to write.
    pub fn new(source: Source, direction: Direction) -> Self {
        Self {
            source,
            direction,
            params: Arc::default(),
            is_closing: false,
            is_woken: false,
            is_caught_up: false,
            control: VecDeque::new(),
            send_hold: SendHold::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            new_updates: 0,
        }
    }

    /// Moves control messages into the write queue; is there room for more?
    pub fn wants_more(&mut self) -> bool {
        for message in self.control.drain(..) {
            self.queued_bytes += message.len();
            self.queue.push_back(message);
        }
        self.queued_bytes < WRITE_QUEUE_BYTES
    }

    /// The queue's front as slices for a vectored write; `false` if it is empty.
    pub fn io_slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) -> bool {
        out.extend(self.queue.iter().take(IO_SLICES_MAX).map(|bytes| IoSlice::new(bytes)));
        !self.queue.is_empty()
    }

    /// So many bytes were written.
    pub fn written(&mut self, mut count: usize) {
        self.queued_bytes -= count;
        self.send_hold.wrote(count);
        while let Some(front) = self.queue.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.queue.pop_front();
        }
    }

    /// How many UPDATEs were queued since this was asked last.
    pub fn take_new_updates(&mut self) -> u64 {
        std::mem::take(&mut self.new_updates)
    }

    /// Is there something that was not written yet?
    pub fn is_waiting(&self) -> bool {
        !(self.queue.is_empty() && self.control.is_empty())
    }

    /// Is there nothing to write until it is woken again?
    pub fn is_done(&self) -> bool {
        self.is_caught_up && !self.is_waiting()
    }
}

impl Extend<Part> for Conn {
    fn extend<T: IntoIterator<Item = Part>>(&mut self, parts: T) {
        for part in parts {
            self.new_updates += u64::from(part.messages);
            self.queued_bytes += part.bytes.len();
            self.queue.push_back(part.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_continue_where_they_stopped() {
        let mut conn = Conn::new(Source(1), Direction::Outgoing);
        conn.control.push_back(Bytes::from_static(b"keepalive"));
        assert!(conn.wants_more());
        conn.extend([Part { bytes: Bytes::from_static(b"update"), messages: 1 }]);
        assert_eq!((conn.take_new_updates(), conn.take_new_updates()), (1, 0));
        conn.written(11);
        let mut slices = Vec::new();
        assert!(conn.io_slices(&mut slices));
        assert_eq!(&*slices[0], b"date");
        drop(slices);
        conn.written(4);
        assert!(!conn.io_slices(&mut Vec::new()));
    }
}
