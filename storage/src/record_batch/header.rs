//! The 61-byte header of a record batch: parsing, and the fields a leader patches.

use millrace_types::{LeaderEpoch, NO_PRODUCER_ID, Offset, ProducerId, Timestamp};
use thiserror::Error;

use super::crc::crc32c;
use crate::compress::Codec;

/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 61;
/// Bytes in front of what the `length` field counts: base offset and the length itself.
pub(crate) const LENGTH_END: usize = 12;
/// First byte the checksum covers: the attributes.
pub(crate) const CRC_START: usize = 21;
/// The only format version that is stored.
const MAGIC: i8 = 2;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The header as it lies in a batch or on the stack of an append.
pub(crate) type RawHeader = [u8; HEADER_LEN];

/// Whose clock the timestamps of a batch are (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The leader's, at the append; it stands in the batch's max timestamp and holds for every record.
    LogAppendTime,
}

/// The fields of a record batch's header (KIP-98), in the order of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes that follow this field.
    pub length: i32,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// Format version; 2 in every parsed header.
    pub magic: i8,
    /// CRC-32C from the attributes to the batch's end.
    pub crc: u32,
    /// Bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
    pub attributes: i16,
    /// Offset of the last record, relative to the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon.
    pub base_timestamp: Timestamp,
    /// The greatest timestamp of the batch.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub records: i32,
}

/// Why bytes are no batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("{available} bytes are fewer than the {HEADER_LEN} of a batch header")]
    Short {
        /// The bytes there are.
        available: usize,
    },
    /// The length field is below that of a batch without records.
    #[error("batch length {length} is below {}", HEADER_LEN - LENGTH_END)]
    Length {
        /// The field's value.
        length: i32,
    },
    /// Another format version.
    #[error("batch format (magic) {magic} is not 2")]
    Magic {
        /// The field's value.
        magic: i8,
    },
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. Only what makes it a header is checked: its length, that the length
    /// field covers it, and the format version.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let raw: &RawHeader = bytes.first_chunk().ok_or(HeaderError::Short { available: bytes.len() })?;
        let header = Self {
            base_offset: i64::from_be_bytes(field(raw, 0)),
            length: i32::from_be_bytes(field(raw, 8)),
            leader_epoch: i32::from_be_bytes(field(raw, 12)),
            magic: i8::from_be_bytes(field(raw, 16)),
            crc: u32::from_be_bytes(field(raw, 17)),
            attributes: i16::from_be_bytes(field(raw, 21)),
            last_offset_delta: i32::from_be_bytes(field(raw, 23)),
            base_timestamp: i64::from_be_bytes(field(raw, 27)),
            max_timestamp: i64::from_be_bytes(field(raw, 35)),
            producer_id: i64::from_be_bytes(field(raw, 43)),
            producer_epoch: i16::from_be_bytes(field(raw, 51)),
            base_sequence: i32::from_be_bytes(field(raw, 53)),
            records: i32::from_be_bytes(field(raw, 57)),
        };
        if header.magic != MAGIC {
            return Err(HeaderError::Magic { magic: header.magic });
        }
        if usize::try_from(header.length).is_ok_and(|length| length >= HEADER_LEN - LENGTH_END) {
            Ok(header)
        } else {
            Err(HeaderError::Length { length: header.length })
        }
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut raw = [0; HEADER_LEN];
        set(&mut raw, 0, self.base_offset.to_be_bytes());
        set(&mut raw, 8, self.length.to_be_bytes());
        set(&mut raw, 12, self.leader_epoch.to_be_bytes());
        set(&mut raw, 16, self.magic.to_be_bytes());
        set(&mut raw, 17, self.crc.to_be_bytes());
        set(&mut raw, 21, self.attributes.to_be_bytes());
        set(&mut raw, 23, self.last_offset_delta.to_be_bytes());
        set(&mut raw, 27, self.base_timestamp.to_be_bytes());
        set(&mut raw, 35, self.max_timestamp.to_be_bytes());
        set(&mut raw, 43, self.producer_id.to_be_bytes());
        set(&mut raw, 51, self.producer_epoch.to_be_bytes());
        set(&mut raw, 53, self.base_sequence.to_be_bytes());
        set(&mut raw, 57, self.records.to_be_bytes());
        raw
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0) + LENGTH_END
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Sequence number of the last record, -1 without a producer. Sequences wrap from `i32::MAX` to 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.has_producer() { increment_sequence(self.base_sequence, self.last_offset_delta) } else { -1 }
    }

    /// The codec of the records; `None` when the attributes name one that does not exist.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_number((self.attributes & CODEC_MASK) as u8)
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub const fn has_producer(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which consumers do not see.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whose clock the timestamps are.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Marks the records' codec in the attributes.
    pub(crate) const fn set_codec(&mut self, codec: Codec) {
        self.attributes = (self.attributes & !CODEC_MASK) | codec as i16;
    }

    /// Stamps the leader's time; the checksum has to follow.
    pub(crate) const fn set_log_append_time(&mut self, now: Timestamp) {
        self.attributes |= LOG_APPEND_TIME;
        self.max_timestamp = now;
    }

    /// Whether `batch`, all bytes of this batch, has the checksum of the header.
    pub(crate) fn crc_holds(&self, batch: &[u8]) -> bool {
        batch.get(CRC_START..).is_some_and(|covered| crc32c(covered) == self.crc)
    }
}

