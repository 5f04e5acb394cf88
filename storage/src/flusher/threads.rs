//! Starting and stopping the storage threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use super::group::{FlushMessage, GroupCommit, Helpers, Trail};
use super::handle::{Gate, IoMessage, Shared, StorageHandle};
use super::stats::StorageStats;
use super::store::{PutMessage, Store};
use crate::disk::{Disk, DiskError};
use crate::qstate::QState;

/// Settings of the storage threads.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// Jobs each queue holds. A partition has at most one flush and one put under way, so this also bounds the
    /// partitions that can flush at one moment.
    pub queue_capacity: usize,
    /// Threads that flush files, the group commit's own among them; at least 1.
    pub flush_threads: usize,
    /// Threads for slow jobs; at least 1.
    pub disk_threads: usize,
    /// A group of more files than this is flushed by one `syncfs`. That also writes what others have dirtied on the
    /// same filesystem, so a data directory belongs on its own; `usize::MAX` never does it.
    pub sync_all_above: usize,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self { queue_capacity: 16_384, flush_threads: 4, disk_threads: 1, sync_all_above: 4 }
    }
}

/// The running storage threads.
#[derive(Debug)]
pub struct StorageThreads {
    handle: StorageHandle,
}

/// What it takes to end the threads.
pub(super) struct Running {
    flush: Vec<JoinHandle<()>>,
    store: JoinHandle<()>,
    disk: Vec<JoinHandle<()>>,
    books: Arc<Store>,
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(work)
}

impl StorageThreads {
    /// Starts the threads over `disk`; they own the write-ahead store from here on.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(options: StorageOptions, disk: Arc<dyn Disk>, qstate: QState) -> io::Result<Self> {
        let capacity = options.queue_capacity.max(1);
        let (flushes, flush_queue) = bounded(capacity);
        let (puts, put_queue) = bounded(capacity);
        let (jobs, job_queue) = bounded(capacity);
        let (nudge, nudged) = bounded(1);
        let stats = Arc::new(StorageStats::default());
        let books = Arc::new(Store::new(qstate, nudge, Arc::clone(&stats)));

        let (helpers, workers) = Helpers::new(options.flush_threads.saturating_sub(1));
        let mut flush = Vec::new();
        for (number, worker) in workers.into_iter().enumerate() {
            flush.push(spawn(&format!("flush-{}", number + 1), worker)?);
        }
        let (queue, store) = (flush_queue, Arc::clone(&books));
        // A sync of everything that reports no failure would acknowledge what was never written.
        let sync_all_above = if disk.sync_all_reports() { options.sync_all_above } else { usize::MAX };
        let group = GroupCommit {
            queue,
            disk,
            store,
            stats: Arc::clone(&stats),
            helpers,
            sync_all_above,
            trail: Trail::default(),
        };
        // The group commit is joined first: its end is what ends the helpers.
        flush.insert(0, spawn("flush-0", move || group.run())?);

        let own = Arc::clone(&books);
        let store = spawn("qstate", move || own.run(&put_queue, &nudged))?;
        let mut disk = Vec::new();
        for number in 0..options.disk_threads.max(1) {
            let (queue, stats) = (job_queue.clone(), Arc::clone(&stats));
            disk.push(spawn(&format!("disk-{number}"), move || run_jobs(&queue, &stats))?);
        }
        let running = Mutex::new(Some(Running { flush, store, disk, books }));
        let shared = Shared { gate: Mutex::new(Gate::default()), flushes, puts, jobs, stats, running };
        Ok(Self { handle: StorageHandle(Arc::new(shared)) })
    }

    /// A handle to send jobs by.
    #[must_use]
    pub fn handle(&self) -> StorageHandle {
        self.handle.clone()
    }

    /// As [`StorageHandle::stop`].
    ///
    /// # Errors
    /// As [`StorageHandle::stop`].
    pub fn stop(self) -> Result<(), DiskError> {
        self.handle.stop()
    }
}

impl Running {
    /// Ends the threads in the order of who feeds whom: slow jobs, group commit, write-ahead store.
    pub(super) fn stop(self, shared: &Shared) -> Result<(), DiskError> {
        // A send fails, and a join does, only when the thread has ended already; then there is nothing to drain.
        for _ in &self.disk {
            let _ = shared.jobs.send(IoMessage::Stop);
        }
        self.disk.into_iter().for_each(|thread| drop(thread.join()));
        let _ = shared.flushes.send(FlushMessage::Stop);
        self.flush.into_iter().for_each(|thread| drop(thread.join()));
        let _ = shared.puts.send(PutMessage::Stop);
        drop(self.store.join());
        self.books.close()
    }
}

fn run_jobs(queue: &Receiver<IoMessage>, stats: &StorageStats) {
    while let Ok(IoMessage::Job(job)) = queue.recv() {
        job.run();
        stats.jobs_waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
