//! Random numbers from a seed: the same load for every daemon, every run and every machine.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Dice that always fall the same way.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be zero.
    pub fn below(&mut self, limit: u32) -> u32 {
        let scaled = (self.number() >> 32) * u64::from(limit);
        u32::try_from(scaled >> 32).expect("below a u32")
    }

    /// An index into something with `length` members, which must not be zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.number() % length as u64).expect("below a usize")
    }

    /// A number from 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        let numerator = (self.number() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// True in `percent` of cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Puts items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}
