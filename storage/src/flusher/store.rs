//! The write-ahead store's own thread, and what the group commit notes in the store.
//!
//! Puts are collected like flush jobs: what waits is appended, made durable by one flush, and answered. The flush runs
//! outside the store's lock, so that the group commit can append its notes meanwhile; it never waits for this thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, select_biased};
use millrace_types::{Offset, TopicPartition};
use parking_lot::{Mutex, MutexGuard};

use super::job::Done;
use super::stats::StorageStats;
use crate::disk::DiskError;
use crate::qstate::{QRecord, QState};

/// Most puts made durable by one flush; what waits beyond comes next.
const MAX_PUTS: usize = 16_384;

/// What comes over the put queue.
pub(super) enum PutMessage {
    Put { records: Vec<QRecord>, done: Done, ticket: u64 },
    Stop,
}

/// A cut or `Forget`: what was flushed before says nothing about the log after it.
#[derive(Clone, Copy)]
struct Voided {
    ticket: u64,
    forgotten: bool,
}

/// The store and the notes about flushes on their way into it.
struct Books {
    qstate: QState,
    /// The latest cuts and removals of partitions. An entry is needed only while a flush that was asked for before
    /// may be under way.
    voided: BTreeMap<TopicPartition, Voided>,
    /// The first failure of a group.
    failure: Option<DiskError>,
}

impl Books {
    /// Whether a cut or removal came after the flush job with this ticket was sent.
    fn is_void(&self, tp: &TopicPartition, ticket: u64) -> bool {
        self.voided.get(tp).is_some_and(|voided| voided.ticket > ticket)
    }

    /// Whether a removal came after it. A cut is none: what it left may be what could not be flushed.
    fn is_forgotten(&self, tp: &TopicPartition, ticket: u64) -> bool {
        self.voided.get(tp).is_some_and(|voided| voided.ticket > ticket && voided.forgotten)
    }
}

/// Flushed offsets, with the tickets of their jobs; one per partition.
type Notes = BTreeMap<TopicPartition, (Offset, u64)>;

/// The write-ahead store as the storage threads share it.
pub(super) struct Store {
    books: Mutex<Books>,
    /// Those not yet appended. Locked after `books`.
    notes: Mutex<Notes>,
    /// Something was appended since the last flush. Changed under the lock of `books`.
    dirty: AtomicBool,
    /// Wakes the store's thread; holds at most one wake-up.
    nudge: Sender<()>,
    stats: Arc<StorageStats>,
}

impl Store {
    pub(super) fn new(qstate: QState, nudge: Sender<()>, stats: Arc<StorageStats>) -> Self {
        let books = Books { qstate, voided: BTreeMap::new(), failure: None };
        Self { books: Mutex::new(books), notes: Mutex::default(), dirty: AtomicBool::new(false), nudge, stats }
    }

