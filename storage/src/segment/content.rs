//! What a segment holds: its extent, its greatest timestamp, its epochs and its index.

use millrace_types::{LeaderEpoch, Offset, Timestamp};

use crate::index::{Entry, Index, NO_MAX, Summary};
use crate::record_batch::BatchHeader;

/// Grows with each batch; the index of a sealed segment may be left out of memory.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    summary: Summary,
    index: Option<Index>,
    interval: u32,
    /// The first batch's max timestamp, which a roll by age counts from.
    first_timestamp: Option<Timestamp>,
}

impl Content {
    /// An empty segment with base offset `base`.
    pub(crate) fn new(base: Offset, interval: u32) -> Self {
        let summary = Summary { base, next: base, used: 0, max_timestamp: NO_MAX, epochs: Vec::new() };
        Self { summary, index: Some(Index::default()), interval, first_timestamp: None }
    }

    /// A sealed segment of which only the summary is in memory.
    pub(crate) const fn sealed(summary: Summary, interval: u32) -> Self {
        Self { summary, index: None, interval, first_timestamp: None }
    }

    /// Notes the batch that follows: it lies at position `used` and its base offset is `next`.
    pub(crate) fn add(&mut self, header: &BatchHeader) {
        let (relative, position) = (header.base_offset - self.summary.base, self.summary.used);
        if let (Some(index), Ok(relative), Ok(position)) =
            (&mut self.index, u32::try_from(relative), u32::try_from(position))
        {
            index.note(Entry { relative, position, max_before: self.summary.max_timestamp }, self.interval);
        }
        if self.summary.epochs.last().is_none_or(|last| last.0 < header.leader_epoch) {
            self.summary.epochs.push((header.leader_epoch, header.base_offset));
        }
        self.first_timestamp.get_or_insert(header.max_timestamp);
        self.summary.max_timestamp = self.summary.max_timestamp.max(header.max_timestamp);
        self.summary.used += header.size() as u64;
        self.summary.next = header.last_offset() + 1;
    }

    /// Entries of the index once the batch that follows is noted.
    pub(crate) fn entries_after_next(&self) -> u64 {
        let position = u32::try_from(self.summary.used).unwrap_or(u32::MAX);
        self.index
            .as_ref()
            .map_or(0, |index| (index.entries().len() + usize::from(index.notes(position, self.interval))) as u64)
    }

    pub(crate) const fn base(&self) -> Offset {
        self.summary.base
    }

    pub(crate) const fn next(&self) -> Offset {
        self.summary.next
    }

    pub(crate) const fn used(&self) -> u64 {
        self.summary.used
    }

    pub(crate) const fn max_timestamp(&self) -> Timestamp {
        self.summary.max_timestamp
    }

    pub(crate) const fn first_timestamp(&self) -> Option<Timestamp> {
        self.first_timestamp
    }

    pub(crate) const fn interval(&self) -> u32 {
        self.interval
    }

    pub(crate) fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        &self.summary.epochs
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary.clone()
    }

    pub(crate) const fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    pub(crate) fn take_index(&mut self) -> Index {
        self.index.take().unwrap_or_default()
    }

    pub(crate) fn set_index(&mut self, index: Index) {
        self.index = Some(index);
    }

    pub(crate) fn drop_index(&mut self) {
        self.index = None;
    }
}
