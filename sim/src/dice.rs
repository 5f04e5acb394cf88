//! Chance: the one source of randomness of a run, split so that one part's draws do not shift another's.

use millrace_client::core::Random;

/// A seeded source of chance.
#[derive(Debug, Clone)]
pub struct Dice(Random);

impl Dice {
    /// The source of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A source of its own, so that more draws in one part of a run leave the others as they were.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self::new(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.number()
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included; the larger of `low` and `high` never below `low`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Whether a chance of `percent` in a hundred came true.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which are not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices[at.min(choices.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_all_values_come() {
        let mut dice = Dice::new(1);
        let seen: std::collections::BTreeSet<u64> = (0..200).map(|_| dice.between(3, 6)).collect();
        assert_eq!(seen, (3..=6).collect());
        assert_eq!((dice.below(0), dice.between(5, 5)), (0, 5));
        assert!(!dice.chance(0) && dice.chance(100));
    }

    #[test]
    fn a_split_source_is_not_moved_by_its_parent() {
        let mut parent = Dice::new(9);
        let mut child = parent.split();
        let mut again = Dice::new(9);
        let mut same = again.split();
        parent.number();
        assert_eq!(child.number(), same.number());
    }
}
