//! Numbers about the storage threads, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Counters and gauges the storage threads keep; read them by [`StorageStats::snapshot`].
#[derive(Debug, Default)]
pub struct StorageStats {
    pub(super) flushes_waiting: AtomicUsize,
    pub(super) puts_waiting: AtomicUsize,
    pub(super) jobs_waiting: AtomicUsize,
    pub(super) groups: AtomicU64,
    pub(super) grouped_jobs: AtomicU64,
    pub(super) grouped_files: AtomicU64,
    pub(super) largest_group: AtomicU64,
    pub(super) whole_syncs: AtomicU64,
    pub(super) failed_groups: AtomicU64,
    pub(super) flush_micros: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) committed_puts: AtomicU64,
    pub(super) store_closed: AtomicBool,
}

/// The numbers at one moment. Counters count from the start of the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatsSnapshot {
    /// Flush jobs queued or being flushed.
    pub flushes_waiting: usize,
    /// Puts queued or being written.
    pub puts_waiting: usize,
    /// Other jobs queued or running.
    pub jobs_waiting: usize,
    /// Group commits done.
    pub groups: u64,
    /// Flush jobs in them.
    pub grouped_jobs: u64,
    /// Files in them, each counted once per group.
    pub grouped_files: u64,
    /// Most jobs in one group.
    pub largest_group: u64,
    /// Groups flushed by one `syncfs` instead of a flush of each file.
    pub whole_syncs: u64,
    /// Groups that failed; every log in them is poisoned.
    pub failed_groups: u64,
    /// Microseconds spent in flushing groups.
    pub flush_micros: u64,
    /// Flushes of the write-ahead store.
    pub commits: u64,
    /// Puts made durable by them.
    pub committed_puts: u64,
    /// Whether the write-ahead store is closed for writing, since a flush of it failed.
    pub store_closed: bool,
}

impl StorageStats {
    /// The numbers at this moment.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let gauge = |value: &AtomicUsize| value.load(Ordering::Relaxed);
        let counter = |value: &AtomicU64| value.load(Ordering::Relaxed);
        StatsSnapshot {
            flushes_waiting: gauge(&self.flushes_waiting),
            puts_waiting: gauge(&self.puts_waiting),
            jobs_waiting: gauge(&self.jobs_waiting),
            groups: counter(&self.groups),
            grouped_jobs: counter(&self.grouped_jobs),
            grouped_files: counter(&self.grouped_files),
            largest_group: counter(&self.largest_group),
            whole_syncs: counter(&self.whole_syncs),
            failed_groups: counter(&self.failed_groups),
            flush_micros: counter(&self.flush_micros),
            commits: counter(&self.commits),
            committed_puts: counter(&self.committed_puts),
            store_closed: self.store_closed.load(Ordering::Relaxed),
        }
    }

    /// Adds to a counter.
    pub(super) fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}
