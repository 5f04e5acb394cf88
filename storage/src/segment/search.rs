//! The search of one segment by timestamp.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{LeaderEpoch, Offset, Timestamp};

use super::{Segment, Walk};
use crate::disk::DiskError;
use crate::index::NO_MAX;
use crate::record_batch::{BatchHeader, RecordIter, TimestampType};

/// A record found by its timestamp.
pub(crate) type Stamped = (Timestamp, Offset, LeaderEpoch);

/// What a search does about pages that are not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// It gives up in front of them, so that it never waits for the device.
    Resident,
    /// It reads them in; for a storage thread.
    ReadIn,
}

/// What a search of a segment came to.
#[derive(Debug)]
pub(crate) enum Searched<T> {
    /// The answer.
    Done(T),
    /// It needs pages that are not in memory.
    Cold,
}

impl Segment {
    /// The first record at or above offset `from` and below `upto` with a timestamp of `timestamp` or later.
    ///
    /// # Errors
    /// When the file cannot be opened, mapped or read in. The search on a storage thread keeps its failure for the one
    /// that follows on the pages that are in memory.
    pub(crate) fn find_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
        (from, upto): (Offset, Offset),
        pages: Pages,
    ) -> Result<Searched<Option<Stamped>>, DiskError> {
        let result = self.try_find(timestamp, (from, upto), pages);
        self.note_failure(pages, result)
    }

    /// The greatest timestamp of the batches below `upto`.
    ///
    /// # Errors
    /// As [`Segment::find_timestamp`].
    pub(crate) fn max_timestamp_below(
        self: &Arc<Self>,
        upto: Offset,
        pages: Pages,
    ) -> Result<Searched<Timestamp>, DiskError> {
        let result = self.try_max(upto, pages);
        self.note_failure(pages, result)
    }

    fn try_find(
        self: &Arc<Self>,
        timestamp: Timestamp,
        (from, upto): (Offset, Offset),
        pages: Pages,
    ) -> Result<Searched<Option<Stamped>>, DiskError> {
        if !self.has_index(pages)? {
            return Ok(Searched::Cold);
        }
        let mut at = {
            let content = self.content().read();
            content.index().map_or(0, |index| u64::from(index.before_timestamp(timestamp).position))
        };
        // From one entry of the index to the next; the first stretch holds the record unless headers lie.
        loop {
            let (end, used) = {
                let content = self.content().read();
                let next = content.index().and_then(|index| index.above_position(at));
                (next.map_or_else(|| content.used(), |entry| u64::from(entry.position)), content.used())
            };
            if at >= used {
                return Ok(Searched::Done(None));
            }
            let Some(bytes) = self.stretch(at..end, pages)? else { return Ok(Searched::Cold) };
            for walked in Walk::new(&bytes) {
                let header = &walked.header;
                if header.base_offset >= upto {
                    return Ok(Searched::Done(None));
                }
                if header.max_timestamp < timestamp || header.last_offset() < from || header.is_control() {
                    continue;
                }
                let found = first_record(&bytes.slice(walked.position..walked.end()), timestamp, from, upto);
                if let Some((timestamp, offset)) = found {
                    return Ok(Searched::Done(Some((timestamp, offset, header.leader_epoch))));
                }
            }
            at = end;
        }
    }

    fn try_max(self: &Arc<Self>, upto: Offset, pages: Pages) -> Result<Searched<Timestamp>, DiskError> {
        {
            let content = self.content().read();
            if upto >= content.next() {
                return Ok(Searched::Done(content.max_timestamp()));
            }
        }
        if !self.has_index(pages)? {
            return Ok(Searched::Cold);
        }
        let (entry, end) = {
            let content = self.content().read();
            let Some(index) = content.index() else { return Ok(Searched::Cold) };
            let above = index.above_offset(self.relative(upto));
            let end = above.map_or_else(|| content.used(), |entry| u64::from(entry.position));
            (index.floor_offset(self.relative(upto)), end)
        };
        if end <= u64::from(entry.position) {
            return Ok(Searched::Done(NO_MAX));
        }
        let Some(bytes) = self.stretch(u64::from(entry.position)..end, pages)? else { return Ok(Searched::Cold) };
        let below = Walk::new(&bytes).take_while(|walked| walked.header.last_offset() < upto);
        Ok(Searched::Done(below.fold(entry.max_before, |max, walked| max.max(walked.header.max_timestamp))))
    }

    /// Whether the index is in memory, after it was brought there if that is allowed.
    fn has_index(self: &Arc<Self>, pages: Pages) -> Result<bool, DiskError> {
        if pages == Pages::ReadIn {
            self.load_index()?;
        }
        let there = self.content().read().index().is_some();
        if !there {
            self.warm_failed()?;
        }
        Ok(there)
    }

    /// The bytes of whole batches in `range`; `None` when they are not in memory and are not to be read in.
    fn stretch(self: &Arc<Self>, range: Range<u64>, pages: Pages) -> Result<Option<Bytes>, DiskError> {
        let file = self.file()?;
        match pages {
            Pages::ReadIn => file.warm(range.clone())?,
            Pages::Resident if self.may_be_cold(range.start) && !file.is_resident(range.clone()) => {
                self.warm_failed()?;
                return Ok(None);
            }
            Pages::Resident => {}
        }
        file.read(range.start, usize::try_from(range.end - range.start).unwrap_or(usize::MAX)).map(Some)
    }

    fn note_failure<T>(&self, pages: Pages, result: Result<T, DiskError>) -> Result<T, DiskError> {
        if pages == Pages::ReadIn {
            self.warmed(result.as_ref().err().cloned());
        }
        result
    }
}

/// The first record of `batch` that fits. A batch of LogAppendTime has one timestamp for all its records. A batch whose
/// records cannot be unfolded answers with its own bounds: a reader that starts there sees everything that fits.
fn first_record(batch: &Bytes, timestamp: Timestamp, from: Offset, upto: Offset) -> Option<(Timestamp, Offset)> {
    let header = BatchHeader::parse(batch).ok()?;
    let whole_batch = (header.max_timestamp, header.base_offset.max(from));
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Some(whole_batch);
    }
    let Ok(records) = RecordIter::new(batch) else { return Some(whole_batch) };
    let mut records = records.map_while(Result::ok);
    let found = records.find(|record| record.timestamp >= timestamp && (from..upto).contains(&record.offset))?;
    Some((found.timestamp, found.offset))
}
