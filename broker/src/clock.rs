//! The one place that asks the machine for the time.
//!
//! Cores are told the time; everything of the broker that needs it has a [`Clock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_types::{Instant, Now, Timestamp};

/// The process's clocks. Copies agree with each other: they count from the same start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts to count at this moment.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// Both clocks.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        Now { instant: self.instant(), wall: wall() }
    }

    /// The monotonic clock.
    #[must_use]
    pub(crate) fn instant(&self) -> Instant {
        Instant::ZERO.after(self.start.elapsed())
    }

    /// Translates a moment for timers of the runtime; `None` when it never comes.
    #[must_use]
    pub(crate) fn deadline(&self, at: Instant) -> Option<std::time::Instant> {
        self.start.checked_add(Duration::from_micros(at.as_micros()))
    }
}

/// Milliseconds since the Unix epoch; 0 when the machine's clock stands before it.
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_translation() {
        let clock = Clock::start();
        let at = Instant::from_micros(1_500);
        assert_eq!(clock.deadline(at), Some(clock.start + Duration::from_micros(1_500)));
        assert!(clock.now().instant <= clock.instant(), "the monotonic clock went back");
    }
}
