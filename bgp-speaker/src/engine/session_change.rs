//! What happens to sessions and to the neighbours behind them, for whoever follows it.

use super::session::StateKind;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChange {
    /// The neighbour's address, with the port if others have the same.
    pub neighbor: String,
    /// Its name, or the same as `neighbor`.
    pub name: String,
    /// The state that it is in now.
    pub state: StateKind,
    /// What changed.
    pub kind: SessionChangeKind,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChangeKind {
    /// The neighbour is known from now on.
    Added,
    /// It is known no more.
    Removed,
    /// The session is established.
    Up,
    /// The session that was established is over.
    Down(SessionEnd),
    /// No session came to be, for another reason than the last time.
    Failed(SessionEnd),
}

/// Why a session ended, or did not come to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// A constant word for it, as in `bgp_session_transitions_total`.
    pub reason: &'static str,
    /// In words.
    pub text: String,
}
