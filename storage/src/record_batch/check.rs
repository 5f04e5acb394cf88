//! The check a produced batch must pass before it may enter a log, done where the connection runs.
//!
//! The rules are those of Apache Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and
//! `LogValidator`. Kafka walks the records of every batch. Here an uncompressed batch is walked (its bytes have just
//! passed through the cache for the checksum, so the walk is nearly free), a compressed one only where a rule needs
//! its records: another `compression.type`, required keys, or a lower bound for timestamps. Unfolding every compressed
//! batch would cost more than all other work on it together, and a batch whose checksum holds but whose records do
//! not unfold harms none but the producer that sealed it: every reader of one batch bounds and checks what it unfolds.
//! The upper bound for timestamps is checked on the header's max timestamp, which is what indexes and retention use.

use bytes::Bytes;
use millrace_types::{ErrorCode, Timestamp};
use thiserror::Error;

use super::crc::{crc32c, crc32c_combine};
use super::header::{BatchHeader, CRC_START, HEADER_LEN, HeaderError, LENGTH_END, RawHeader, TimestampType};
use super::record::{RecordError, unfold, walk};
use crate::compress::{Codec, CodecError, Levels};

/// What a topic and a request allow of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes a batch may have (`max.message.bytes`).
    pub max_message_bytes: usize,
    /// Whose clock the topic's timestamps are (`message.timestamp.type`).
    pub timestamp_type: TimestampType,
    /// Milliseconds a timestamp may lie in the past (`message.timestamp.before.max.ms`); `i64::MAX` for any.
    pub before_max_ms: i64,
    /// Milliseconds a timestamp may lie in the future (`message.timestamp.after.max.ms`); `i64::MAX` for any.
    pub after_max_ms: i64,
    /// The topic's `compression.type`; `None` stands for `producer`: stored as received.
    pub compression: Option<Codec>,
    /// Levels at which the broker compresses where `compression` asks for another codec than the producer's.
    pub levels: Levels,
    /// Whether every record needs a key (compacted topics).
    pub require_key: bool,
    /// Whether control batches and producer ids without a sequence are allowed: for the broker's own writes only.
    pub allow_control: bool,
    /// Whether the request's version allows Zstandard (Produce 7 and later, KIP-110).
    pub allow_zstd: bool,
}

