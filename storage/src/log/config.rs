//! The settings of one log, as the topic's and the broker's keys give them.

use crate::record_batch::TimestampType;
use crate::segment::OpenSegments;
use crate::upkeep::Upkeep;

/// Settings of a log. Sizes are in bytes, times in milliseconds.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Bytes after which a segment is rolled (`segment.bytes`).
    pub segment_bytes: u64,
    /// Bytes of the offset index, 8 for each entry, after which a segment is rolled (`segment.index.bytes`).
    pub segment_index_bytes: u64,
    /// Age after which a segment is rolled (`segment.ms`).
    pub segment_ms: i64,
    /// By how much at most a roll by age comes early (`segment.jitter.ms`), so that logs do not roll all at once.
    pub segment_jitter_ms: i64,
    /// Age after which a segment is deleted (`retention.ms`); negative for never.
    pub retention_ms: i64,
    /// Bytes above which the oldest segments are deleted (`retention.bytes`); negative for never.
    pub retention_bytes: i64,
    /// Bytes a batch may have (`max.message.bytes`).
    pub max_message_bytes: usize,
    /// Bytes of log between two entries of the offset index (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Records after which the log must be flushed (`flush.messages`).
    pub flush_messages: u64,
    /// Age of the oldest unflushed append at which the log must be flushed (`flush.ms`).
    pub flush_ms: i64,
    /// Whose clock the timestamps are (`message.timestamp.type`).
    pub timestamp_type: TimestampType,
    /// First allocation of a segment; it doubles up to `segment_bytes`.
    pub initial_segment_bytes: u64,
    /// How long the files of deleted segments stay (`file.delete.delay.ms`).
    pub file_delete_delay_ms: i64,
    /// How long an idle producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration_ms: i64,
    /// How many producers are remembered at most; the longest idle go first.
    pub max_producers: usize,
    /// The broker-wide bound on open segment files; one handle is shared by all logs of a disk.
    pub open_segments: OpenSegments,
    /// The broker-wide rate of the scrub, and its counts; one handle is shared by all logs.
    pub upkeep: Upkeep,
}

impl Default for LogConfig {
    /// Kafka's defaults, but for `flush.messages`, which is 1 here: acknowledged means flushed.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            max_message_bytes: 1024 * 1024 + 12,
            index_interval_bytes: 4096,
            flush_messages: 1,
            flush_ms: i64::MAX,
            timestamp_type: TimestampType::CreateTime,
            initial_segment_bytes: 64 << 10,
            file_delete_delay_ms: 60_000,
            producer_expiration_ms: 24 * 3_600_000,
            max_producers: 10_000,
            open_segments: OpenSegments::default(),
            upkeep: Upkeep::default(),
        }
    }
}

impl LogConfig {
    /// Positions in a segment are 32 bits, as in Kafka.
    pub(crate) const SEGMENT_MAX: u64 = i32::MAX as u64;
    /// Bytes of an index entry in Kafka, which `segment.index.bytes` is measured in. An entry here is larger, since it
    /// serves as the time index too, but whoever moves a topic expects its segments to roll where they did.
    const INDEX_ENTRY: u64 = 8;

    /// The length at which a segment is rolled, within what 32-bit positions can address.
    pub(crate) fn segment_limit(&self) -> u64 {
        self.segment_bytes.clamp(1, Self::SEGMENT_MAX)
    }

    /// The entries of an offset index with which a segment is rolled instead of getting one more.
    pub(crate) fn index_limit(&self) -> u64 {
        self.segment_index_bytes / Self::INDEX_ENTRY
    }
}
