//! Sending jobs to the storage threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Sender, TrySendError};
use parking_lot::Mutex;

use crate::disk::DiskError;
use crate::qstate::QRecord;

use super::group::FlushMessage;
use super::job::{Done, FlushJob, QueueFull, StorageJob};
use super::stats::StorageStats;
use super::store::PutMessage;
use super::threads::Running;

/// What comes over the queue of other jobs.
pub(super) enum IoMessage {
    Job(StorageJob),
    Stop,
}

/// Orders the jobs of all queues: a job sent before another has the lower ticket.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: bool,
    tickets: u64,
}

pub(super) struct Shared {
    pub(super) gate: Mutex<Gate>,
    pub(super) flushes: Sender<FlushMessage>,
    pub(super) puts: Sender<PutMessage>,
    pub(super) jobs: Sender<IoMessage>,
    pub(super) stats: Arc<StorageStats>,
    pub(super) running: Mutex<Option<Running>>,
}

/// Hands jobs to the storage threads; clones share the threads, which end when the last handle is dropped, or by
/// [`StorageHandle::stop`].
#[derive(Clone)]
pub struct StorageHandle(pub(super) Arc<Shared>);

impl std::fmt::Debug for StorageHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StorageHandle").field(&self.0.stats.snapshot()).finish()
    }
}

impl StorageHandle {
    /// Has a partition's data made durable, together with whatever else waits; `job.done` is told on a storage thread.
    ///
    /// # Errors
    /// [`QueueFull`]: the job is dropped, `done` is not called.
    pub fn flush(&self, job: FlushJob) -> Result<(), QueueFull> {
        let job = Box::new(job);
        let message = |ticket| FlushMessage::Job(job, ticket);
        self.send("flush", &self.0.flushes, &self.0.stats.flushes_waiting, message)
    }

    /// Has records of the write-ahead store made durable. A `Trunc` or `Forget` voids the flushed offset of every
    /// flush job sent before it.
    ///
    /// # Errors
    /// [`QueueFull`]: the records are dropped, `done` is not called.
    pub fn put(&self, records: Vec<QRecord>, done: Done) -> Result<(), QueueFull> {
        let message = |ticket| PutMessage::Put { records, done, ticket };
        self.send("put", &self.0.puts, &self.0.stats.puts_waiting, message)
    }

    /// Has slow work done that is neither a flush nor a put.
    ///
    /// # Errors
    /// [`QueueFull`]: the job is dropped.
    pub fn run(&self, job: StorageJob) -> Result<(), QueueFull> {
        self.send("disk", &self.0.jobs, &self.0.stats.jobs_waiting, |_| IoMessage::Job(job))
    }

    fn send<T>(
        &self,
        queue: &'static str,
        sender: &Sender<T>,
        waiting: &AtomicUsize,
        message: impl FnOnce(u64) -> T,
    ) -> Result<(), QueueFull> {
        let mut gate = self.0.gate.lock();
        if gate.closed {
            return Err(QueueFull::Stopped);
        }
        gate.tickets += 1;
        waiting.fetch_add(1, Ordering::Release);
        sender.try_send(message(gate.tickets)).map_err(|error| {
            waiting.fetch_sub(1, Ordering::Release);
            match error {
                TrySendError::Full(_) => QueueFull::Full { queue, capacity: sender.capacity().unwrap_or(usize::MAX) },
                TrySendError::Disconnected(_) => QueueFull::Stopped,
            }
        })
    }

    /// The threads' numbers.
    #[must_use]
    pub fn stats(&self) -> &StorageStats {
        &self.0.stats
    }

    /// Refuses further jobs, finishes those that wait, makes the write-ahead store durable and ends the threads.
    /// Called a second time it does nothing.
    ///
    /// # Errors
    /// The last flush of the write-ahead store failed, or that of any group since the start: the stop was not clean,
    /// and must not be marked so.
    pub fn stop(self) -> Result<(), DiskError> {
        self.0.gate.lock().closed = true;
        let running = self.0.running.lock().take();
        running.map_or(Ok(()), |running| running.stop(&self.0))
    }
}
