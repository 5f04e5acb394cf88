//! How long to pause before something that failed is tried again.

use std::time::Duration;

use millrace_types::Random;

pub(crate) trait Backoff {
    /// The pause before try number `attempt` (the first is 0): `first` doubled per attempt, at most `longest`, and
    /// changed by up to a fifth, so that clients that failed together do not come back together (KIP-580).
    fn backoff(&mut self, first: Duration, longest: Duration, attempt: u32) -> Duration;
}

impl Backoff for Random {
    fn backoff(&mut self, first: Duration, longest: Duration, attempt: u32) -> Duration {
        let doubled = first.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX).max(1)).min(longest);
        let share = 80 + u32::try_from(self.below(41)).unwrap_or(0);
        doubled.saturating_mul(share) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
