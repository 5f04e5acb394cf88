//! The thread that writes the metadata journal.
//!
//! It has one job at a time: the actor of the metadata store collects what comes while a batch is written. A snapshot
//! can take long, which is why it is not done on a thread that flushes partitions.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use millrace_storage::{DiskError, Journal, JournalError};

use super::inbox::Inbox;
use super::parcel::Completion;

/// Records for the journal.
#[derive(Debug)]
pub(super) struct Persist {
    /// The store's number for them.
    pub(super) token: u64,
    /// The records.
    pub(super) records: Vec<Bytes>,
    /// What can stand for everything up to the last of `records`.
    pub(super) snapshot: Option<Vec<Bytes>>,
    /// Whether the snapshot is what is to be persisted, and not only a shorter form of it.
    pub(super) replaces: bool,
}

/// The thread of the metadata journal.
#[derive(Debug)]
pub(crate) struct JournalThread {
    batches: Option<Sender<Vec<Persist>>>,
    thread: Option<JoinHandle<()>>,
}

impl JournalThread {
    /// Starts the thread; completions go to `inbox`.
    ///
    /// # Errors
    /// When the process can start no thread.
    pub(crate) fn start(journal: Journal, inbox: Arc<Inbox>) -> io::Result<Self> {
        // The actor sends the next batch only after it has seen the completions of the one before.
        let (batches, jobs) = bounded(1);
        let thread = Builder::new().name("metadata-journal".to_owned()).spawn(move || run(journal, &jobs, &inbox))?;
        Ok(Self { batches: Some(batches), thread: Some(thread) })
    }

    /// Writes a batch; every element completes as [`Completion::Persisted`].
    pub(super) fn write(&self, batch: Vec<Persist>) {
        let Some(batches) = &self.batches else { return };
        let refused = batches.try_send(batch).is_err();
        debug_assert!(!refused, "the batch before is not done");
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn run(mut journal: Journal, jobs: &Receiver<Vec<Persist>>, inbox: &Inbox) {
    while let Ok(batch) = jobs.recv() {
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            // One flush for all records up to the next snapshot, which must not stand for more than it holds.
            let end = rest.iter().position(|persist| persist.snapshot.is_some()).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at(end);
            rest = later;
            for (token, result) in write(&mut journal, now) {
                inbox.complete(Completion::Persisted { token, result });
            }
        }
    }
}

/// Writes records, and the snapshot that comes with the last of them.
fn write(journal: &mut Journal, batch: &[Persist]) -> Vec<(u64, Result<(), DiskError>)> {
    let result = append(journal, batch);
    let mut results: Vec<_> = batch.iter().map(|persist| (persist.token, result.clone())).collect();
    if result.is_ok()
        && let (Some(last), Some(told)) = (batch.last(), results.last_mut())
        && let Some(snapshot) = &last.snapshot
        && let Err(error) = journal.snapshot(&slices(snapshot))
    {
        if last.replaces {
            told.1 = Err(disk_error(error));
        } else {
            tracing::warn!(%error, "the metadata snapshot was not written; the journal goes on growing");
        }
    }
    results
}

fn append(journal: &mut Journal, batch: &[Persist]) -> Result<(), DiskError> {
    let records: Vec<&[u8]> = batch.iter().flat_map(|persist| slices(&persist.records)).collect();
    let written = journal.append(&records).and_then(|_sequence| journal.flush());
    written.map_err(|error| {
        tracing::error!(%error, "the metadata journal cannot be written");
        disk_error(error)
    })
}

fn slices(records: &[Bytes]) -> Vec<&[u8]> {
    records.iter().map(|record| &**record).collect()
}

fn disk_error(error: JournalError) -> DiskError {
    match error {
        JournalError::Disk(error) => error,
        other => DiskError::Io {
            path: millrace_storage::METADATA_DIR.into(),
            operation: "append to the journal",
            source: Arc::new(io::Error::other(other.to_string())),
        },
    }
}
