//! Kafka's record batch, format v2 (KIP-98): its 61-byte header, the check a produced batch must pass, and its records.

mod check;
mod crc;
mod header;
mod record;
mod varint;

pub use check::{BatchError, BatchLimits, ValidBatches};
pub use header::{BatchHeader, HeaderError, TimestampType};
pub use record::{Record, RecordError, RecordIter};

pub(crate) use record::Frame;

pub(crate) use crc::crc32c;
pub(crate) use header::HEADER_LEN;
pub(crate) use varint::put_varint;
