//! The log of one partition: one owner appends, rolls, flushes, deletes and truncates; views read.
//!
//! Nothing here blocks but what says so: appends go into the page cache, flushes and files are work handed out for
//! storage threads. The exceptions are the first append of a segment, which makes its file, an append that finds no
//! space prepared, and [`Log::apply_truncation`].

mod append;
mod config;
mod error;
mod flush;
mod prepare;
mod retention;
mod roll;
mod truncate;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use millrace_types::{Instant, LeaderEpoch, Now, Offset, ProducerId, Timestamp, TopicPartition};

use crate::disk::{Disk, DiskError};
use crate::epoch_cache::EpochCache;
use crate::poison::Poison;
use crate::producer_state::ProducerState;
use crate::qstate::QRecord;
use crate::recovery::{Known, Recovery, open};
use crate::segment::{Home, Segment};
use crate::view::{LogView, Shared};

pub use config::LogConfig;
pub use error::{AppendError, LogError};
use flush::FlushState;
use prepare::Ahead;
pub use prepare::{PrepareJob, Prepared};
pub use retention::Maintenance;
pub use truncate::Truncation;

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The leader's time that was stamped, -1 with CreateTime.
    pub log_append_time: Timestamp,
    /// Whether the batch was in the log already: the offsets are those of the first time.
    pub duplicate: bool,
}

/// What the log remembers of an idempotent producer (`DescribeProducers`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSummary {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its latest epoch.
    pub producer_epoch: i16,
    /// The last sequence, -1 without one.
    pub last_sequence: i32,
    /// The timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// The epoch of the coordinator that ended its last transaction, -1 without one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, -1 without one.
    pub current_txn_start: Offset,
}

/// The log of one partition.
///
/// Invariants: `log start <= flushed <= log end`; the last segment takes appends and no other does; every byte below
/// the published log end offset is written; the epoch cache, the producer state and the indexes are functions of the
/// batches below the log end offset and of the markers pushed by [`Log::begin_epoch`].
#[derive(Debug)]
pub struct Log {
    home: Home,
    partition: TopicPartition,
    config: LogConfig,
    shared: Arc<Shared>,
    /// The last of the shared segments.
    active: Arc<Segment>,
    latest_epoch: LeaderEpoch,
    producers: ProducerState,
    flush: FlushState,
    poison: Poison,
    ahead: Ahead,
    /// Segments that left the log, and when their files may go.
    removed: VecDeque<(Instant, Arc<Segment>)>,
}

impl Log {
    /// Opens the log in `dir`, a directory of its own below the disk's root, after whatever happened to it. No file is
    /// touched when the directory does not exist: it is made by the first append.
    ///
    /// The caller makes `Recovery::records` durable before anything is appended or acknowledged, and runs
    /// `Recovery::flush` before it calls [`Log::flushed`] with the log end offset. It may block on the device.
    ///
    /// # Errors
    /// When the disk fails. Damage is no error, see `Recovery::damaged`.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        partition: TopicPartition,
        config: LogConfig,
        known: &Known,
        now: Now,
    ) -> Result<(Self, Recovery), LogError> {
        let home = Home { disk: disk.clone(), dir: dir.to_owned(), pool: config.open_segments.clone() };
        let opened = open(&home, partition, &config, known, now)?;
        let mut recovery = opened.recovery;
        let latest_epoch = opened.epochs.latest();
        let Some(active) = opened.segments.last().cloned() else {
            return Err(LogError::Layout(format!("{}: no segment to append to", dir.display())));
        };
        let mut flush = FlushState::new(opened.flushed);
        let shared = Shared::new(opened.segments, opened.epochs, opened.start, opened.end);
        if let Some(rot) = &recovery.damaged {
            shared.damage.get_or_init(|| Box::new(rot.clone()));
        } else {
            flush.recovered(&shared.segments.load(), now.instant);
            recovery.flush = flush.take(opened.end, latest_epoch, &home)?;
        }
        shared.set_first_undecided(opened.producers.first_undecided());
        let ahead = Ahead::new(opened.unfinished);
        let (producers, poison, removed) = (opened.producers, Poison::default(), VecDeque::new());
        let log =
            Self { home, partition, config, shared, active, latest_epoch, producers, flush, poison, ahead, removed };
        Ok((log, recovery))
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// The first offset of the log.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.start()
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.end()
    }

    /// A copy of the leader epochs.
    #[must_use]
    pub fn epoch_cache(&self) -> EpochCache {
        self.shared.epochs.read().clone()
    }

    /// Bytes of record batches, not what is preallocated.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.size()
    }

    /// The readers' side of the log.
    #[must_use]
    pub fn view(&self) -> LogView {
        LogView::new(self.shared.clone())
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; the bound on open segments stays the one the log was opened with.
    pub fn set_config(&mut self, config: LogConfig) {
        let open_segments = self.config.open_segments.clone();
        self.config = LogConfig { open_segments, ..config };
    }

    /// Notes that this replica leads in `epoch` from the log end offset on: a zero-width marker (consensus rule 1.4).
    /// The record has to be durable before the marker counts.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> QRecord {
        let start = self.log_end();
        self.note_epoch(epoch, start);
        QRecord::Epoch { tp: self.partition, epoch, start }
    }

    /// The producers the log remembers, in the order of their ids.
    pub fn producers(&self) -> impl Iterator<Item = ProducerSummary> + '_ {
        self.producers.summaries()
    }

    /// Closes the log for writes after a failed flush. There is no way back but a restart (consensus rules, 2.2).
    pub fn poison(&mut self, why: &DiskError) {
        if crate::mutation::broken(crate::mutation::Mutation::RetryFailedFlush) {
            self.flush.retry();
            return;
        }
        self.poison.set(why);
    }

    /// Whether a write or flush has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    fn note_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch > self.latest_epoch {
            self.shared.epochs.write().push(epoch, start);
            self.latest_epoch = epoch;
        }
    }

    fn segments(&self) -> Vec<Arc<Segment>> {
        self.shared.segments.load().as_ref().clone()
    }
}

#[cfg(test)]
mod tests;
