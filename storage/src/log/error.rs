//! Why an append or another operation on a log was refused.

use millrace_types::{ErrorCode, LeaderEpoch, Offset, ProducerId};
use thiserror::Error;

use crate::disk::DiskError;
use crate::record_batch::BatchError;
use crate::recovery::Rot;

/// Why an append was refused; nothing of it is in the log.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch breaks a rule of the format.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The producer's sequence leaves a gap.
    #[error("producer {producer_id} sent sequence {sequence} in epoch {epoch}, expected {expected}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: i16,
        /// The batch's first sequence.
        sequence: i32,
        /// The sequence that was due.
        expected: i32,
    },
    /// The log remembers nothing of the producer.
    #[error("nothing is known of producer {0}")]
    UnknownProducerId(ProducerId),
    /// The producer was fenced by a later epoch.
    #[error("producer {producer_id} has epoch {epoch}, the log has seen {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: i16,
        /// The latest epoch.
        current: i16,
    },
    /// The batch was seen before, longer ago than the log remembers offsets.
    #[error("producer {producer_id} repeats sequence {sequence}, which is too old to tell its offset")]
    DuplicateSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence.
        sequence: i32,
    },
    /// A write outside the producer's open transaction.
    #[error("producer {0} has a transaction open and sent a batch outside it")]
    InvalidTransactionState(ProducerId),
    /// The batch is larger than a segment.
    #[error("the batch has {size} bytes, a segment {limit}")]
    RecordListTooLarge {
        /// Bytes of the batch.
        size: u64,
        /// Bytes of a segment.
        limit: u64,
    },
    /// The epoch of the append is older than the log's latest.
    #[error("leader epoch {epoch} is older than the log's {current}")]
    FencedEpoch {
        /// The epoch of the append.
        epoch: LeaderEpoch,
        /// The log's latest.
        current: LeaderEpoch,
    },
    /// Replicated batches do not continue the log.
    #[error("the batch begins at offset {offset}, the log ends at {log_end}")]
    NotContiguous {
        /// The batch's base offset.
        offset: Offset,
        /// The log end offset.
        log_end: Offset,
    },
    /// The disk is full; the log is unchanged and takes appends again once there is space.
    #[error("no space: {0}")]
    Full(DiskError),
    /// The write failed; the log takes no more of them.
    #[error("{0}")]
    Storage(DiskError),
    /// An earlier write or flush failed; the log takes no more writes until the process restarts.
    #[error("an earlier write or flush failed: {0}")]
    Poisoned(DiskError),
    /// Recovery found bad bytes where flushed records were.
    #[error("{0}")]
    Damaged(Box<Rot>),
}

impl AppendError {
    /// The code a client is answered with.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Batch(error) => error.error_code(),
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::UnknownProducerId(_) => ErrorCode::UnknownProducerId,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
            Self::InvalidTransactionState(_) => ErrorCode::InvalidTxnState,
            Self::RecordListTooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::FencedEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            Self::NotContiguous { .. } => ErrorCode::UnknownServerError,
            Self::Full(_) | Self::Storage(_) | Self::Poisoned(_) | Self::Damaged(_) => ErrorCode::KafkaStorageError,
        }
    }

    /// A disk's failure: a full disk is no failed write.
    pub(crate) fn disk(error: DiskError) -> Self {
        if error.is_full() { Self::Full(error) } else { Self::Storage(error) }
    }
}

/// Why another operation on a log failed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An offset outside what the operation allows.
    #[error("offset {offset} is outside [{start}, {end}]")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// Lowest one allowed.
        start: Offset,
        /// Highest one allowed.
        end: Offset,
    },
    /// A file name or directory entry that is not this log's.
    #[error("{0}")]
    Layout(String),
    /// Recovery found bad bytes where flushed records were.
    #[error("{0}")]
    Damaged(Box<Rot>),
}

impl LogError {
    /// The code a client is answered with.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Disk(_) | Self::Layout(_) | Self::Damaged(_) => ErrorCode::KafkaStorageError,
        }
    }
}
