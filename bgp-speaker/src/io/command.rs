//! What the handle asks of the driver.

use crate::config::{NeighborError, NeighborId, NeighborRef, SpeakerConfig, Step};
use crate::engine::StopMode;
use crate::speaker::{ApplyError, RouteChange};
use crate::view::{ExplainView, MetricsView, NeighborView, RouteQuery, RouteView, StatusView};
use ipnet::IpNet;
use tokio::sync::oneshot;

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
    Routes(Box<RouteQuery>, Reply<Result<(Vec<RouteView>, bool), NeighborError>>),
    /// Of a prefix, perhaps only towards one neighbour.
    Explain(IpNet, Option<NeighborRef>, Reply<Result<ExplainView, NeighborError>>),
    /// How many prefixes nobody but these tells.
    SoleRoutes(Vec<NeighborId>, Reply<usize>),
    Metrics(Reply<MetricsView>),
    Reset(NeighborRef, Reply<Result<(), NeighborError>>),
    Refresh(NeighborRef, Reply<Result<(), NeighborError>>),
    /// The next route changes of a subscriber, at least one; the first call makes it known.
    NextRoutes(u64, Reply<Vec<RouteChange>>),
    Unsubscribe(u64),
    Stop(StopMode, Reply<()>),
}
