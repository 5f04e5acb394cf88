//! The random numbers of a core: a generator the host seeds, so that one seed gives one history.

use std::time::Duration;

/// A seeded generator (SplitMix64, Steele et al. 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
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

    /// The pause before try number `attempt` (the first is 0): `first` doubled per attempt, at most `longest`, and
    /// changed by up to a fifth, so that clients that failed together do not come back together (KIP-580).
    pub fn backoff(&mut self, first: Duration, longest: Duration, attempt: u32) -> Duration {
        let doubled = first.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX).max(1)).min(longest);
        let share = 80 + u32::try_from(self.below(41)).unwrap_or(0);
        doubled.saturating_mul(share) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| -> Vec<u64> {
            let mut random = Random::new(seed);
            (0..5).map(|_| random.number()).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn the_backoff_doubles_up_to_its_limit() {
        let mut random = Random::new(1);
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        for (attempt, expected) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (40, 1000)] {
            let pause = random.backoff(first, longest, attempt).as_millis();
            assert!(pause >= expected * 4 / 5 && pause <= expected * 6 / 5, "{attempt}: {pause}");
        }
    }
}
