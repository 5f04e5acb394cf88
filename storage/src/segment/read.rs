//! Reads of one segment: whole batches between offsets.

use std::sync::Arc;

use bytes::Bytes;
use millrace_types::Offset;

use super::{Segment, Walk};
use crate::disk::DiskError;

/// Bytes behind the end of an active segment that are taken for resident: what was just written is in memory.
const WARM_TAIL: u64 = 16 << 20;

/// What to read of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// An offset in the first batch.
    pub(crate) from: Offset,
    /// The offset the last batch ends at or below.
    pub(crate) upto: Offset,
    /// Bytes to return at most.
    pub(crate) max_bytes: usize,
    /// Whether one batch is returned even if it is larger.
    pub(crate) at_least_one: bool,
}

/// What a read of a segment found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Whole batches with the base offset of the first one and the offset behind the last one.
    Batches { bytes: Bytes, first: Offset, next: Offset },
    /// The range is not in memory.
    Cold,
}

impl Segment {
    /// Reads whole batches; `range.from` lies in this segment and below `range.upto`.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub(crate) fn read(self: &Arc<Self>, range: Range) -> Result<Found, DiskError> {
        let Some((start, end)) = self.window(range) else { return self.warm_failed().map(|()| Found::Cold) };
        let file = self.file()?;
        let end = within(start, end, file.len());
        let touched = start.saturating_add(range.max_bytes as u64).min(end);
        if self.may_be_cold(start) && !file.is_resident(start..touched) {
            return self.warm_failed().map(|()| Found::Cold);
        }
        let bytes = file.read(start, usize::try_from(end - start).unwrap_or(usize::MAX))?;
        let empty = Found::Batches { bytes: Bytes::new(), first: range.from, next: range.from };
        let Some(first) = Walk::new(&bytes).find(|walked| walked.header.last_offset() >= range.from) else {
            return Ok(empty);
        };
        let (end, next) = self.extend(&bytes, start, (first.position, first.header.base_offset), range);
        if end == first.position {
            return Ok(empty);
        }
        Ok(Found::Batches { bytes: bytes.slice(first.position..end), first: first.header.base_offset, next })
    }

    /// Whether it takes a look to know that what lies at `position` is in memory.
    pub(crate) fn may_be_cold(&self, position: u64) -> bool {
        self.is_sealed() || self.used().saturating_sub(position) > WARM_TAIL
    }

    /// The failure of the last attempt to bring something into memory, which the read of what is not there reports.
    pub(super) fn warm_failed(&self) -> Result<(), DiskError> {
        self.warm_failure.lock().take().map_or(Ok(()), Err)
    }

    /// Brings what [`Segment::read`] of the range would touch into memory; for a storage thread. A failure is reported
    /// by the next read that is cold.
    pub(crate) fn warm(self: &Arc<Self>, range: Range) {
        self.warmed(self.try_warm(range).err());
    }

    /// Notes what came of an attempt to bring something into memory.
    pub(super) fn warmed(&self, failure: Option<DiskError>) {
        if let Some(error) = &failure {
            tracing::warn!(%error, "a cold range could not be read in");
        }
        *self.warm_failure.lock() = failure;
    }

    fn try_warm(self: &Arc<Self>, range: Range) -> Result<(), DiskError> {
        self.load_index()?;
        let Some((start, end)) = self.window(range) else { return Ok(()) };
        let file = self.file()?;
        let touched = start.saturating_add(range.max_bytes as u64).min(within(start, end, file.len()));
        file.warm(start..touched)
    }

    /// The positions between which the batches of `range` lie; `None` while the index is not in memory.
    fn window(&self, range: Range) -> Option<(u64, u64)> {
        let content = self.content().read();
        let index = content.index()?;
        let start = u64::from(index.floor_offset(self.relative(range.from)).position);
        let end = if range.upto >= content.next() {
            content.used()
        } else {
            index
                .above_offset(self.relative(range.upto))
                .map_or_else(|| content.used(), |entry| u64::from(entry.position))
        };
        Some((start, end.max(start)))
    }

    /// From the batch at `first`, the end of as many batches as `range` allows, and the offset behind them. The index
    /// leaps over most of them, so that a large read touches few pages here.
    fn extend(&self, bytes: &[u8], start: u64, first: (usize, Offset), range: Range) -> (usize, Offset) {
        let (position, offset) = first;
        let room = position.saturating_add(range.max_bytes);
        let (mut end, mut next) = self.leap(start, room, range.upto).filter(|leap| leap.0 > position).unwrap_or(first);
        if end > bytes.len() {
            (end, next) = (position, offset);
        }
        for walked in Walk::from(bytes, end) {
            // What lies behind the bound may be damaged, and its header not to be believed.
            if next >= range.upto {
                break;
            }
            let fits = walked.end() <= room || (range.at_least_one && end == position);
            if !fits || walked.header.last_offset() >= range.upto {
                break;
            }
            (end, next) = (walked.end(), walked.header.last_offset() + 1);
        }
        (end, next)
    }

    /// The last indexed batch that begins at or below both bounds: its position relative to `start`, and its offset.
    fn leap(&self, start: u64, room: usize, upto: Offset) -> Option<(usize, Offset)> {
        let content = self.content().read();
        let index = content.index()?;
        let by_position = index.floor_position(start.saturating_add(room as u64));
        let by_offset = index.floor_offset(self.relative(upto));
        let entry = if by_position.position <= by_offset.position { by_position } else { by_offset };
        let position = u64::from(entry.position).checked_sub(start)?;
        Some((usize::try_from(position).ok()?, self.base() + i64::from(entry.relative)))
    }

    /// Everything that the segment holds, as far as the file still goes.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped, but for one that is gone.
    pub(crate) fn held(self: &Arc<Self>) -> Result<Bytes, DiskError> {
        match self.file() {
            Ok(file) => file.read(0, usize::try_from(self.used().min(file.len())).unwrap_or(usize::MAX)),
            Err(error) if error.is_not_found() => Ok(Bytes::new()),
            Err(error) => Err(error),
        }
    }

    /// A position at or in front of the batch that holds `offset`; the start while the index is not in memory.
    pub(crate) fn position_of(&self, offset: Offset) -> u64 {
        let content = self.content().read();
        content.index().map_or(0, |index| u64::from(index.floor_offset(self.relative(offset)).position))
    }

    pub(super) fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset.saturating_sub(self.base()).max(0)).unwrap_or(u32::MAX)
    }
}

/// The end of a read from `start` in a file that has lost its end: what it still holds can be read.
fn within(start: u64, end: u64, len: u64) -> u64 {
    if start < len { end.min(len) } else { end }
}
