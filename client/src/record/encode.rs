//! Building a record batch: records are appended uncompressed, sealing compresses, stamping writes the header.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_types::{NO_PRODUCER_ID, NO_SEQUENCE, ProducerId, Timestamp};

use super::header::{BatchHeader, CHECKED_FROM, HEADER_BYTES, LENGTH_END};
use super::{Codec, RecordError, varint};
use crate::model::Header;

/// What a record is made of, borrowed from its owner.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordFields<'a> {
    /// The key, or none.
    pub key: Option<&'a [u8]>,
    /// The value, or none.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header],
}

/// Who produced a batch; written into its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer id, or -1.
    pub id: ProducerId,
    /// Its epoch, or -1.
    pub epoch: i16,
    /// Sequence number of the first record, or -1.
    pub sequence: i32,
}

impl ProducerStamp {
    /// The stamp of a producer that is not idempotent.
    pub const NONE: Self = Self { id: NO_PRODUCER_ID, epoch: -1, sequence: NO_SEQUENCE };
}

/// A batch that still takes records.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Space for the header, then the records uncompressed.
    buffer: BytesMut,
    count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(capacity.max(HEADER_BYTES));
        buffer.put_bytes(0, HEADER_BYTES);
        Self { buffer, count: 0, base_timestamp: 0, max_timestamp: 0 }
    }

    /// Bytes of the batch without compression, header included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes that `record` takes at most in any batch, the batch's header not included.
    #[must_use]
    pub fn upper_bound(record: &RecordFields<'_>) -> usize {
        // Length and offset delta take up to 5 bytes each, the timestamp delta up to 10, the attributes one.
        21 + body_bytes(record)
    }

    /// Appends `record` with this timestamp, in milliseconds, and returns its position in the batch.
    pub fn append(&mut self, timestamp: Timestamp, record: &RecordFields<'_>) -> i32 {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let position = self.count;
        let delta = timestamp.wrapping_sub(self.base_timestamp);
        let length = 1 + varint::size(delta) + varint::size(i64::from(position)) + body_bytes(record);
        let out = &mut self.buffer;
        out.reserve(length + 5);
        varint::put(out, length as i64);
        out.put_u8(0);
        varint::put(out, delta);
        varint::put(out, i64::from(position));
        put_optional(out, record.key);
        put_optional(out, record.value);
        varint::put(out, record.headers.len() as i64);
        for header in record.headers {
            put_optional(out, Some(header.key.as_bytes()));
            put_optional(out, header.value.as_deref());
        }
        self.count += 1;
        position
    }

    /// Compresses the records; what is left to do is the header.
    ///
    /// # Errors
    /// The codec failed, or the batch is longer than 2 GiB.
    pub fn seal(self, codec: Codec) -> Result<SealedBatch, RecordError> {
        let bytes = if codec == Codec::None {
            self.buffer
        } else {
            let mut packed = BytesMut::with_capacity(self.buffer.len() / 2 + HEADER_BYTES);
            packed.put_bytes(0, HEADER_BYTES);
            codec.compress(self.buffer.get(HEADER_BYTES..).unwrap_or_default(), &mut packed)?;
            packed
        };
        let batch_length = i32::try_from(bytes.len() - LENGTH_END).map_err(|_| RecordError::Invalid("batch length"))?;
        let header = BatchHeader {
            base_offset: 0,
            batch_length,
            leader_epoch: -1,
            crc: 0,
            attributes: codec.number(),
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            count: self.count,
        };
        Ok(SealedBatch { header, bytes: bytes.freeze(), stamped: false })
    }
}

/// A batch whose records are final; its producer stamp may still change between tries.
#[derive(Debug)]
pub struct SealedBatch {
    header: BatchHeader,
    bytes: Bytes,
    stamped: bool,
}

impl SealedBatch {
    /// Bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as it goes to the broker. The bytes are made once per stamp and shared by all tries.
    pub fn stamp(&mut self, stamp: ProducerStamp) -> Bytes {
        let header = &mut self.header;
        let same = (header.producer_id, header.producer_epoch, header.base_sequence)
            == (stamp.id, stamp.epoch, stamp.sequence);
        if same && self.stamped {
            return self.bytes.clone();
        }
        (header.producer_id, header.producer_epoch, header.base_sequence) = (stamp.id, stamp.epoch, stamp.sequence);
        let mut bytes =
            std::mem::take(&mut self.bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        write_over(&mut bytes, header);
        header.crc = checksum(&bytes);
        write_over(&mut bytes, header);
        self.bytes = bytes.freeze();
        self.stamped = true;
        self.bytes.clone()
    }
}

/// CRC-32C of the part of a batch that it covers.
pub(super) fn checksum(batch: &[u8]) -> u32 {
    let covered = batch.get(CHECKED_FROM..).unwrap_or_default();
    // The checksum has 32 bits; the library returns every width in 64.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered) as u32
}

fn write_over(bytes: &mut BytesMut, header: &BatchHeader) {
    if let Some(mut start) = bytes.get_mut(..HEADER_BYTES) {
        header.write(&mut start);
    }
}

/// Bytes of key, value and headers with their lengths.
fn body_bytes(record: &RecordFields<'_>) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|header| optional_bytes(Some(header.key.as_bytes())) + optional_bytes(header.value.as_deref()))
        .sum();
    optional_bytes(record.key) + optional_bytes(record.value) + varint::size(record.headers.len() as i64) + headers
}

fn optional_bytes(value: Option<&[u8]>) -> usize {
    value.map_or(1, |value| varint::size(value.len() as i64) + value.len())
}

fn put_optional(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => varint::put(out, -1),
        Some(value) => {
            varint::put(out, value.len() as i64);
            out.put_slice(value);
        }
    }
}
