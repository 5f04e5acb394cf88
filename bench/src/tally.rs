//! What the workers of a run count: totals, a timeline, errors and latencies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::ErrorCode;

use crate::clock::Window;
use crate::stats::Latencies;

/// Counters that all workers of a run share.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The part of the run that counts.
    pub(crate) window: Window,
    records: AtomicU64,
    bytes: AtomicU64,
    /// Records and bytes per second since the start of the load, warm-up included.
    seconds: Vec<(AtomicU64, AtomicU64)>,
}

impl Tally {
    /// Counters for one run.
    pub(crate) fn new(window: Window) -> Self {
        let seconds = (window.until - window.start).div_ceil(1_000_000_000);
        let seconds = (0..seconds).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
        Self { window, records: AtomicU64::new(0), bytes: AtomicU64::new(0), seconds }
    }

    /// Counts records and their bytes that were done at `moment`; those outside the window only reach the timeline.
    pub(crate) fn add(&self, moment: u64, records: u64, bytes: u64) {
        if self.window.contains(moment) {
            self.records.fetch_add(records, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let second = usize::try_from(moment.saturating_sub(self.window.start) / 1_000_000_000).unwrap_or(usize::MAX);
        if let Some((all_records, all_bytes)) = self.seconds.get(second) {
            all_records.fetch_add(records, Ordering::Relaxed);
            all_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Records that count so far.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes that count so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records and bytes of each second, the last one cut short when the run has no whole number of seconds.
    pub(crate) fn timeline(&self) -> Vec<(u64, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.seconds.iter().map(|(records, bytes)| (read(records), read(bytes))).collect()
    }
}

/// What one worker measured by itself.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Latencies by what they measure.
    pub(crate) latencies: BTreeMap<&'static str, Latencies>,
    /// Faults by their name.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Outcome {
    /// Counts a latency, in nanoseconds.
    pub(crate) fn latency(&mut self, what: &'static str, nanos: u64) {
        self.latencies.entry(what).or_default().record_ns(nanos);
    }

    /// Counts an error code of the protocol.
    pub(crate) fn refused(&mut self, code: i16) {
        self.fault(&format!("{:?}", ErrorCode::from_code(code)), 1);
    }

    /// Counts faults of another kind.
    pub(crate) fn fault(&mut self, name: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(name.to_owned()).or_default() += count;
        }
    }

    /// Adds what another worker measured.
    pub(crate) fn merge(&mut self, other: Self) {
        for (what, latencies) in other.latencies {
            self.latencies.entry(what).or_default().merge(&latencies);
        }
        for (name, count) in other.errors {
            *self.errors.entry(name).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_window_counts_and_the_timeline_holds_all() {
        let second = 1_000_000_000;
        let tally = Tally::new(Window::new(0, Duration::from_secs(1), Duration::from_secs(2)));
        tally.add(second / 2, 1, 10);
        tally.add(second, 2, 20);
        tally.add(3 * second - 1, 4, 40);
        tally.add(3 * second, 8, 80);
        assert_eq!((tally.records(), tally.bytes()), (6, 60));
        assert_eq!(tally.timeline(), [(1, 10), (2, 20), (4, 40)]);
    }

    #[test]
    fn outcomes_add_up() {
        let mut a = Outcome::default();
        a.latency("ack", 5_000);
        a.refused(6);
        let mut b = Outcome::default();
        b.latency("ack", 7_000);
        b.refused(6);
        b.fault("lost", 0);
        a.merge(b);
        assert_eq!(a.latencies["ack"].summary().count, 2);
        assert_eq!(a.errors, BTreeMap::from([("NotLeaderOrFollower".to_owned(), 2)]));
    }
}