impl Default for BatchLimits {
    /// Kafka's defaults for a topic, and the newest request version.
    fn default() -> Self {
        Self {
            max_message_bytes: 1024 * 1024 + LENGTH_END,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            compression: None,
            levels: Levels::default(),
            require_key: false,
            allow_control: false,
            allow_zstd: true,
        }
    }
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// There is no batch.
    #[error("the request holds no record batch")]
    Empty,
    /// The bytes do not begin with a batch of format v2.
    #[error("no record batch of format v2: {0}")]
    Header(#[from] HeaderError),
    /// The batch is longer than the bytes of the request.
    #[error("the batch has {size} bytes, the request {available}")]
    Truncated {
        /// Bytes the header speaks of.
        size: usize,
        /// Bytes there are.
        available: usize,
    },
    /// More than one batch for one partition.
    #[error("{bytes} bytes follow the batch: a request holds one batch for a partition")]
    SeveralBatches {
        /// Bytes behind the first batch.
        bytes: usize,
    },
    /// The batch is larger than the topic allows.
    #[error("the batch has {size} bytes, the topic allows {limit}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// The checksum does not hold.
    #[error("the checksum of the batch is {expected:#010x}, its bytes have {actual:#010x}")]
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes have.
        actual: u32,
    },
    /// A field of the header breaks a rule.
    #[error("{field} of the batch is {value}: {rule}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: i64,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A client sent a control batch.
    #[error("clients may not write control batches")]
    Control,
    /// The records do not fit the header, or cannot be read.
    #[error("{0}")]
    Records(#[from] RecordError),
    /// A record without a key where each needs one.
    #[error("record {at} has no key; the topic is compacted")]
    MissingKey {
        /// Its place in the batch, from 0.
        at: i32,
    },
    /// A timestamp outside the allowed range.
    #[error("timestamp {timestamp} is outside [{earliest}, {latest}]")]
    Timestamp {
        /// The timestamp.
        timestamp: Timestamp,
        /// Earliest one allowed.
        earliest: Timestamp,
        /// Latest one allowed.
        latest: Timestamp,
    },
    /// A client claims the leader's clock.
    #[error("a producer may not set the timestamp type LogAppendTime")]
    TimestampType,
    /// The request's version is older than the codec.
    #[error("Zstandard needs Produce version 7 or later")]
    CodecNotAllowed,
}

impl BatchError {
    /// The code a client is answered with.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Crc { .. } | Self::Header(HeaderError::Length { .. }) => ErrorCode::CorruptMessage,
            // Kafka tells a format that never was from an old one, and reads a batch that is cut as no batch.
            Self::Header(HeaderError::Magic { magic }) if *magic < 0 || *magic > 2 => ErrorCode::CorruptMessage,
            Self::TooLarge { .. } | Self::Records(RecordError::Codec(CodecError::TooLarge { .. })) => {
                ErrorCode::MessageTooLarge
            }
            Self::Timestamp { .. } | Self::TimestampType => ErrorCode::InvalidTimestamp,
            Self::CodecNotAllowed => ErrorCode::UnsupportedCompressionType,
            Self::Empty
            | Self::Truncated { .. }
            | Self::Header(_)
            | Self::SeveralBatches { .. }
            | Self::Field { .. }
            | Self::Control
            | Self::Records(_)
            | Self::MissingKey { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// The batch of one partition of a Produce request, checked and ready for [`crate::Log::append`].
#[derive(Debug, Clone)]
pub struct ValidBatches {
    header: BatchHeader,
    /// The records' bytes behind the header, as they will be stored.
    payload: Bytes,
    /// Checksum of `payload`, where the leader has to stamp its time under the checksum.
    payload_crc: Option<u32>,
}

impl ValidBatches {
    /// Checks the records of one partition at the time `now`.
    ///
    /// # Errors
    /// The first rule that is broken, see [`BatchError`].
    pub fn check(records: Bytes, limits: &BatchLimits, now: Timestamp) -> Result<Self, BatchError> {
        if records.is_empty() {
            return Err(BatchError::Empty);
        }
        let mut header = BatchHeader::parse(&records)?;
        check_extent(&header, &records, limits)?;
        check_fields(&header, limits)?;
        let codec = header.codec().ok_or(RecordError::UnknownCodec { number: (header.attributes & 7) as u8 })?;
        if codec == Codec::Zstd && !limits.allow_zstd {
            return Err(BatchError::CodecNotAllowed);
        }
        let target = limits.compression.filter(|_| !header.is_control()).unwrap_or(codec);
        let stamped = limits.timestamp_type == TimestampType::LogAppendTime;
        let mut payload = records.slice(HEADER_LEN..);
        let bounded_below = !stamped && limits.before_max_ms != i64::MAX;
        if codec == Codec::None || codec != target || limits.require_key || bounded_below {
            let body = unfold(&header, &records)?;
            let max_timestamp = check_records(&header, &body, limits, now)?;
            if target != codec {
                payload = Bytes::from(target.compress_at(&body, limits.levels).map_err(RecordError::from)?);
            }
            if target != codec || (!stamped && max_timestamp != header.max_timestamp) {
                header = reseal(header, target, max_timestamp, &payload, limits)?;
            }
        } else if !stamped {
            check_timestamp(header.max_timestamp, limits, now)?;
        }
        let payload_crc = stamped.then(|| crc32c(&payload));
        Ok(Self { header, payload, payload_crc })
    }

    /// The header, with the producer's base offset and leader epoch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes the batch takes in the log.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Number of records.
    #[must_use]
    pub const fn records(&self) -> i32 {
        self.header.records
    }

    /// The bytes behind the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether the leader stamps its time into the batch.
    pub(crate) const fn is_stamped(&self) -> bool {
        self.payload_crc.is_some()
    }

    /// Stamps the leader's time where the topic wants it; the payload's checksum is at hand, so that only the header's
    /// 40 bytes are summed again.
    pub(crate) fn stamp(&mut self, now: Timestamp) {
        if let Some(payload_crc) = self.payload_crc {
            self.header.set_log_append_time(now);
            self.header.crc = seal(&self.header.to_bytes(), payload_crc, self.payload.len());
        }
    }
}

/// The checksum of a batch from its header and its payload's checksum.
fn seal(header: &RawHeader, payload_crc: u32, payload_len: usize) -> u32 {
    crc32c_combine(crc32c(&header[CRC_START..]), payload_crc, payload_len)
}

/// Length, size, number of batches and checksum.
fn check_extent(header: &BatchHeader, records: &Bytes, limits: &BatchLimits) -> Result<(), BatchError> {
    let (size, available) = (header.size(), records.len());
    if size > available {
        return Err(BatchError::Truncated { size, available });
    }
    if size > limits.max_message_bytes {
        return Err(BatchError::TooLarge { size, limit: limits.max_message_bytes });
    }
    if size < available {
        return Err(BatchError::SeveralBatches { bytes: available - size });
    }
    let actual = crc32c(records.get(CRC_START..).unwrap_or_default());
    if actual != header.crc {
        return Err(BatchError::Crc { expected: header.crc, actual });
    }
    Ok(())
}

/// The rules on header fields alone.
fn check_fields(header: &BatchHeader, limits: &BatchLimits) -> Result<(), BatchError> {
    let field = |field, value: i64, rule| Err(BatchError::Field { field, value, rule });
    if header.records <= 0 {
        return field("record count", i64::from(header.records), "it must be 1 or more");
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.records) {
        return field("last offset delta", i64::from(header.last_offset_delta), "it must be the record count less 1");
    }
    if header.base_offset != 0 {
        return field("base offset", header.base_offset, "a producer must leave it 0");
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    if limits.allow_control {
        return Ok(());
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_producer() && header.base_sequence < 0 {
        return field("base sequence", i64::from(header.base_sequence), "a producer id needs a sequence of 0 or more");
    }
    if header.has_producer() && header.producer_epoch < 0 {
        return field("producer epoch", i64::from(header.producer_epoch), "a producer id needs an epoch of 0 or more");
    }
    if header.is_transactional() && !header.has_producer() {
        return field("producer id", header.producer_id, "a transaction needs a producer id");
    }
    Ok(())
}

/// Walks the records and returns the greatest timestamp.
fn check_records(
    header: &BatchHeader,
    body: &[u8],
    limits: &BatchLimits,
    now: Timestamp,
) -> Result<Timestamp, BatchError> {
    let stamped = limits.timestamp_type == TimestampType::LogAppendTime;
    let walked = walk::<BatchError>(header, body, |at, frame, timestamp| {
        if limits.require_key && frame.key.is_none() {
            return Err(BatchError::MissingKey { at });
        }
        if stamped { Ok(()) } else { check_timestamp(timestamp, limits, now) }
    })?;
    Ok(walked.max_timestamp)
}

fn check_timestamp(timestamp: Timestamp, limits: &BatchLimits, now: Timestamp) -> Result<(), BatchError> {
    let earliest = now.saturating_sub(limits.before_max_ms);
    let latest = now.saturating_add(limits.after_max_ms);
    if timestamp == -1 || (earliest..=latest).contains(&timestamp) {
        Ok(())
    } else {
        Err(BatchError::Timestamp { timestamp, earliest, latest })
    }
}

/// The header of a batch whose codec or max timestamp the broker had to change.
fn reseal(
    mut header: BatchHeader,
    codec: Codec,
    max_timestamp: Timestamp,
    payload: &[u8],
    limits: &BatchLimits,
) -> Result<BatchHeader, BatchError> {
    let size = HEADER_LEN + payload.len();
    let too_large = BatchError::TooLarge { size, limit: limits.max_message_bytes };
    if size > limits.max_message_bytes {
        return Err(too_large);
    }
    header.length = i32::try_from(size - LENGTH_END).map_err(|_| too_large)?;
    header.set_codec(codec);
    header.max_timestamp = max_timestamp;
    header.crc = seal(&header.to_bytes(), crc32c(payload), payload.len());
    Ok(header)
}

#[cfg(test)]
mod tests;
