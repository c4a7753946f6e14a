//! How rough a network is.

use std::time::Duration;

/// How rough a network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Longest delay of a segment; the shortest is nothing.
    pub delay_max: Duration,
    /// Longest segment.
    pub segment_bytes_max: usize,
    /// What a sender may have under way that was not read yet.
    pub window_bytes: usize,
    /// How often an engine's batch is not worked off at once, in percent.
    pub lazy_percent: u32,
    /// How long it may wait then.
    pub lazy_max: Duration,
}

impl Weather {
    /// Nothing happens.
    pub const CALM: Weather = Weather {
        delay_max: Duration::ZERO,
        segment_bytes_max: 65_536,
        window_bytes: 1 << 20,
        lazy_percent: 0,
        lazy_max: Duration::ZERO,
    };

    /// Small segments, long ways, late batches.
    pub const ROUGH: Weather = Weather {
        delay_max: Duration::from_millis(150),
        segment_bytes_max: 97,
        window_bytes: 2048,
        lazy_percent: 40,
        lazy_max: Duration::from_millis(80),
    };
}
