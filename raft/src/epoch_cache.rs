//! The epochs of a log and where they begin, also of epochs that have no record (rule R2).
//!
//! Invariant: epochs grow strictly, starts never fall: `e1 < e2 => start(e1) <= start(e2)`.

use millrace_types::{LeaderEpoch, Offset};

use crate::mutation::{Mutation, broken};
use crate::position::EpochStart;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    epoch: LeaderEpoch,
    start: Offset,
    /// Whether the write-ahead store holds it, or durable records do.
    durable: bool,
}

/// The epochs of a log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EpochCache {
    entries: Vec<Entry>,
}

impl EpochCache {
    /// A cache that is durable as it is.
    pub(crate) fn restored(epochs: &[EpochStart]) -> Self {
        let entry = |known: &EpochStart| Entry { epoch: known.epoch, start: known.start, durable: true };
        Self { entries: epochs.iter().map(entry).collect() }
    }

    /// The latest epoch, 0 without one.
    pub(crate) fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(0, |entry| entry.epoch)
    }

    pub(crate) fn starts(&self) -> impl DoubleEndedIterator<Item = EpochStart> + '_ {
        self.entries.iter().map(|entry| EpochStart { epoch: entry.epoch, start: entry.start })
    }

    /// Notes an epoch, not durable yet. Returns whether it is new: one that is not above the latest changes nothing.
    pub(crate) fn push(&mut self, marker: EpochStart) -> bool {
        if marker.epoch <= self.latest() {
            return false;
        }
        self.entries.push(Entry { epoch: marker.epoch, start: marker.start, durable: false });
        true
    }

    /// The epochs up to `epoch` are durable.
    pub(crate) fn mark_durable(&mut self, epoch: LeaderEpoch) {
        for entry in self.entries.iter_mut().filter(|entry| entry.epoch <= epoch) {
            entry.durable = true;
        }
    }

    /// The last epoch of the durable prefix of the log: it and all before it begin within what is durable, and each of
    /// their markers is durable itself.
    pub(crate) fn durable_epoch(&self, durable_end: Offset) -> LeaderEpoch {
        let counts =
            |entry: &&Entry| entry.start <= durable_end && (entry.durable || broken(Mutation::CountMarkerBeforePut));
        self.entries.iter().take_while(counts).last().map_or(0, |entry| entry.epoch)
    }

    /// The greatest epoch not above `epoch`.
    pub(crate) fn floor(&self, epoch: LeaderEpoch) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// Where `epoch` ends: the start of the next epoch, or the log's end.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Offset {
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        self.entries.get(after).map_or(log_end, |next| next.start)
    }

    pub(crate) fn start_of(&self, epoch: LeaderEpoch) -> Option<Offset> {
        let at = self.entries.binary_search_by_key(&epoch, |entry| entry.epoch).ok()?;
        self.entries.get(at).map(|entry| entry.start)
    }

    /// The newest epoch that begins below `offset`.
    pub(crate) fn newest_below(&self, offset: Offset) -> Option<EpochStart> {
        self.starts().rev().find(|known| known.start < offset)
    }

    /// Drops epochs above `epoch` and those that begin above `to` (rules R7, R8).
    pub(crate) fn cut(&mut self, to: Offset, epoch: LeaderEpoch) {
        self.entries.retain(|entry| entry.epoch <= epoch && entry.start <= to);
    }

    /// Forgets everything but the epoch of the last deleted record: the log begins anew.
    pub(crate) fn reset(&mut self, below: Option<EpochStart>) {
        self.entries =
            below.map(|known| Entry { epoch: known.epoch, start: known.start, durable: false }).into_iter().collect();
    }

    /// Drops what lies wholly below the log start offset. The newest entry below it stays, so that the epoch before the
    /// first record is known.
    pub(crate) fn raise_start(&mut self, start: Offset) {
        let below = self.entries.partition_point(|entry| entry.start < start);
        self.entries.drain(..below.saturating_sub(1));
    }

    /// Whether the invariant holds.
    pub(crate) fn is_ordered(&self) -> bool {
        let ordered = |pair: &[Entry]| matches!(pair, [a, b] if a.epoch < b.epoch && a.start <= b.start);
        self.entries.windows(2).all(ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> EpochCache {
        let epochs = [(1, 0), (2, 10), (4, 10), (5, 20)];
        EpochCache::restored(&epochs.map(|(epoch, start)| EpochStart { epoch, start }))
    }

    #[test]
    fn epochs_end_where_the_next_begins() {
        let cache = cache();
        for (asked, floor, end) in [(1, 1, 10), (2, 2, 10), (3, 2, 10), (4, 4, 20), (5, 5, 25), (9, 5, 25)] {
            assert_eq!((cache.floor(asked), cache.end_of(floor, 25)), (Some(floor), end));
        }
        assert_eq!(cache.floor(0), None);
    }

    #[test]
    fn an_epoch_counts_when_all_before_it_are_durable() {
        let mut cache = cache();
        assert!(cache.push(EpochStart { epoch: 6, start: 20 }) && cache.push(EpochStart { epoch: 7, start: 20 }));
        assert!(!cache.push(EpochStart { epoch: 7, start: 30 }));
        assert_eq!(cache.durable_epoch(19), 4);
        assert_eq!(cache.durable_epoch(20), 5);
        cache.mark_durable(6);
        assert_eq!(cache.durable_epoch(20), 6);
        cache.mark_durable(7);
        assert_eq!(cache.durable_epoch(20), 7);
        assert!(cache.is_ordered());
    }

    #[test]
    fn a_cut_drops_later_epochs_and_later_starts() {
        let mut cache = cache();
        cache.cut(15, 4);
        assert_eq!((cache.latest(), cache.start_of(4)), (4, Some(10)));
        cache.cut(10, 2);
        assert_eq!(cache.latest(), 2);
    }

    #[test]
    fn the_newest_epoch_below_the_start_is_kept() {
        let mut cache = cache();
        cache.raise_start(15);
        assert_eq!(cache.starts().next(), Some(EpochStart { epoch: 4, start: 10 }));
        assert_eq!(cache.newest_below(20), Some(EpochStart { epoch: 4, start: 10 }));
        cache.reset(cache.newest_below(21));
        assert_eq!(cache.latest(), 5);
    }
}
