//! Reading fetched bytes: batches one by one, their records one by one, values as slices of the fetched buffer.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use millrace_types::{Offset, Timestamp};

use super::encode::checksum;
use super::header::{BatchHeader, HEADER_BYTES};
use super::{RecordError, varint};
use crate::model::Header;

/// A header of a consumed record.
pub type RecordHeader = Header;

/// The whole batches at the start of a fetched buffer; a last one that is cut off is left out, as brokers cut at a
/// byte count.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The batches in `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that were not read; without a whole batch before them the fetch size is too small for the batch.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = match BatchHeader::read(&self.rest) {
            Ok(header) => header,
            Err(RecordError::Truncated(_)) => return None,
            Err(error) => {
                self.rest.clear();
                return Some(Err(error));
            }
        };
        let total = header.total_bytes();
        if total > self.rest.len() {
            return None;
        }
        Some(Ok(Batch { header, bytes: self.rest.split_to(total) }))
    }
}

/// One whole batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its header.
    pub header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Compares the checksum.
    ///
    /// # Errors
    /// It does not fit.
    pub fn verify(&self) -> Result<(), RecordError> {
        let computed = checksum(&self.bytes);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(RecordError::Checksum { stored: self.header.crc, computed })
        }
    }

    /// The records, decompressed to at most `limit` bytes.
    ///
    /// # Errors
    /// The codec is unknown, cannot read the bytes or exceeds the limit.
    pub fn records(&self, limit: usize) -> Result<Records, RecordError> {
        let packed = self.bytes.slice(HEADER_BYTES.min(self.bytes.len())..);
        let bytes = self.header.codec()?.decompress(packed, limit)?;
        Ok(Records { header: self.header.clone(), bytes, left: self.header.count })
    }

    /// Kind of the marker when this is a control batch: true for commit, false for abort.
    ///
    /// # Errors
    /// The batch does not hold a well-formed marker.
    pub fn marker(&self) -> Result<Option<bool>, RecordError> {
        if !self.header.is_control() {
            return Ok(None);
        }
        let record = self.records(HEADER_BYTES * 16)?.next().ok_or(RecordError::Invalid("control batch"))??;
        let mut key = record.key.unwrap_or_default();
        if key.len() < 4 {
            return Err(RecordError::Truncated("control record key"));
        }
        key.advance(2);
        Ok(Some(key.get_i16() == 1))
    }
}

/// A record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp in milliseconds.
    pub timestamp: Timestamp,
    /// The key, or none.
    pub key: Option<Bytes>,
    /// The value, or none.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<RecordHeader>,
}

/// The records of one batch.
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    bytes: Bytes,
    left: i32,
}

impl Records {
    fn read(&mut self) -> Result<Record, RecordError> {
        let length =
            varint::get_length(&mut self.bytes, "record length")?.ok_or(RecordError::Invalid("record length"))?;
        let mut body = self.bytes.split_to(length);
        if !body.has_remaining() {
            return Err(RecordError::Truncated("record attributes"));
        }
        body.advance(1);
        let timestamp_delta = varint::get(&mut body)?;
        let offset_delta = varint::get(&mut body)?;
        if offset_delta < 0 || offset_delta > i64::from(self.header.last_offset_delta) {
            return Err(RecordError::Invalid("offset delta"));
        }
        let key = optional(&mut body, "key length")?;
        let value = optional(&mut body, "value length")?;
        let headers = headers(&mut body)?;
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.wrapping_add(timestamp_delta)
        };
        let offset = self.header.base_offset.saturating_add(offset_delta);
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

fn optional(body: &mut Bytes, what: &'static str) -> Result<Option<Bytes>, RecordError> {
    Ok(varint::get_length(body, what)?.map(|length| body.split_to(length)))
}

fn headers(body: &mut Bytes) -> Result<Vec<RecordHeader>, RecordError> {
    // Each header takes at least two bytes, so a count within the bytes left bounds the memory.
    let count = varint::get_length(body, "header count")?.ok_or(RecordError::Invalid("header count"))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut headers = Vec::with_capacity(count.min(body.remaining() / 2));
    for _ in 0..count {
        let key = optional(body, "header key")?.ok_or(RecordError::Invalid("header key"))?;
        let key = std::str::from_utf8(&key).map_err(|_| RecordError::Invalid("header key"))?;
        headers.push(Header { key: Arc::from(key), value: optional(body, "header value")? });
    }
    Ok(headers)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
