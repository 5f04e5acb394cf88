//! The log of one partition: one owner appends, rolls, flushes, deletes and truncates; views read.
//!
//! Nothing here blocks but what says so: appends go into the page cache, flushes and files are work handed out for
//! storage threads. The exceptions are the first append of a segment, which makes its file, an append that finds no
//! space prepared, and [`Log::apply_truncation`].

mod append;
mod config;
mod epochs;
mod error;
mod flush;
mod open;
mod prepare;
mod retention;
mod roll;
mod truncate;
mod upkeep;

use std::collections::VecDeque;
use std::sync::Arc;

use millrace_types::{Instant, LeaderEpoch, Offset, TopicPartition};

use crate::disk::DiskError;
use crate::poison::Poison;
use crate::producer_state::{ProducerState, ProducerSummary};
use crate::segment::{Home, Segment};
use crate::view::{LogView, Shared};

pub use append::Appended;
pub use config::LogConfig;
pub use error::{AppendError, LogError};
use flush::FlushState;
use prepare::Ahead;
pub use prepare::{PrepareJob, Prepared};
pub use retention::Maintenance;
pub use truncate::{CutDone, CutJob, Truncation};
pub use upkeep::Look;

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
    /// What lies below was not appended since the log was opened, or was left by a cut: it may have come from the disk.
    grown_from: Offset,
    /// Where the scrub has come to.
    scrub_at: upkeep::ScrubAt,
    /// Segments that left the log, and when their files may go.
    removed: VecDeque<(Instant, Arc<Segment>)>,
}

impl Log {
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

    /// Changes the settings; what all logs share stays what the log was opened with.
    pub fn set_config(&mut self, config: LogConfig) {
        let (open_segments, upkeep) = (self.config.open_segments.clone(), self.config.upkeep.clone());
        self.config = LogConfig { open_segments, upkeep, ..config };
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

    fn segments(&self) -> Vec<Arc<Segment>> {
        self.shared.segments.load().as_ref().clone()
    }
}

#[cfg(test)]
mod tests;
