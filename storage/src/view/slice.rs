//! What a read of a log answers with.

use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{ErrorCode, Offset};
use thiserror::Error;

use crate::disk::DiskError;
use crate::recovery::Rot;
use crate::segment::{ReadRange, Segment};

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

/// Work that brings a cold range into memory; it may block on the device.
#[derive(Debug)]
pub struct WarmJob {
    segment: Arc<Segment>,
    range: ReadRange,
}

impl WarmJob {
    pub(crate) const fn new(segment: Arc<Segment>, range: ReadRange) -> Self {
        Self { segment, range }
    }

    /// Reads the range in. A failure is returned by the read that follows.
    pub fn run(self) {
        self.segment.warm(self.range);
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
            Self::Storage(_) | Self::Damaged(_) => ErrorCode::KafkaStorageError,
        }
    }
}
