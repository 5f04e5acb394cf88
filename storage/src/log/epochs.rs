//! The leader epochs of a log: markers that this replica sets, and those of other leaders.

use millrace_types::{LeaderEpoch, Offset};

use super::Log;
use crate::epoch_cache::EpochCache;
use crate::qstate::QRecord;

impl Log {
    /// A copy of the leader epochs.
    #[must_use]
    pub fn epoch_cache(&self) -> EpochCache {
        self.shared.epochs.read().clone()
    }

    /// Notes that this replica leads in `epoch` from the log end offset on: a zero-width marker (consensus rule 1.4).
    /// The record has to be durable before the marker counts.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> QRecord {
        let start = self.log_end();
        self.note_epoch(epoch, start);
        QRecord::Epoch { tp: self.partition, epoch, start }
    }

    /// Notes that `epoch` begins at `start`, at or below the log end offset: a marker that another leader has set. One that
    /// is not above the latest epoch changes nothing.
    pub fn push_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        debug_assert!(start <= self.log_end(), "epoch {epoch} begins at {start}, above {}", self.log_end());
        self.note_epoch(epoch, start);
    }

    pub(super) fn note_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch > self.latest_epoch {
            self.shared.epochs.write().push(epoch, start);
            self.latest_epoch = epoch;
        }
    }
}
