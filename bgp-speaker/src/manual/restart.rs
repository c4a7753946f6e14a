//! # Restart is not leaving
//!
//! A node's daemon is restarted far more often than the node goes away, and its pods must stay reachable meanwhile. So
//! there are two ways to stop, and neither is a default hidden in the other:
//!
//! | | [`Stop::Restart`](crate::Stop::Restart), SIGTERM, SIGINT, a crash | [`Stop::Leave`](crate::Stop::Leave), `drain` |
//! |---|---|---|
//! | neighbours | see the connection close, and keep our routes for the restart time (RFC 4724) | get a NOTIFICATION (Administrative Shutdown, as a Hard Reset where RFC 8538 was negotiated) and drop them |
//! | kernel | keeps every route | is cleaned of ours, and only ours |
//!
//! # Coming back
//!
//! With feature `fib`, routes of our protocol id in our table say that we have been here before. They are adopted: a
//! route that turns out to be wanted is left alone, a different one is replaced in place, and what nobody wants goes
//! only once the first convergence is done.
//!
//! A speaker that comes back sets the Restart State bit, and says that forwarding went on. Until the first convergence
//! is done it selects no learned routes and sends no End-of-RIB; what it originates itself is announced at once. So a
//! speaker that was restarted causes no withdrawal, and its neighbours drop nothing.
//!
//! A reflector has no kernel routes that could tell it whether it has been here before. It always says that it may have,
//! and keeps its End-of-RIB back, but selects routes at once ([`StartKind::Unknown`](crate::StartKind::Unknown)).
//!
//! The first convergence is done when every listed neighbour has sent its End-of-RIB (or cannot), and, where neighbours
//! may come unlisted, none has come for five seconds; at the latest after the selection deferral time
//! ([`GracefulRestartConfig`](crate::config::GracefulRestartConfig)).
//!
//! # Helping
//!
//! When a session ends without a NOTIFICATION (or with one, where RFC 8538 was negotiated and it is no Hard Reset), the
//! neighbour's routes become stale and stay in use for the time that it asked for. They go when it comes back without
//! having kept its forwarding state, when it has sent its End-of-RIB without them, or when the time is over. An expired
//! hold timer without RFC 8538 ends it all at once: the neighbour, or the way to it, is dead.
