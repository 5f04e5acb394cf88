//! Chance as an argument: cores are given a seed, they never draw one.

use std::time::Duration;

/// A sequence of numbers that is a function of its seed, the same on every machine (SplitMix64, Steele et al. 2014). Not for
/// secrets.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of `seed`. Seeds that lie near each other, or a multiple of the step apart, may give one sequence, shifted: those
    /// of many sequences are made by [`Random::seed`].
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A seed that stands for all of `parts`, in their order. Whatever the parts have in common, the sequences have nothing: each
    /// begins anywhere among 2^64 numbers.
    #[must_use]
    pub fn seed(parts: &[u64]) -> u64 {
        parts.iter().fold(0, |seed, part| Self::new(seed ^ part).number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.number()) * (bound as u128);
        (product >> 64) as usize
    }

    /// A delay below `limit`, in whole microseconds; zero for a limit of zero.
    pub fn delay_below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.number().checked_rem(micros).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.number()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn sequences_of_near_seeds_share_nothing() {
        let pairs = (0..32).flat_map(|high| (0..32).map(move |low| [high, low]));
        let first = |parts: [u64; 2]| {
            let mut random = Random::new(Random::seed(&parts));
            (0..32).map(|_| random.number()).collect::<Vec<_>>()
        };
        let drawn: std::collections::BTreeSet<u64> = pairs.flat_map(first).collect();
        assert_eq!(drawn.len(), 32 * 32 * 32);
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
        let limit = Duration::from_millis(5);
        assert!((0..1000).all(|_| random.delay_below(limit) < limit));
        assert_eq!(random.delay_below(Duration::ZERO), Duration::ZERO);
    }
}
