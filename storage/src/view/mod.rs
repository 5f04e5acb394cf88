//! The side of a log that every arbiter reads without a mailbox.

mod by_offset;
mod by_time;
mod shared;
mod slice;

use std::ops::Range;
use std::sync::Arc;

use millrace_types::{LeaderEpoch, Offset};

use crate::epoch_cache::EpochCache;

pub use by_time::ByTime;
pub(crate) use shared::{Segments, Shared};
pub use slice::{ReadError, Slice, WarmJob};

/// A log as its readers see it. Clones share it; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct LogView {
    shared: Arc<Shared>,
}

impl LogView {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    #[cfg(test)]
    pub(crate) fn segments(&self) -> Segments {
        self.shared.segments.load().as_ref().clone()
    }

    /// The first offset that can be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.start()
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.end()
    }

    /// The offset behind the last committed record.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.shared.high_watermark()
    }

    /// Publishes the high watermark; called by the replica's core alone.
    pub fn set_high_watermark(&self, to: Offset) {
        debug_assert!(to <= self.log_end(), "the high watermark {to} is above the log's end");
        self.shared.set_high_watermark(to);
    }

    /// The offset behind the last record that `read_committed` may see: below the first open transaction and not above
    /// the high watermark.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.shared.first_undecided().min(self.high_watermark())
    }

    /// Bytes of record batches, not what is preallocated.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.size()
    }

    /// The greatest epoch not above `epoch`, and the offset at which it ends (KIP-101, KIP-320); `(-1, -1)` when every
    /// epoch is above.
    #[must_use]
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.shared.epochs.read().end_offset(epoch, self.log_end())
    }

    /// The leader epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.shared.epochs.read().epoch_at(offset)
    }

    /// Offsets whose records are damaged and wait for their repair.
    #[must_use]
    pub fn damaged(&self) -> Vec<Range<Offset>> {
        self.shared.holes()
    }

    /// A copy of the leader epochs.
    #[must_use]
    pub fn epochs(&self) -> EpochCache {
        self.shared.epochs.read().clone()
    }
}

#[cfg(test)]
mod tests;
