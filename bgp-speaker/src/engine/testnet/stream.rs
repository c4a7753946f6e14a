//! A TCP connection in memory.

use super::node::NodeId;
use crate::engine::conn::ConnId;
use crate::engine::time::MonoTime;

/// Names a stream for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Which end: who connected, or who was connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Opener,
    Acceptor,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Opener, Side::Acceptor];

    pub(super) fn other(self) -> Side {
        match self {
            Side::Opener => Side::Acceptor,
            Side::Acceptor => Side::Opener,
        }
    }
}

/// One end of a stream.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    /// The engine's name for it; `None` on a stranger's side, and before the connection was accepted.
    pub(super) conn: Option<ConnId>,
    /// Its owner uses it.
    pub(super) is_open: bool,
    /// Received, but not a whole message yet.
    pub(super) received: Vec<u8>,
    /// Written here and not read on the other side.
    pub(super) in_flight: usize,
    /// What this end sends arrives in order.
    pub(super) last_arrival: MonoTime,
}

impl End {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            conn: None,
            is_open: true,
            received: Vec::new(),
            in_flight: 0,
            last_arrival: MonoTime::ZERO,
        }
    }
}

/// Both ends.
#[derive(Debug)]
pub(super) struct Stream {
    /// Over which family it runs.
    pub(super) is_v6: bool,
    opener: End,
    acceptor: End,
}

impl Stream {
    pub(super) fn new(opener: NodeId, acceptor: NodeId, is_v6: bool) -> Self {
        Self { is_v6, opener: End::new(opener), acceptor: End::new(acceptor) }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Opener => &self.opener,
            Side::Acceptor => &self.acceptor,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Opener => &mut self.opener,
            Side::Acceptor => &mut self.acceptor,
        }
    }
}

/// What travels towards an end.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// The opener asks.
    Syn,
    /// The acceptor agrees.
    Accepted,
    /// It does not, or the stream is gone.
    Reset,
    /// Data.
    Bytes(Vec<u8>),
    /// The end of data.
    Fin,
}
