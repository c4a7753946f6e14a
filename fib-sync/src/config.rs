//! How a [`Fib`](crate::Fib) behaves. Every field has a default that is right for a routing daemon on a host.

use std::time::Duration;

use crate::error::ConfigError;
use crate::kernel::Ownership;

/// Which routes are ours, and how they are kept.
///
/// ```
/// let config = fib_sync::FibConfig { table: 100, ..Default::default() };
/// assert_eq!(config.protocol, 12);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FibConfig {
    /// The routing table; 254 is `main`.
    pub table: u32,
    /// The protocol id that marks our routes (`proto` in `ip route`). Every route of `table` with this id is taken
    /// as ours: two users of one table need two ids. 12 is the id that BIRD uses, so that tools which know it
    /// keep working.
    pub protocol: u8,
    /// The metric of routes that have none of their own. The kernel tells routes for one prefix apart by it, so a metric that nobody else
    /// uses rules out conflicts. 0 means, as in the kernel, 1024 for IPv6.
    pub metric: u32,
    /// Whether routes share nexthop objects.
    pub nexthop_objects: NexthopObjects,
    /// The most requests that are in flight at once. A larger batch is barely faster and answers later.
    pub batch_len: usize,
    /// How many prefixes may wait for the kernel before [`Fib::apply`](crate::Fib::apply) waits too. Each prefix waits
    /// at most once, and costs four bytes for that. The more are known, the better an order can be found for them.
    pub queue_limit: usize,
    /// How long after a refusal routes are tried again when nothing has changed meanwhile. Doubles with every
    /// fruitless attempt, up to `retry_max`.
    pub retry_first: Duration,
    /// The longest time between two such attempts.
    pub retry_max: Duration,
    /// How often our routes are read back and compared although no change was reported.
    pub audit_interval: Option<Duration>,
}

impl Default for FibConfig {
    fn default() -> FibConfig {
        FibConfig {
            table: 254,
            protocol: 12,
            metric: 1024,
            nexthop_objects: NexthopObjects::Auto,
            batch_len: 2048,
            queue_limit: 1 << 19,
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            audit_interval: Some(Duration::from_secs(300)),
        }
    }
}

/// Whether routes refer to nexthop objects of the kernel or carry their gateway themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NexthopObjects {
    /// Where the kernel has them and the gateway's interface is known. Installing is cheapest, and a next hop that
    /// moves to another interface costs one message. The kernel removes such routes when the interface loses its
    /// carrier, and a running `Fib` puts them back.
    Auto,
    /// Never. IPv4 routes then survive a loss of carrier even while no `Fib` runs.
    Never,
}

impl FibConfig {
    const BATCH_LEN_MAX: usize = 65_536;
    const QUEUE_LIMIT_MAX: usize = 1 << 24;

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if matches!(self.table, 0 | 255) {
            return Err(ConfigError::Table { table: self.table });
        }
        if self.protocol <= 4 {
            return Err(ConfigError::Protocol { protocol: self.protocol });
        }
        for (field, value, max) in [
            ("batch_len", self.batch_len, FibConfig::BATCH_LEN_MAX),
            ("queue_limit", self.queue_limit, FibConfig::QUEUE_LIMIT_MAX),
        ] {
            if value == 0 || value > max {
                return Err(ConfigError::Limit { field, value, max });
            }
        }
        Ok(())
    }

    pub(crate) fn ownership(&self) -> Ownership {
        Ownership { table: self.table, protocol: self.protocol, metric: self.metric }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_tables_and_protocols_are_refused() {
        let with = |table, protocol| FibConfig { table, protocol, ..FibConfig::default() }.validate();
        assert_eq!(with(254, 12), Ok(()));
        assert_eq!(with(1_000_000, 186), Ok(()));
        assert_eq!(with(255, 12), Err(ConfigError::Table { table: 255 }));
        assert_eq!(with(254, 4), Err(ConfigError::Protocol { protocol: 4 }));
    }
}
