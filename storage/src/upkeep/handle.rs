//! What all logs of a broker share of upkeep: the rate of the scrub, and what was found and repaired.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_types::Instant;
use parking_lot::Mutex;

/// How damage was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// When the log was opened.
    Start,
    /// By the scrub.
    Scrub,
    /// When the records were read for another replica.
    Replication,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::Start, Self::Scrub, Self::Replication];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Scrub => "scrub",
            Self::Replication => "replication",
        }
    }
}

/// Ranges of records, and their bytes.
#[derive(Debug, Default)]
struct Tally {
    ranges: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn add(&self, bytes: u64) {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn snapshot(&self) -> (u64, u64) {
        (self.ranges.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes per second; 0 for no scrub.
    rate: u64,
    /// When everything that was reserved is paid for.
    paid: Mutex<Instant>,
    scrubbed: AtomicU64,
    found: [Tally; Cause::ALL.len()],
    repaired: [Tally; Cause::ALL.len()],
    given_up: [AtomicU64; Cause::ALL.len()],
}

/// The rate at which the sealed segments of all logs together are read, and what came of it. Clones share it; the default
/// reads nothing.
#[derive(Debug, Clone, Default)]
pub struct Upkeep(Arc<Shared>);

/// What upkeep has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpkeepSnapshot {
    /// Bytes whose checksums were compared.
    pub scrubbed_bytes: u64,
    /// Ranges of damaged records that were found and their bytes, by cause.
    pub found: [(u64, u64); Cause::ALL.len()],
    /// The same of those that were repaired.
    pub repaired: [(u64, u64); Cause::ALL.len()],
    /// Ranges that were deleted or cut before they were repaired, or that no replica could repair any more, by cause.
    pub given_up: [u64; Cause::ALL.len()],
}

impl Upkeep {
    /// Upkeep with a scrub of so many bytes per second; 0 for none.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self(Arc::new(Shared { rate: bytes_per_second, ..Shared::default() }))
    }

    /// When the next `bytes` may be read; they count as read then. `None` when nothing is scrubbed.
    #[must_use]
    pub fn reserve(&self, now: Instant, bytes: u64) -> Option<Instant> {
        if self.0.rate == 0 {
            return None;
        }
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.0.rate);
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let mut paid = self.0.paid.lock();
        // What was not used is not saved up: the scrub never reads in bursts.
        *paid = paid.max(now).after(cost);
        Some(*paid)
    }

    /// Counts bytes that were read.
    pub(crate) fn scrubbed(&self, bytes: u64) {
        self.0.scrubbed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts damage that was found.
    pub fn found(&self, cause: Cause, bytes: u64) {
        Self::tally(&self.0.found, cause, bytes);
    }

    /// Counts damage that was repaired.
    pub fn repaired(&self, cause: Cause, bytes: u64) {
        Self::tally(&self.0.repaired, cause, bytes);
    }

    /// Counts damage that was deleted or cut, or that no replica could repair any more.
    pub fn given_up(&self, cause: Cause) {
        if let Some(given_up) = self.0.given_up.get(cause as usize) {
            given_up.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tally(tallies: &[Tally], cause: Cause, bytes: u64) {
        if let Some(tally) = tallies.get(cause as usize) {
            tally.add(bytes);
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn snapshot(&self) -> UpkeepSnapshot {
        UpkeepSnapshot {
            scrubbed_bytes: self.0.scrubbed.load(Ordering::Relaxed),
            found: self.0.found.each_ref().map(Tally::snapshot),
            repaired: self.0.repaired.each_ref().map(Tally::snapshot),
            given_up: self.0.given_up.each_ref().map(|given_up| given_up.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_for_all_logs_together() {
        let upkeep = Upkeep::new(1_000_000);
        let now = Instant::from_micros(5_000_000);
        let other = upkeep.clone();
        assert_eq!(upkeep.reserve(now, 500_000), Some(Instant::from_micros(5_500_000)));
        assert_eq!(other.reserve(now, 500_000), Some(Instant::from_micros(6_000_000)));
        let later = Instant::from_micros(60_000_000);
        assert_eq!(upkeep.reserve(later, 1), Some(Instant::from_micros(60_000_001)), "no rest is saved up");
        assert_eq!(Upkeep::default().reserve(now, 1), None);
    }

    #[test]
    fn what_is_found_is_counted_by_its_cause() {
        let upkeep = Upkeep::new(0);
        upkeep.found(Cause::Scrub, 10);
        upkeep.found(Cause::Scrub, 5);
        upkeep.repaired(Cause::Replication, 7);
        let snapshot = upkeep.snapshot();
        assert_eq!(snapshot.found, [(0, 0), (2, 15), (0, 0)]);
        assert_eq!(snapshot.repaired, [(0, 0), (0, 0), (1, 7)]);
    }
}