/// The sequence number `delta` after `sequence`: after `i32::MAX` comes 0.
pub(crate) fn increment_sequence(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    i32::try_from(sum).unwrap_or_else(|_| i32::try_from(sum - (i64::from(i32::MAX) + 1)).unwrap_or(0))
}

/// The `N` bytes from `at`; every call names a constant range inside the header.
#[inline]
fn field<const N: usize>(raw: &RawHeader, at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&raw[at..at + N]);
    bytes
}

/// Overwrites the `N` bytes from `at`.
#[inline]
fn set<const N: usize>(raw: &mut RawHeader, at: usize, bytes: [u8; N]) {
    raw[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 0x0102_0304_0506_0708,
            length: 0x1112_1314,
            leader_epoch: 0x2122_2324,
            magic: 2,
            crc: 0x3132_3334,
            attributes: 0x0014,
            last_offset_delta: 9,
            base_timestamp: 5,
            max_timestamp: 6,
            producer_id: 7,
            producer_epoch: 8,
            base_sequence: i32::MAX - 3,
            records: 10,
        }
    }

    #[test]
    fn bytes_lie_where_kafka_puts_them() {
        let raw = header().to_bytes();
        assert_eq!(&raw[..17], &[1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 2]);
        assert_eq!(&raw[17..23], &[0x31, 0x32, 0x33, 0x34, 0, 0x14]);
        assert_eq!(BatchHeader::parse(&raw), Ok(header()));
    }

    #[test]
    fn attributes_and_derived_fields() {
        let header = header();
        assert_eq!(header.codec(), Some(Codec::Zstd));
        assert!(header.is_transactional() && !header.is_control());
        assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
        assert_eq!(header.last_sequence(), 5, "sequences wrap to 0 after i32::MAX");
        assert_eq!(header.size(), 0x1112_1314 + 12);
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(BatchHeader::parse(&[0; 60]), Err(HeaderError::Short { available: 60 }));
        assert_eq!(BatchHeader::parse(&[0; 61]), Err(HeaderError::Magic { magic: 0 }));
        let mut short = header();
        for length in [-1, 0, 48] {
            short.length = length;
            assert_eq!(BatchHeader::parse(&short.to_bytes()), Err(HeaderError::Length { length }));
        }
    }

    #[test]
    fn any_bytes_parse_or_are_refused() {
        bolero::check!().with_iterations(2000).for_each(|bytes: &[u8]| {
            if let Ok(header) = BatchHeader::parse(bytes) {
                assert_eq!(header.to_bytes(), bytes[..HEADER_LEN]);
                assert!(header.size() >= HEADER_LEN);
                let _ = (header.last_offset(), header.last_sequence(), header.codec(), header.crc_holds(bytes));
            }
        });
    }
}
