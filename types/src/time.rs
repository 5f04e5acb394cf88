//! Time as an argument: cores are told the time, they never ask for it.

use std::time::Duration;

/// Wall-clock time in milliseconds since the Unix epoch, as records carry it. `-1` means none.
pub type Timestamp = i64;

/// A moment on the host's monotonic clock, in microseconds since an arbitrary start.
///
/// Moments of one process may be compared with each other and with nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of the monotonic clock.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the clock's start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `delay` later; [`Instant::NEVER`] when it is out of range.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The time from `earlier` to this moment, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks at the moment a core is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic: deadlines, time-outs, sessions.
    pub instant: Instant,
    /// Wall clock: what is written into records and compared with their timestamps.
    pub wall: Timestamp,
}
