//! Room for an append: rolling to the next segment, making files, growing them.

use std::sync::Arc;

use millrace_types::{Now, Timestamp, TopicPartition};

use super::{AppendError, Log, LogConfig};
use crate::disk::{DiskError, FileRef};
use crate::record_batch::{BatchHeader, crc32c};
use crate::segment::{Content, Segment};

/// Bytes a segment grows by at most in one step.
const GROWTH_MAX: u64 = 64 << 20;
/// Allocations are rounded up to pages.
const PAGE: u64 = 4096;

impl Log {
    /// Makes sure that `size` bytes of a batch with this header can be written behind the last batch of the active
    /// segment. Allocation ahead makes this a comparison most of the time.
    ///
    /// # Errors
    /// [`AppendError::Full`], with nothing changed, or [`AppendError::Storage`].
    pub(super) fn make_room(&mut self, header: &BatchHeader, size: u64, now: Now) -> Result<(), AppendError> {
        let limit = self.config.segment_limit();
        if self.must_roll(header, size, now.wall) {
            return self.roll(size, now).map_err(AppendError::disk);
        }
        self.active.raise_limit(limit);
        if !self.active.is_created() {
            let active = self.active.clone();
            return self.create(&active, size).map_err(AppendError::disk);
        }
        let file = self.active.file().map_err(AppendError::disk)?;
        let need = self.active.used() + size;
        if need <= file.len() {
            return Ok(());
        }
        grow(&file, need, self.active.limit()).map_err(AppendError::disk)?;
        if file.len() > need {
            self.ahead.found_room();
        }
        Ok(())
    }

    /// Kafka's rules of `LogSegment.shouldRoll`: size, age by the records' time (by the clock without one), what
    /// relative offsets can express, and the size of the index.
    fn must_roll(&self, header: &BatchHeader, size: u64, now: Timestamp) -> bool {
        let content = self.active.content().read();
        if content.used() == 0 {
            return false;
        }
        let behind = content.next() - content.base() + i64::from(header.last_offset_delta);
        let age = match content.first_timestamp() {
            Some(first) if first >= 0 && header.max_timestamp >= 0 => header.max_timestamp - first,
            _ => now - self.active.opened_at(),
        };
        content.used() + size > self.config.segment_limit()
            || behind > i64::from(i32::MAX)
            || content.entries_after_next() > self.config.index_limit()
            || age > self.config.segment_ms.saturating_sub(jitter(self.partition, &self.config))
    }

    /// Seals the active segment and goes on in a new one with room for `size` bytes.
    fn roll(&mut self, size: u64, now: Now) -> Result<(), DiskError> {
        let next = self.next_segment(now);
        self.create(&next, size)?;
        self.enter(next);
        Ok(())
    }

    /// An empty segment at the log end offset.
    pub(super) fn next_segment(&self, now: Now) -> Arc<Segment> {
        let content = Content::new(self.log_end(), self.config.index_interval_bytes);
        Segment::new(&self.home, content, self.config.segment_limit(), false, now.wall)
    }

    /// Seals the active segment and makes `next` the active one.
    pub(super) fn enter(&mut self, next: Arc<Segment>) {
        self.active.set_sealed(true);
        self.ahead.seal(self.active.clone(), self.log_end(), &self.producers);
        let mut segments = self.segments();
        segments.push(next.clone());
        self.active = next;
        self.shared.set_segments(segments);
    }

    /// Makes the file of an empty segment, and the directory with the first one.
    fn create(&mut self, segment: &Arc<Segment>, size: u64) -> Result<(), DiskError> {
        if !self.segments().iter().any(|segment| segment.is_created()) {
            self.home.disk.create_dir(&self.home.dir)?;
        }
        let limit = segment.limit();
        let least = size.next_multiple_of(PAGE).clamp(size, limit.max(size));
        let wanted = self.config.initial_segment_bytes.clamp(least, limit.max(least));
        match segment.create(wanted) {
            Err(error) if error.is_full() && least < wanted => segment.create(least)?,
            other => other?,
        };
        self.flush.created(segment);
        if segment.file()?.len() > least {
            self.ahead.found_room();
        }
        Ok(())
    }
}

/// The length a segment of `len` bytes grows to so that `need` bytes fit: the double, but no more than 64 MiB at once.
pub(super) fn grown(len: u64, need: u64, limit: u64) -> u64 {
    let doubled = len.saturating_mul(2).min(len.saturating_add(GROWTH_MAX));
    doubled.max(need.next_multiple_of(PAGE)).min(limit).max(need)
}

/// Grows the file, by less than wanted when the disk is nearly full.
fn grow(file: &FileRef, need: u64, limit: u64) -> Result<(), DiskError> {
    let wanted = grown(file.len(), need, limit);
    match file.allocate(wanted) {
        Err(error) if error.is_full() && need < wanted => file.allocate(need),
        other => other,
    }
}

/// How much earlier this log rolls by age: spread over logs by their identity, equal at every start.
fn jitter(partition: TopicPartition, config: &LogConfig) -> i64 {
    if config.segment_jitter_ms <= 0 {
        return 0;
    }
    let mut identity = partition.topic.0.into_bytes().to_vec();
    identity.extend_from_slice(&partition.partition.to_be_bytes());
    i64::from(crc32c(&identity)) % config.segment_jitter_ms.min(config.segment_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::grown;

    #[test]
    fn segments_double_in_bounded_steps() {
        assert_eq!(grown(65_536, 65_537, 1 << 30), 131_072);
        assert_eq!(grown(65_536, 1_000_000, 1 << 30), 1_003_520, "what is needed, in pages");
        assert_eq!(grown(256 << 20, (256 << 20) + 1, 1 << 30), 320 << 20, "64 MiB at once");
        assert_eq!(grown(1000, 1500, 1600), 1600, "never above the limit");
        assert_eq!(grown(0, 10, 5), 10);
    }
}
