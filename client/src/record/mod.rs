//! Record batches of format 2 (KIP-98): encoded for produce requests, decoded from fetch answers.
//!
//! Nothing here trusts a length: every read is checked against the bytes that are there, and decompression stops at
//! a limit that the caller gives.

mod codec;
mod decode;
mod encode;
mod header;
mod snappy;
mod varint;

pub use codec::Codec;
pub use decode::{Batch, Batches, Record, RecordHeader, Records};
pub use encode::{BatchBuilder, ProducerStamp, RecordFields, SealedBatch};
pub use header::{BatchHeader, HEADER_BYTES};

/// Why bytes are no valid record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The batch ends before its header or one of its records does.
    #[error("truncated: {0}")]
    Truncated(&'static str),
    /// The magic byte names a format this client does not read.
    #[error("message format {0} is not supported, only format 2")]
    Magic(i8),
    /// The checksum does not fit.
    #[error("checksum {computed:08x} instead of {stored:08x}")]
    Checksum {
        /// The checksum the header holds.
        stored: u32,
        /// That of the bytes.
        computed: u32,
    },
    /// A length or count cannot be right.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The codec's number is unknown.
    #[error("unknown codec {0}")]
    Codec(i16),
    /// The codec cannot read the compressed bytes.
    #[error("{codec:?}: {reason}")]
    Compression {
        /// The codec.
        codec: Codec,
        /// Its own words.
        reason: String,
    },
    /// The decompressed records are larger than allowed.
    #[error("more than {limit} bytes after decompression")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}
