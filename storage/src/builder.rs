//! Record batches made by the broker itself: the coordinators' records, and those of tests.

use bytes::Bytes;
use millrace_types::{NO_PRODUCER_ID, NO_SEQUENCE, ProducerId, Timestamp};

use crate::compress::Codec;
use crate::record_batch::{BatchHeader, HEADER_LEN, RecordError, crc32c, put_varint};

/// First byte that the checksum covers.
const CRC_START: usize = 21;
/// Bytes the batch's length field does not count.
const LENGTH_END: usize = 12;

/// Collects records into one batch of format v2. All records carry one timestamp unless pushed with their own.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose records carry `timestamp`.
    #[must_use]
    pub const fn new(timestamp: Timestamp, codec: Codec) -> Self {
        let mut header = BatchHeader {
            base_offset: 0,
            length: 0,
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            records: 0,
        };
        header.set_codec(codec);
        Self { header, codec, body: Vec::new() }
    }

    /// Marks the batch as that of an idempotent producer.
    #[must_use]
    pub const fn producer(mut self, id: ProducerId, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Appends a record with the batch's timestamp and no headers.
    #[must_use]
    pub fn push(self, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let timestamp = self.header.base_timestamp;
        self.push_at(timestamp, key, value)
    }

    /// Appends a record with its own timestamp and no headers.
    #[must_use]
    pub fn push_at(mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let mut record = vec![0];
        put_varint(&mut record, timestamp.saturating_sub(self.header.base_timestamp));
        put_varint(&mut record, i64::from(self.header.records));
        for field in [key, value] {
            put_varint(&mut record, field.map_or(-1, length));
            record.extend_from_slice(field.unwrap_or_default());
        }
        put_varint(&mut record, 0);
        put_varint(&mut self.body, length(&record));
        self.body.extend_from_slice(&record);
        let first = self.header.records == 0;
        self.header.records += 1;
        self.header.last_offset_delta += 1;
        self.header.max_timestamp = if first { timestamp } else { self.header.max_timestamp.max(timestamp) };
        self
    }

    /// Bytes the batch has so far, before compression.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Number of records so far.
    #[must_use]
    pub const fn records(&self) -> i32 {
        self.header.records
    }

    /// The batch's bytes, base offset 0 and leader epoch unknown.
    ///
    /// # Errors
    /// When compressing fails.
    pub fn build(mut self) -> Result<Bytes, RecordError> {
        let body = self.codec.compress(&self.body)?;
        self.header.length = i32::try_from(HEADER_LEN + body.len() - LENGTH_END).unwrap_or(i32::MAX);
        let mut batch = Vec::with_capacity(HEADER_LEN + body.len());
        batch.extend_from_slice(&self.header.to_bytes());
        batch.extend_from_slice(&body);
        self.header.crc = crc32c(batch.get(CRC_START..).unwrap_or_default());
        batch.splice(..HEADER_LEN, self.header.to_bytes());
        Ok(Bytes::from(batch))
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::{RecordIter, TimestampType};

    #[test]
    fn what_is_pushed_is_read_back() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let batch = BatchBuilder::new(1000, codec)
                .push(Some(b"k"), Some(b"v"))
                .push_at(990, None, Some(&[7; 300]))
                .push_at(1010, Some(b""), None)
                .build()
                .expect("builds");
            let iter = RecordIter::new(&batch).expect("a whole batch");
            assert_eq!(iter.header().max_timestamp, 1010);
            assert_eq!(iter.header().timestamp_type(), TimestampType::CreateTime);
            let records: Vec<_> = iter.map(|record| record.expect("well formed")).collect();
            let seen: Vec<_> =
                records.iter().map(|r| (r.offset, r.timestamp, r.key.clone(), r.value.clone())).collect();
            let bytes = |text: &[u8]| Some(Bytes::copy_from_slice(text));
            assert_eq!(
                seen,
                [(0, 1000, bytes(b"k"), bytes(b"v")), (1, 990, None, bytes(&[7; 300])), (2, 1010, bytes(b""), None),]
            );
        }
    }
}
