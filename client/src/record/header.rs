//! The 61 bytes at the start of a record batch.

use bytes::{Buf, BufMut};
use millrace_types::{LeaderEpoch, Offset, ProducerId, Timestamp};

use super::{Codec, RecordError};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;

/// Bytes before what the length field counts: base offset and the length itself.
pub(super) const LENGTH_END: usize = 12;

/// Position of the first byte that the checksum covers: what a broker may rewrite lies before it.
pub(super) const CHECKED_FROM: usize = 21;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The header of a record batch of format 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also when compaction removed it.
    pub base_offset: Offset,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Leader epoch under which the batch was appended, -1 from a producer.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything after this field.
    pub crc: u32,
    /// Codec, kind of timestamp, transactional and control flags.
    pub attributes: i16,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from, in milliseconds.
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the batch, in milliseconds.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes` and checks what can be checked without the records.
    ///
    /// # Errors
    /// Truncated, of another format, or with a length or count that cannot be right.
    pub fn read(mut bytes: &[u8]) -> Result<Self, RecordError> {
        // Formats 0 and 1 keep their magic at the same place, so it is read before anything is required of the rest.
        if let Some(&magic) = bytes.get(16)
            && magic != 2
        {
            return Err(RecordError::Magic(magic as i8));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(RecordError::Truncated("batch header"));
        }
        let (base_offset, batch_length, leader_epoch) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
        bytes.advance(1);
        let header = Self {
            base_offset,
            batch_length,
            leader_epoch,
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            count: bytes.get_i32(),
        };
        if header.batch_length < (HEADER_BYTES - LENGTH_END) as i32 {
            return Err(RecordError::Invalid("batch length"));
        }
        if header.count < 0 || header.last_offset_delta < 0 || header.base_offset < 0 {
            return Err(RecordError::Invalid("record count or offset"));
        }
        Ok(header)
    }

    /// Appends the header.
    pub(super) fn write(&self, out: &mut impl BufMut) {
        out.put_i64(self.base_offset);
        out.put_i32(self.batch_length);
        out.put_i32(self.leader_epoch);
        out.put_i8(2);
        out.put_u32(self.crc);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.count);
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0) + LENGTH_END
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// The number is none of the five codecs.
    pub fn codec(&self) -> Result<Codec, RecordError> {
        Codec::from_number(self.attributes & CODEC_MASK)
    }

    /// Whether all records carry the broker's time of the append, which is the batch's largest timestamp.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds transaction markers, which no application sees.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}
