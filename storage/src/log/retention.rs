//! Periodic care: retention by time and size, DeleteRecords, expiry of producers, removal of files.

use std::sync::Arc;
use std::time::Duration;

use millrace_types::{Instant, Now, Offset, Timestamp};

use super::{Log, LogError};
use crate::flusher::StorageJob;
use crate::index::NO_MAX;
use crate::qstate::QRecord;
use crate::recovery::remove_segment;
use crate::segment::{FileKind, Home, Segment, file_name, parse_file_name, remove_if_there};

/// How often a log with records is looked after at least (Kafka's `log.retention.check.interval.ms`).
const CHECK_MAX: Duration = Duration::from_secs(300);
/// And at most.
const CHECK_MIN: Duration = Duration::from_secs(1);

/// What periodic care of a log asks for.
#[derive(Debug, Default)]
pub struct Maintenance {
    /// Files to remove, on a storage thread.
    pub jobs: Vec<StorageJob>,
    /// When to call again; `None` while nothing can come due.
    pub next: Option<Instant>,
    /// The log start offset that retention moves to, with the record to make durable, at once. [`Log::raise_start`]
    /// follows when it is.
    pub start: Option<(Offset, QRecord)>,
}

impl Log {
    /// Deletes segments that retention gives up, expires producers, and hands out the removal of files that are due.
    /// Records at or above `high_watermark` are never deleted.
    pub fn maintain(&mut self, now: Now, high_watermark: Offset) -> Maintenance {
        let mut care = Maintenance { jobs: self.due_removals(now.instant), ..Maintenance::default() };
        if self.is_poisoned() || self.shared.damage.load().is_some() {
            return care;
        }
        self.producers.expire(now.wall, self.config.producer_expiration_ms);
        let given_up = self.given_up(now.wall, high_watermark);
        if given_up > 0 {
            if given_up == self.segments().len() {
                let next = self.next_segment(now);
                self.enter(next);
            }
            let start = self.segments().get(given_up).map_or_else(|| self.log_end(), |segment| segment.base());
            if start > self.log_start() {
                care.start = Some((start, QRecord::Start { tp: self.partition, offset: start }));
            } else {
                self.drop_below_start(now.instant);
            }
        }
        for segment in self.segments() {
            segment.forget_idle_index();
        }
        care.next = self.next_check(now);
        care
    }

    /// Where the log start offset goes when everything below `before` is deleted, which is at most the high watermark;
    /// -1 stands for that. The record is to be made durable, then [`Log::raise_start`] follows, and only then is the
    /// caller told. `None` when the start is there already.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] above the high watermark or below -1.
    pub fn delete_records(&self, before: Offset) -> Result<(Offset, Option<QRecord>), LogError> {
        let (start, end) = (self.log_start(), self.shared.high_watermark());
        let before = if before == -1 { end } else { before };
        if before < 0 || before > end {
            return Err(LogError::OutOfRange { offset: before, start, end });
        }
        let record = (before > start).then_some(QRecord::Start { tp: self.partition, offset: before });
        Ok((before.max(start), record))
    }

    /// The log starts at `start` at least, and a record that says so is durable. Nobody may see it before: a log that
    /// started lower again after a crash would send a reader who looked for its beginning back to what it had read.
    pub fn raise_start(&mut self, start: Offset, now: Instant) {
        if start > self.log_start() {
            self.shared.set_start(start);
            self.shared.epochs.write().raise_start(start);
        }
        self.drop_below_start(now);
    }

    /// How many of the oldest segments retention gives up.
    fn given_up(&self, now: Timestamp, high_watermark: Offset) -> usize {
        let segments = self.segments();
        let mut surplus = match u64::try_from(self.config.retention_bytes) {
            Ok(bytes) => self.size_bytes().saturating_sub(bytes),
            Err(_) => 0,
        };
        let mut count = 0;
        for segment in &segments {
            let (used, next) = (segment.used(), segment.next());
            let by_size = used > 0 && used <= surplus;
            if used == 0 || next > high_watermark || !(by_size || self.is_expired(segment, now)) {
                break;
            }
            surplus = surplus.saturating_sub(used);
            count += 1;
        }
        count
    }

    fn is_expired(&self, segment: &Arc<Segment>, now: Timestamp) -> bool {
        self.config.retention_ms >= 0 && now.saturating_sub(newest(segment)) > self.config.retention_ms
    }

    /// Segments wholly below the log start offset leave the log, also those that were kept because they took appends
    /// when it was moved. Their files follow `file.delete.delay.ms` later.
    fn drop_below_start(&mut self, now: Instant) {
        let start = self.log_start();
        let mut kept = self.segments();
        let below = kept.iter().take(kept.len() - 1).take_while(|segment| segment.next() <= start).count();
        let delay = Duration::from_millis(u64::try_from(self.config.file_delete_delay_ms).unwrap_or(0));
        for segment in kept.drain(..below) {
            self.flush.forget(&segment);
            self.removed.push_back((now.after(delay), segment));
        }
        if below > 0 {
            self.shared.set_segments(kept);
        }
    }

    fn due_removals(&mut self, now: Instant) -> Vec<StorageJob> {
        let mut jobs = Vec::new();
        while let Some((_, segment)) = self.removed.pop_front_if(|(due, _)| *due <= now) {
            let home = self.home.clone();
            jobs.push(StorageJob::new("remove a deleted segment", move || remove_files(&home, &segment)));
        }
        jobs
    }

    /// When something can come due: the removal of files, the oldest segment's age, the expiry of a producer.
    fn next_check(&self, now: Now) -> Option<Instant> {
        let removal = self.removed.front().map(|(due, _)| *due);
        let oldest = self.segments().first().filter(|segment| segment.used() > 0).cloned();
        let age = oldest
            .filter(|_| self.config.retention_ms >= 0)
            .map(|segment| newest(&segment).saturating_add(self.config.retention_ms).saturating_add(1));
        let expiry = self.producers.next_expiry(self.config.producer_expiration_ms);
        let clock = age.into_iter().chain(expiry).min().map(|due| {
            let wait = Duration::from_millis(u64::try_from(due.saturating_sub(now.wall)).unwrap_or(0));
            now.instant.after(wait.clamp(CHECK_MIN, CHECK_MAX))
        });
        let size = (self.config.retention_bytes >= 0 && self.size_bytes() > 0).then(|| now.instant.after(CHECK_MAX));
        removal.into_iter().chain(clock).chain(size).min()
    }
}

/// The time a segment's age counts from: its newest record's, or when it was made or opened without one.
fn newest(segment: &Arc<Segment>) -> Timestamp {
    match segment.content().read().max_timestamp() {
        NO_MAX | -1 => segment.opened_at(),
        timestamp => timestamp,
    }
}

/// Removes the files of a segment, and the producer snapshot at its start unless that is the newest one.
fn remove_files(home: &Home, segment: &Arc<Segment>) {
    segment.end_life();
    let snapshot = file_name(segment.base(), FileKind::Snapshot);
    let is_newer = |name: &str| {
        parse_file_name(name).is_some_and(|(offset, kind)| kind == FileKind::Snapshot && offset > segment.base())
    };
    let mut removed = remove_segment(&home.disk, &home.dir, segment.base());
    if home.disk.list(&home.dir).unwrap_or_default().iter().any(|entry| is_newer(&entry.name)) {
        removed = removed.and_then(|()| remove_if_there(&home.disk, &home.dir.join(snapshot)));
    }
    if let Err(error) = removed {
        tracing::warn!(%error, "files of a deleted segment stay until the next start");
    }
}
