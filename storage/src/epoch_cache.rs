//! Leader epochs of a log and the offsets they begin at (KIP-101), also of epochs that have no record.
//!
//! Invariant: epochs grow strictly, starts never fall: `e1 < e2 => start(e1) <= start(e2)`.

use millrace_types::{LeaderEpoch, Offset};

/// The epochs of a log, oldest first. Zero-width epochs are kept: they are the markers of consensus rule 1.4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl EpochCache {
    /// The epochs and their starts, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The latest epoch, 0 without one (`F` of consensus rule 1.4).
    #[must_use]
    pub fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(0, |entry| entry.0)
    }

    /// Notes that `epoch` begins at `start`. An epoch that is not above the latest changes nothing.
    pub(crate) fn push(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch <= self.latest() && !self.entries.is_empty() {
            return false;
        }
        debug_assert!(self.entries.last().is_none_or(|last| last.1 <= start), "starts never fall");
        self.entries.push((epoch, start));
        true
    }

    /// Where `epoch` ended, as Kafka answers `OffsetForLeaderEpoch` (KIP-101, KIP-320): the greatest epoch not above
    /// it, and the start of the next one, or `log_end` for the latest. An epoch before the first known one ends where
    /// that begins; of an epoch above the latest nothing is known: `(-1, -1)`.
    #[must_use]
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        let after = self.entries.partition_point(|entry| entry.0 <= epoch);
        let floor = after.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.0);
        match self.entries.get(after) {
            _ if epoch < 0 => (-1, -1),
            Some((_, start)) => (floor.unwrap_or(epoch), *start),
            None if floor == Some(epoch) => (epoch, log_end),
            None => (-1, -1),
        }
    }

    /// The epoch of the record at `offset`: the last one that begins at or below it.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.0)
    }

    /// Drops what a cut to `to` voids: epochs above `epoch`, and those that begin above `to` (rule T2). Returns whether
    /// there were any.
    pub(crate) fn cut(&mut self, to: Offset, epoch: LeaderEpoch) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.0 <= epoch && entry.1 <= to);
        self.entries.len() < before
    }

    /// Forgets everything but the epoch before the first record.
    pub(crate) fn reset(&mut self, below: Option<(LeaderEpoch, Offset)>) {
        self.entries = below.into_iter().collect();
    }

    /// Drops what lies wholly below the log start offset. The newest entry below it stays, so that the epoch of the
    /// first record is known (consensus rule 1.4).
    pub(crate) fn raise_start(&mut self, start: Offset) {
        let below = self.entries.partition_point(|entry| entry.1 < start);
        self.entries.drain(..below.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, start) in [(1, 0), (2, 10), (4, 10), (5, 20)] {
            assert!(cache.push(epoch, start));
        }
        cache
    }

    #[test]
    fn an_old_epoch_changes_nothing() {
        let mut cache = cache();
        assert!(!cache.push(5, 30) && !cache.push(3, 30));
        assert_eq!(cache.entries().len(), 4);
        assert_eq!(cache.latest(), 5);
        assert_eq!(EpochCache::default().latest(), 0);
    }

    #[test]
    fn epochs_end_where_the_next_begins() {
        let cache = cache();
        for (asked, answer) in [
            (-1, (-1, -1)),
            (0, (0, 0)),
            (1, (1, 10)),
            (2, (2, 10)),
            (3, (2, 10)),
            (4, (4, 20)),
            (5, (5, 25)),
            (9, (-1, -1)),
        ] {
            assert_eq!(cache.end_offset(asked, 25), answer);
        }
    }

    #[test]
    fn a_zero_width_epoch_owns_no_offset() {
        let cache = cache();
        assert_eq!(cache.epoch_at(9), Some(1));
        assert_eq!(cache.epoch_at(10), Some(4));
        assert_eq!(cache.epoch_at(-1), None);
    }

    #[test]
    fn a_cut_drops_later_epochs_and_later_starts() {
        let mut cut = cache();
        assert!(cut.cut(15, 4));
        assert_eq!(cut.entries(), [(1, 0), (2, 10), (4, 10)]);
        assert!(cut.cut(10, 2), "a zero-width epoch above the one cut to goes too");
        assert!(!cut.cut(10, 2));
        assert_eq!(cut.entries(), [(1, 0), (2, 10)]);
    }

    #[test]
    fn the_newest_epoch_below_the_start_is_kept() {
        let mut cache = cache();
        cache.raise_start(10);
        assert_eq!(cache.entries().len(), 4, "epochs without a record at the start are not below it");
        cache.raise_start(15);
        assert_eq!(cache.entries(), [(4, 10), (5, 20)]);
        cache.raise_start(100);
        assert_eq!(cache.entries(), [(5, 20)]);
    }
}
