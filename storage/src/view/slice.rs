//! What a read of a log answers with.

use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{ErrorCode, Offset};
use thiserror::Error;

use super::LogView;
use super::by_time::Wanted;
use crate::disk::DiskError;
use crate::recovery::Rot;
use crate::segment::{Pages, ReadRange, Segment};

/// Whole record batches of one segment.
#[derive(Debug, Default)]
pub struct Slice {
    /// The batches, without a copy.
    pub bytes: Bytes,
    /// Base offset of the first batch; it may lie below the offset asked for.
    pub first: Offset,
    /// The offset behind the last batch.
    pub next: Offset,
    /// Set when the range is not in memory: `bytes` is empty then; run the job on a storage thread and read again.
    pub cold: Option<WarmJob>,
}

/// Work that brings what a read or a search needs into memory; it may block on the device.
#[derive(Debug)]
pub struct WarmJob(Warm);

#[derive(Debug)]
enum Warm {
    Batches { segment: Arc<Segment>, range: ReadRange },
    Search { view: LogView, wanted: Wanted, upto: Offset },
}

impl WarmJob {
    pub(crate) const fn new(segment: Arc<Segment>, range: ReadRange) -> Self {
        Self(Warm::Batches { segment, range })
    }

    pub(super) const fn search(view: LogView, wanted: Wanted, upto: Offset) -> Self {
        Self(Warm::Search { view, wanted, upto })
    }

    /// Reads everything in. A failure is returned by the read, or search, that follows.
    pub fn run(self) {
        match self.0 {
            Warm::Batches { segment, range } => segment.warm(range),
            // The segment that failed has noted why; what was found is found again by the search that follows.
            Warm::Search { view, wanted, upto } => drop(view.search(wanted, upto, Pages::ReadIn)),
        }
    }
}

/// Why a read failed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is below the log start offset or above the log end offset.
    #[error("the offset is outside [{start}, {end}]")]
    OutOfRange {
        /// The log start offset.
        start: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] DiskError),
    /// The offset is among damaged records that wait to be fetched again from another replica.
    #[error("offsets {from} to {} are damaged and wait for their repair", to.saturating_sub(1))]
    Hole {
        /// First damaged offset.
        from: Offset,
        /// The offset behind the last one.
        to: Offset,
    },
    /// The offset lies at or above damage that recovery found.
    #[error("{0}")]
    Damaged(Box<Rot>),
}

impl ReadError {
    /// The code a client is answered with.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(_) | Self::Hole { .. } | Self::Damaged(_) => ErrorCode::KafkaStorageError,
        }
    }
}
