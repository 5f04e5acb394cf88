//! What the storage threads are given to do.

use std::fmt;

use millrace_types::{LeaderEpoch, Offset, TopicPartition};
use smallvec::SmallVec;
use thiserror::Error;

use crate::disk::{DiskError, FileRef};

/// Called once, on a storage thread, with what came of a job.
pub type Done = Box<dyn FnOnce(Result<(), DiskError>) + Send>;

/// The files of one partition that must be durable before its log is flushed up to an offset.
#[derive(Debug, Clone)]
pub struct FlushWork {
    /// Files written to since the last work was taken.
    pub files: SmallVec<[FileRef; 2]>,
    /// The log end offset when the work was taken.
    pub upto: Offset,
    /// The leader epoch when the work was taken.
    pub epoch: LeaderEpoch,
    /// A start has written all of it again, and the next one will. A failure then leaves nothing that reads back but
    /// is beyond the reach of a later flush, so it is not noted as [`QRecord::Suspect`](crate::QRecord::Suspect): that
    /// would cut records that were acknowledged before the start and whose note was still on its way.
    pub rewritten: bool,
}

impl FlushWork {
    /// Flushes each file.
    ///
    /// # Errors
    /// The first failure; the files after it are not flushed, and the log they belong to is poisoned anyway.
    pub fn run(&self) -> Result<(), DiskError> {
        self.files.iter().try_for_each(|file| file.flush())
    }
}

/// A partition's request to have its data made durable.
pub struct FlushJob {
    /// The partition.
    pub tp: TopicPartition,
    /// What to flush.
    pub work: FlushWork,
    /// Told the outcome.
    pub done: Done,
}

impl fmt::Debug for FlushJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushJob").field("tp", &self.tp).field("work", &self.work).finish_non_exhaustive()
    }
}

/// Slow work that is neither a flush nor a put: allocation ahead, cold reads, removal of files.
pub struct StorageJob {
    name: &'static str,
    work: Box<dyn FnOnce() + Send>,
}

impl StorageJob {
    /// A job that calls `work`; `name` says what it is for, in logs.
    pub fn new(name: &'static str, work: impl FnOnce() + Send + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }

    /// What the job is for.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Does the work.
    pub fn run(self) {
        (self.work)();
    }
}

impl fmt::Debug for StorageJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StorageJob").field(&self.name).finish()
    }
}

/// A queue of the storage threads cannot take the job, which is dropped without having been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QueueFull {
    /// As many jobs wait as the queue is allowed to hold.
    #[error("the {queue} queue holds {capacity} jobs already")]
    Full {
        /// Which queue.
        queue: &'static str,
        /// How many jobs it holds.
        capacity: usize,
    },
    /// The threads are being stopped.
    #[error("the storage threads are stopping")]
    Stopped,
}
