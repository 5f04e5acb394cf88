//! Offsets by timestamp (`ListOffsets`).

use millrace_types::{LeaderEpoch, Offset, Timestamp};

use super::slice::WarmJob;
use super::{LogView, ReadError};
use crate::disk::DiskError;
use crate::index::NO_MAX;
use crate::segment::{Pages, Searched, Stamped};

/// What a search by timestamp came to.
#[derive(Debug)]
pub enum ByTime {
    /// The record that was looked for: its own timestamp, its offset and its leader epoch.
    Found(Option<(Timestamp, Offset, LeaderEpoch)>),
    /// What it has to look at is not in memory: run the job on a storage thread and search again.
    Cold(WarmJob),
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// The first record with this timestamp or a later one.
    From(Timestamp),
    /// The first record with the greatest timestamp.
    Greatest,
}

impl LogView {
    /// The first record below `upto` with a timestamp of `timestamp` or later, with its own timestamp. At most one batch
    /// is unfolded unless headers lie.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn offset_for_timestamp(&self, timestamp: Timestamp, upto: Offset) -> Result<ByTime, ReadError> {
        self.by_time(Wanted::From(timestamp), upto)
    }

    /// The first record with the greatest timestamp below `upto`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn max_timestamp(&self, upto: Offset) -> Result<ByTime, ReadError> {
        self.by_time(Wanted::Greatest, upto)
    }

    fn by_time(&self, wanted: Wanted, upto: Offset) -> Result<ByTime, ReadError> {
        Ok(match self.search(wanted, upto, Pages::Resident)? {
            Searched::Done(found) => ByTime::Found(found),
            Searched::Cold => ByTime::Cold(WarmJob::search(self.clone(), wanted, upto)),
        })
    }

    /// The search itself.
    pub(super) fn search(
        &self,
        wanted: Wanted,
        upto: Offset,
        pages: Pages,
    ) -> Result<Searched<Option<Stamped>>, DiskError> {
        match wanted {
            Wanted::From(timestamp) => self.search_from(timestamp, upto, pages),
            Wanted::Greatest => match self.greatest(upto, pages)? {
                Searched::Done(NO_MAX) => Ok(Searched::Done(None)),
                Searched::Done(max) => self.search_from(max, upto, pages),
                Searched::Cold => Ok(Searched::Cold),
            },
        }
    }

    fn search_from(
        &self,
        timestamp: Timestamp,
        upto: Offset,
        pages: Pages,
    ) -> Result<Searched<Option<Stamped>>, DiskError> {
        let (start, upto) = (self.log_start(), upto.min(self.log_end()));
        for segment in self.shared.segments.load().iter() {
            let (next, max_timestamp) = {
                let content = segment.content().read();
                (content.next(), content.max_timestamp())
            };
            if segment.base() >= upto {
                break;
            }
            if next <= start || max_timestamp < timestamp {
                continue;
            }
            match segment.find_timestamp(timestamp, (start, upto), pages)? {
                Searched::Done(None) => {}
                found => return Ok(found),
            }
        }
        Ok(Searched::Done(None))
    }

    /// The greatest timestamp below `upto`, [`NO_MAX`] without one.
    fn greatest(&self, upto: Offset, pages: Pages) -> Result<Searched<Timestamp>, DiskError> {
        let (start, upto) = (self.log_start(), upto.min(self.log_end()));
        let mut max = NO_MAX;
        for segment in self.shared.segments.load().iter() {
            if segment.base() < upto && segment.next() > start {
                match segment.max_timestamp_below(upto, pages)? {
                    Searched::Done(timestamp) => max = max.max(timestamp),
                    Searched::Cold => return Ok(Searched::Cold),
                }
            }
        }
        Ok(Searched::Done(max))
    }
}
