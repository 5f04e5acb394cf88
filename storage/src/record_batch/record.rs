//! The records inside a batch: a bounded walk over their frames.

use std::borrow::Cow;

use bytes::Bytes;
use millrace_types::{Offset, Timestamp};
use thiserror::Error;

use super::header::{BatchHeader, HEADER_LEN, HeaderError, TimestampType};
use super::varint::{take_varint, take_varint32};
use crate::compress::{Codec, CodecError};

/// A record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp: the leader's where the batch has LogAppendTime.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Why the records of a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The batch's header is none.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The batch is longer than the bytes given.
    #[error("the batch has {size} bytes, only {available} are there")]
    Short {
        /// Bytes the header speaks of.
        size: usize,
        /// Bytes given.
        available: usize,
    },
    /// The attributes name a codec that does not exist.
    #[error("codec {number} does not exist")]
    UnknownCodec {
        /// The number in the attributes.
        number: u8,
    },
    /// The records cannot be decompressed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A record's frame is malformed.
    #[error("record {at} of the batch is malformed")]
    Malformed {
        /// Its place in the batch, from 0.
        at: i32,
    },
    /// Bytes follow the last record.
    #[error("{bytes} bytes follow the last record of the batch")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// The records of one batch in the order of their offsets, decompressed as a whole when the iterator is made.
#[derive(Debug, Clone)]
pub struct RecordIter {
    header: BatchHeader,
    body: Bytes,
    at: i32,
    failed: bool,
}

impl RecordIter {
    /// Bytes the records of one batch may unfold to; Kafka's clients write batches of one or a few megabytes.
    pub const MAX_UNFOLDED: usize = 64 << 20;

    /// Walks the batch at the front of `bytes`. The records share memory with `bytes` unless they were compressed.
    ///
    /// # Errors
    /// When there is no whole batch, or its records cannot be decompressed within [`Self::MAX_UNFOLDED`].
    pub fn new(bytes: &Bytes) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(bytes)?;
        let available = bytes.len();
        if available < header.size() {
            return Err(RecordError::Short { size: header.size(), available });
        }
        let body = bytes.slice(HEADER_LEN..header.size());
        let codec = codec_of(&header)?;
        let body = match codec {
            Codec::None => body,
            codec => Bytes::from(codec.decompress(&body, Self::MAX_UNFOLDED)?.into_owned()),
        };
        Ok(Self { header, body, at: 0, failed: false })
    }

    /// The header of the batch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.at >= self.header.records {
            return None;
        }
        let at = self.at;
        self.at += 1;
        let mut rest: &[u8] = &self.body;
        let Some(frame) = Frame::take(&mut rest) else {
            self.failed = true;
            return Some(Err(RecordError::Malformed { at }));
        };
        let record = Record {
            offset: self.header.base_offset.saturating_add(i64::from(frame.offset_delta)),
            timestamp: match self.header.timestamp_type() {
                TimestampType::CreateTime => self.header.base_timestamp.saturating_add(frame.timestamp_delta),
                TimestampType::LogAppendTime => self.header.max_timestamp,
            },
            key: frame.key.map(|key| self.body.slice_ref(key)),
            value: frame.value.map(|value| self.body.slice_ref(value)),
        };
        let consumed = self.body.len() - rest.len();
        self.body = self.body.slice(consumed..);
        Some(Ok(record))
    }
}

/// One record as it lies in the body of a batch.
pub(crate) struct Frame<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// Takes one record from the front of `body`; `None` when it is malformed.
    #[inline]
    pub(crate) fn take(body: &mut &'a [u8]) -> Option<Self> {
        let length = usize::try_from(take_varint32(body)?).ok()?;
        let (mut frame, rest) = body.split_at_checked(length)?;
        *body = rest;
        let frame = &mut frame;
        let (_attributes, after) = frame.split_first()?;
        *frame = after;
        let timestamp_delta = take_varint(frame)?;
        let offset_delta = take_varint32(frame)?;
        let key = take_field(frame)?;
        let value = take_field(frame)?;
        skip_headers(frame)?;
        frame.is_empty().then_some(Self { timestamp_delta, offset_delta, key, value })
    }
}

/// Takes a length-prefixed field; a length of -1 stands for null.
#[inline]
fn take_field<'a>(frame: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_varint32(frame)?;
    if length == -1 {
        return Some(None);
    }
    let (field, rest) = frame.split_at_checked(usize::try_from(length).ok()?)?;
    *frame = rest;
    Some(Some(field))
}

#[inline]
fn skip_headers(frame: &mut &[u8]) -> Option<()> {
    let count = take_varint32(frame)?;
    if count < 0 {
        return None;
    }
    for _ in 0..count {
        // Each header takes two bytes or more, so a huge count ends where the frame does.
        take_field(frame)??;
        take_field(frame)?;
    }
    Some(())
}

/// What a walk over the records of a batch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walked {
    /// The greatest timestamp, -1 without a record that has one.
    pub(super) max_timestamp: Timestamp,
}

/// Walks all records of an unfolded body and calls `each` with every one's place, frame and timestamp.
///
/// # Errors
/// When a frame is malformed, offsets do not count up from 0, bytes remain, or `each` refuses a record.
pub(super) fn walk<E: From<RecordError>>(
    header: &BatchHeader,
    body: &[u8],
    mut each: impl FnMut(i32, &Frame<'_>, Timestamp) -> Result<(), E>,
) -> Result<Walked, E> {
    let mut rest = body;
    let mut walked = Walked { max_timestamp: -1 };
    for at in 0..header.records {
        let frame = Frame::take(&mut rest).filter(|frame| frame.offset_delta == at);
        let frame = frame.ok_or(RecordError::Malformed { at })?;
        let timestamp = header.base_timestamp.saturating_add(frame.timestamp_delta);
        each(at, &frame, timestamp)?;
        walked.max_timestamp = walked.max_timestamp.max(timestamp);
    }
    if rest.is_empty() { Ok(walked) } else { Err(RecordError::Trailing { bytes: rest.len() }.into()) }
}

/// The unfolded body of `batch`.
pub(super) fn unfold<'a>(header: &BatchHeader, batch: &'a [u8]) -> Result<Cow<'a, [u8]>, RecordError> {
    let body = batch.get(HEADER_LEN..header.size()).unwrap_or_default();
    Ok(codec_of(header)?.decompress(body, RecordIter::MAX_UNFOLDED)?)
}

fn codec_of(header: &BatchHeader) -> Result<Codec, RecordError> {
    header.codec().ok_or(RecordError::UnknownCodec { number: (header.attributes & 7) as u8 })
}
