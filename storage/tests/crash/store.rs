//! A model of the write-ahead store: records in order, of which a power loss keeps the durable ones and maybe more.

use millrace_storage::{Known, QRecord};
use millrace_types::{LeaderEpoch, Offset};

#[derive(Debug, Default, Clone)]
pub(crate) struct Store {
    records: Vec<QRecord>,
    durable: usize,
}

impl Store {
    /// Appends into the page cache.
    pub(crate) fn put(&mut self, records: impl IntoIterator<Item = QRecord>) {
        self.records.extend(records);
    }

    /// Makes everything durable.
    pub(crate) fn flush(&mut self) {
        self.durable = self.records.len();
    }

    /// Loses all but the durable records and `more` of the others.
    pub(crate) fn lose_power(&mut self, more: usize) {
        self.records.truncate(self.durable + more);
        // The machine's next run has a page cache of its own, and nothing was noted since the flush that failed.
        self.records.retain(|record| !matches!(record, QRecord::Suspect { .. }));
        self.durable = self.records.len();
    }

    /// Records that a power loss may take.
    pub(crate) fn volatile(&self) -> usize {
        self.records.len() - self.durable
    }

    /// What the records say of the one log there is.
    pub(crate) fn known(&self, clean: bool, ignore_truncations: bool) -> Known {
        let mut known = Known { clean, ..Known::default() };
        for record in &self.records {
            match record {
                QRecord::Epoch { epoch, start, .. } => push_epoch(&mut known.epochs, *epoch, *start),
                QRecord::Trunc { to, epoch, .. } => {
                    if !ignore_truncations {
                        known.epochs.retain(|entry| entry.0 <= *epoch && entry.1 <= *to);
                    }
                    known.flushed = known.flushed.map(|flushed| flushed.min(*to));
                    known.trunc = Some((*to, *epoch));
                    (known.suspect, known.cutting) = (false, None);
                }
                QRecord::Cutting { to, epoch, .. } => {
                    if !ignore_truncations {
                        known.epochs.retain(|entry| entry.0 <= *epoch && entry.1 <= *to);
                        known.cutting = Some((*to, *epoch));
                    }
                    known.flushed = known.flushed.map(|flushed| flushed.min(*to));
                }
                QRecord::Suspect { .. } => known.suspect = true,
                QRecord::Flushed { upto, .. } => known.flushed = Some(known.flushed.unwrap_or(0).max(*upto)),
                QRecord::Start { offset, .. } => known.start = Some(known.start.unwrap_or(0).max(*offset)),
                _ => {}
            }
        }
        known
    }
}

fn push_epoch(epochs: &mut Vec<(LeaderEpoch, Offset)>, epoch: LeaderEpoch, start: Offset) {
    if epochs.last().is_none_or(|last| last.0 < epoch) {
        epochs.push((epoch, start));
    }
}