    /// Has everything appended so far made durable soon, by the store's thread.
    pub(super) fn ask_for_commit(&self) {
        if !self.dirty.load(Ordering::Acquire) {
            return;
        }
        match self.nudge.try_send(()) {
            // A wake-up that waits already does for both; without a thread nothing is promised any more.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Notes what a group has flushed: (partition, upto, ticket of the job). The notes are appended now or, when the
    /// store is busy, by its thread; they become durable with the next commit.
    pub(super) fn note_flushed(&self, jobs: Vec<(TopicPartition, Offset, u64)>) {
        let last_ticket = jobs.iter().map(|job| job.2).max().unwrap_or(0);
        let mut notes = self.notes.lock();
        for (tp, upto, ticket) in jobs {
            // The later job knows better, also when a cut between the two has lowered the offset.
            let note = notes.entry(tp).or_insert((upto, ticket));
            if ticket > note.1 {
                *note = (upto, ticket);
            }
        }
        drop(notes);
        // A note overtakes no put: the start of an epoch is put before its first batch is flushed, and a start that finds a batch
        // flushed whose epoch has not begun takes it for damaged.
        if self.puts_wait() {
            return;
        }
        if let Some(mut books) = self.books.try_lock() {
            self.append_notes(&mut books, self.take_notes(|| false));
            // Jobs come in the order of their tickets: none with a lower one is under way.
            books.voided.retain(|_, voided| voided.ticket > last_ticket + 1);
        }
    }

    /// Notes that a group failed, so that a start that finds its bytes in the page cache does not trust them. What was
    /// noted before stays before.
    pub(super) fn note_failed(&self, jobs: &[(TopicPartition, Offset, u64)], error: &DiskError) {
        let mut books = self.books.lock();
        books.failure.get_or_insert_with(|| error.clone());
        self.append_notes(&mut books, self.take_notes(|| false));
        let valid = jobs.iter().filter(|(tp, _, ticket)| !books.is_forgotten(tp, *ticket));
        let records: Vec<QRecord> = valid.map(|(tp, _, _)| QRecord::Suspect { tp: *tp }).collect();
        match books.qstate.put(&records) {
            Ok(()) => self.dirty.store(true, Ordering::Release),
            Err(error) => tracing::error!(%error, "a failed flush could not be noted"),
        }
        drop(books);
        self.ask_for_commit();
    }

    /// Takes the notes that may be appended, if no put of before them waits: `waits` is asked when they have been taken.
    fn take_notes(&self, waits: impl FnOnce() -> bool) -> Notes {
        let taken = std::mem::take(&mut *self.notes.lock());
        if taken.is_empty() || !waits() {
            return taken;
        }
        let mut notes = self.notes.lock();
        for (tp, note) in taken {
            // What came meanwhile is later.
            notes.entry(tp).or_insert(note);
        }
        Notes::new()
    }

    fn puts_wait(&self) -> bool {
        self.stats.puts_waiting.load(Ordering::Acquire) > 0
    }

    fn append_notes(&self, books: &mut MutexGuard<'_, Books>, notes: Notes) {
        let valid = notes.into_iter().filter(|(tp, (_, ticket))| !books.is_void(tp, *ticket));
        let records: Vec<QRecord> = valid.map(|(tp, (upto, _))| QRecord::Flushed { tp, upto }).collect();
        if records.is_empty() || books.qstate.is_closed() {
            return;
        }
        // Without the note a start checks more of the log than it had to; nothing else depends on it.
        match books.qstate.put(&records) {
            Ok(()) => self.dirty.store(true, Ordering::Release),
            Err(error) => tracing::warn!(%error, "flushed offsets could not be noted"),
        }
    }

    /// Serves the put queue until it says stop, or until nobody can send any more; then flushes once more.
    pub(super) fn run(&self, queue: &Receiver<PutMessage>, nudged: &Receiver<()>) {
        let mut stopping = false;
        while !stopping {
            let mut puts = Vec::new();
            select_biased! {
                recv(queue) -> message => match message {
                    Ok(PutMessage::Put { records, done, ticket }) => puts.push((records, done, ticket)),
                    Ok(PutMessage::Stop) | Err(_) => stopping = true,
                },
                recv(nudged) -> _ => {}
            }
            // Taken before the puts, so that all that were sent before these flushes ended come first.
            let notes = self.take_notes(|| queue.len() >= MAX_PUTS);
            while puts.len() <= MAX_PUTS {
                match queue.try_recv() {
                    Ok(PutMessage::Put { records, done, ticket }) => puts.push((records, done, ticket)),
                    Ok(PutMessage::Stop) => stopping = true,
                    Err(_) => break,
                }
            }
            self.commit(puts, notes);
        }
    }

    fn commit(&self, puts: Vec<(Vec<QRecord>, Done, u64)>, notes: Notes) {
        let mut appended: Vec<Done> = Vec::with_capacity(puts.len());
        let mut refused: Vec<(Done, DiskError)> = Vec::new();
        let mut books = self.books.lock();
        // Without a flush under way, or a note of one, there is none that a cut could void.
        if notes.is_empty() && self.stats.flushes_waiting.load(Ordering::Acquire) == 0 && self.notes.lock().is_empty() {
            books.voided.clear();
        }
        for (records, done, ticket) in puts {
            match self.put(&mut books, &records, ticket) {
                Ok(()) => appended.push(done),
                Err(error) => refused.push((done, error)),
            }
        }
        self.append_notes(&mut books, notes);
        let work = self.dirty.swap(false, Ordering::AcqRel).then(|| books.qstate.flush_work());
        drop(books);
        StorageStats::add(&self.stats.commits, usize::from(work.is_some()));
        let flushed = work.is_some();
        let result = work.map_or(Ok(()), |work| work.run());
        StorageStats::add(&self.stats.committed_puts, if result.is_ok() { appended.len() } else { 0 });
        self.stats.puts_waiting.fetch_sub(appended.len() + refused.len(), Ordering::Relaxed);
        appended.into_iter().for_each(|done| done(result.clone()));
        refused.into_iter().for_each(|(done, error)| done(Err(error)));
        if flushed {
            self.settle();
        }
        // Notes that came while the store was locked, or while puts waited, rely on this thread.
        let notes = self.take_notes(|| self.puts_wait());
        if !notes.is_empty() {
            self.append_notes(&mut self.books.lock(), notes);
        }
    }

    fn put(&self, books: &mut MutexGuard<'_, Books>, records: &[QRecord], ticket: u64) -> Result<(), DiskError> {
        for record in records {
            let (tp, forgotten) = match record {
                QRecord::Trunc { tp, .. } | QRecord::Cutting { tp, .. } => (*tp, false),
                QRecord::Forget { tp } => (*tp, true),
                _ => continue,
            };
            books.voided.insert(tp, Voided { ticket, forgotten });
        }
        books.qstate.put(records)?;
        if !records.is_empty() {
            self.dirty.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// After a flush: notes it in the journal, and snapshots the store when due.
    fn settle(&self) {
        let mut books = self.books.lock();
        if !books.qstate.is_closed()
            && let Err(error) = books.qstate.settle()
        {
            tracing::error!(%error, "the write-ahead store is closed for writing");
        }
        self.stats.store_closed.store(books.qstate.is_closed(), Ordering::Relaxed);
    }

    /// Appends what is left and makes it durable; the last act. A failure of any group is one of the whole run.
    pub(super) fn close(&self) -> Result<(), DiskError> {
        let mut books = self.books.lock();
        self.append_notes(&mut books, self.take_notes(|| false));
        books.qstate.flush()?;
        books.failure.take().map_or(Ok(()), Err)
    }
}
