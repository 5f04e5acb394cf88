//! The group commit: one thread takes every flush job that waits, makes their files durable together, and answers.
//!
//! While a group is being flushed the next one collects, so the groups grow with the load and the number of flushes
//! does not. Few files are flushed one by one, spread over the helper threads; many by one `syncfs`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::job::FlushJob;
use super::stats::StorageStats;
use super::store::Store;
use crate::disk::{Disk, DiskError, FileRef};

/// Most jobs in one group; what waits beyond comes next.
const MAX_GROUP: usize = 16_384;
/// How far the durable notes of flushed offsets may trail behind the flushes. A flush of the store beside each group would
/// double what an acknowledgement costs the disk, and spare a start after a power loss the checking of so much of the log.
const NOTES_TRAIL: Duration = Duration::from_millis(10);
/// Most files waiting for helper threads; the group's own thread flushes those beyond.
const MAX_TASKS: usize = 1024;

/// What comes over the flush queue.
pub(super) enum FlushMessage {
    /// A job, boxed so that the queue's preallocated slots stay small, and its ticket.
    Job(Box<FlushJob>, u64),
    Stop,
}

/// The state of the group commit's thread.
pub(super) struct GroupCommit {
    pub(super) queue: Receiver<FlushMessage>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: Arc<Store>,
    pub(super) stats: Arc<StorageStats>,
    pub(super) helpers: Helpers,
    /// Up to this many files are flushed one by one.
    pub(super) sync_all_above: usize,
    pub(super) trail: Trail,
}

/// When the store was last asked to make its notes durable.
#[derive(Debug, Default)]
pub(super) struct Trail(Option<Instant>);

impl Trail {
    /// Whether it is to be asked again, which it then is.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|asked| now.duration_since(asked) >= NOTES_TRAIL);
        self.0 = if due { Some(now) } else { self.0 };
        due
    }
}

impl GroupCommit {
    /// Serves the queue until it says stop, or until nobody can send any more.
    pub(super) fn run(mut self) {
        let mut stopping = false;
        while !stopping {
            let Ok(FlushMessage::Job(job, ticket)) = self.queue.recv() else { break };
            let mut group = vec![(job, ticket)];
            while group.len() < MAX_GROUP {
                match self.queue.try_recv() {
                    Ok(FlushMessage::Job(job, ticket)) => group.push((job, ticket)),
                    Ok(FlushMessage::Stop) => stopping = true,
                    Err(_) => break,
                }
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<(Box<FlushJob>, u64)>) {
        let start = Instant::now();
        if self.trail.is_due(start) {
            // What the previous groups noted in the write-ahead store becomes durable beside this group's data.
            self.store.ask_for_commit();
        }
        let mut files: Vec<FileRef> = group.iter().flat_map(|(job, _)| job.work.files.iter().cloned()).collect();
        files.sort_unstable_by_key(|file| Arc::as_ptr(file).addr());
        files.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let result = self.flush(&files);
        StorageStats::add(&self.stats.flush_micros, usize::try_from(start.elapsed().as_micros()).unwrap_or(usize::MAX));
        StorageStats::add(&self.stats.groups, 1);
        StorageStats::add(&self.stats.grouped_jobs, group.len());
        StorageStats::add(&self.stats.grouped_files, files.len());
        self.stats.largest_group.fetch_max(group.len() as u64, Ordering::Relaxed);
        StorageStats::add(&self.stats.failed_groups, usize::from(result.is_err()));
        let jobs = group.len();
        let mut noted = Vec::with_capacity(jobs);
        for (job, ticket) in group {
            if result.is_ok() || !job.work.rewritten {
                noted.push((job.tp, job.work.upto, ticket));
            }
            (job.done)(result.clone());
        }
        match result {
            Ok(()) => self.store.note_flushed(noted),
            Err(error) => self.store.note_failed(&noted, &error),
        }
        // Only now: the store takes a gauge of zero for "no note can be on its way".
        self.stats.flushes_waiting.fetch_sub(jobs, Ordering::Release);
    }

    fn flush(&mut self, files: &[FileRef]) -> Result<(), DiskError> {
        if files.len() <= self.sync_all_above {
            return self.helpers.flush(files);
        }
        StorageStats::add(&self.stats.whole_syncs, 1);
        self.disk.sync_all().inspect_err(|_| {
            // The failure may concern files outside this group, and another call would not repeat it. A flush of
            // the file itself does, so from here on each file is asked.
            self.sync_all_above = usize::MAX;
        })
    }
}

/// Threads that flush files side by side. They end when this value is dropped.
pub(super) struct Helpers {
    tasks: Sender<FileRef>,
    /// The group's own thread takes tasks as well.
    waiting: Receiver<FileRef>,
    results: Receiver<Result<(), DiskError>>,
}

impl Helpers {
    /// The channels, and the work of `threads` helper threads, to be run by the caller's threads.
    pub(super) fn new(threads: usize) -> (Self, Vec<impl FnOnce() + Send + 'static>) {
        let (tasks, waiting) = bounded::<FileRef>(MAX_TASKS);
        let (report, results) = bounded(MAX_TASKS);
        let worker = |_| {
            let (waiting, report) = (waiting.clone(), report.clone());
            move || {
                for file in waiting {
                    if report.send(file.flush()).is_err() {
                        return;
                    }
                }
            }
        };
        let workers = (0..threads).map(worker).collect();
        (Self { tasks, waiting, results }, workers)
    }

    /// Flushes every file, on this thread and on the helpers; the first failure found.
    fn flush(&self, files: &[FileRef]) -> Result<(), DiskError> {
        let Some((first, others)) = files.split_first() else { return Ok(()) };
        let mut outcome = Ok(());
        let mut handed_over = 0;
        for file in others {
            match self.tasks.try_send(Arc::clone(file)) {
                Ok(()) => handed_over += 1,
                Err(_) => {
                    let result = file.flush();
                    outcome = outcome.and(result);
                }
            }
        }
        let result = first.flush();
        outcome = outcome.and(result);
        for _ in 0..handed_over {
            let result = match self.waiting.try_recv() {
                Ok(file) => file.flush(),
                Err(_) => self.results.recv().unwrap_or_else(|_| {
                    let error = io::Error::other("a flush thread has ended");
                    Err(DiskError::io(first.path(), "fdatasync", error))
                }),
            };
            outcome = outcome.and(result);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_flushed_beside_the_first_group_and_then_once_in_a_while() {
        let (mut trail, begin) = (Trail::default(), Instant::now());
        assert!(trail.is_due(begin));
        assert!(!trail.is_due(begin + NOTES_TRAIL / 2));
        assert!(trail.is_due(begin + NOTES_TRAIL));
        assert!(!trail.is_due(begin + NOTES_TRAIL + NOTES_TRAIL / 2));
    }
}
