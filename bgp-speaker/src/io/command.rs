//! What the handle asks of the driver.

use crate::config::{NeighborError, NeighborId, NeighborRef, SpeakerConfig, Step};
use crate::engine::{PageAnswer, PageQuestion, StopMode};
use crate::speaker::{ApplyError, RouteChange, SpeakerEvent, Ticket};
use crate::view::{ExplainView, MalformedView, MetricsView, NeighborView, StatusView};
use ipnet::IpNet;
use tokio::sync::{broadcast, oneshot};

/// Where an answer goes. An asker that has gone away is no error.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// A change of the configuration in force.
pub(crate) struct Edit(pub(crate) Box<dyn FnOnce(&mut SpeakerConfig) + Send>);

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edit")
    }
}

/// A question or an order. Each is answered once; an unanswered one means that the speaker has stopped.
#[derive(Debug)]
pub(crate) enum Command {
    Config(Reply<SpeakerConfig>),
    Apply(Box<SpeakerConfig>, Reply<Result<Vec<Step>, ApplyError>>),
    /// Changes the configuration in force, so that two who change it at the same time both have their way.
    Change(Edit, Reply<Result<Vec<Step>, ApplyError>>),
    Status(Reply<StatusView>),
    Neighbors(Reply<Vec<NeighborView>>),
    /// A part of a page of routes.
    Page(PageQuestion, Reply<Result<PageAnswer, NeighborError>>),
    /// Of a prefix, perhaps only towards one neighbour.
    Explain(IpNet, Option<NeighborRef>, Reply<Result<ExplainView, NeighborError>>),
    /// How many prefixes nobody but these tells.
    SoleRoutes(Vec<NeighborId>, Reply<usize>),
    Metrics(Reply<MetricsView>),
    /// Of all neighbours, or of one.
    Malformed(Option<NeighborRef>, Reply<Result<Vec<MalformedView>, NeighborError>>),
    /// What happens from now on.
    Events(Reply<broadcast::Receiver<SpeakerEvent>>),
    Reset(NeighborRef, Reply<Result<(), NeighborError>>),
    Refresh(NeighborRef, Reply<Result<(), NeighborError>>),
    /// The next route changes of a subscriber, at least one; the first call makes it known.
    NextRoutes(Ticket, Reply<Vec<RouteChange>>),
    /// A subscriber that knows all that there is.
    FollowRoutes(Ticket, Reply<()>),
    Unsubscribe(u64),
    Stop(StopMode, Reply<()>),
}
