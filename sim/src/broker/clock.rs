//! The clocks of a machine: one that only goes on, a little too fast or too slow, and one on the wall that can jump.

use millrace_types::{Instant, Now};

use crate::queue::Micros;

/// Wall clock at the moment 0 of a run, in milliseconds.
const WALL: i64 = 1_700_000_000_000 - 1_000;
const MILLION: i128 = 1_000_000;

/// The clocks of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// Microseconds that it is fast in each second; less than a second.
    pub drift: i64,
    /// Milliseconds that the wall clock is ahead.
    pub ahead: i64,
}

impl Clock {
    /// What the clocks show at a moment.
    #[must_use]
    pub fn now(&self, at: Micros) -> Now {
        let shown = i128::from(at) + i128::from(at) * i128::from(self.drift) / MILLION;
        let shown = u64::try_from(shown).unwrap_or(at);
        let millis = i64::try_from(shown / 1_000).unwrap_or(0);
        Now { instant: Instant::from_micros(shown), wall: WALL + self.ahead + millis }
    }

    /// The first moment at which the clock shows `instant`.
    #[must_use]
    pub fn moment(&self, instant: Instant) -> Micros {
        let shown = i128::from(instant.as_micros());
        let (scaled, rate) = (shown * MILLION, MILLION + i128::from(self.drift));
        let mut at = u64::try_from(scaled / rate).unwrap_or(Micros::MAX);
        while self.now(at).instant < instant {
            at += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_at_the_first_moment_that_shows_it() {
        for drift in [-50_000, -3, 0, 7, 20_000] {
            let clock = Clock { drift, ahead: 0 };
            for shown in [1, 999, 1_000_000, 12_345_678_901] {
                let at = clock.moment(Instant::from_micros(shown));
                assert!(clock.now(at).instant.as_micros() >= shown);
                assert!(clock.now(at - 1).instant.as_micros() < shown);
            }
        }
    }
}
