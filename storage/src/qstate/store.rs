//! The open store: starting, putting, flushing, snapshotting.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{DirectoryId, TopicPartition};
use thiserror::Error;

use crate::disk::{Disk, DiskError};
use crate::journal::{Journal, JournalError, JournalFlush, JournalOptions, JournalReport};
use crate::mutation::{Mutation, broken};

use super::codec::{self, DecodeError};
use super::record::{BootRecord, QRecord, SeenStart, ToldStart};
use super::state::{BOOTS_KEPT, BootState, PartitionState, State};

/// Name of the journal in its directory.
const NAME: &str = "qstate";
/// Bytes of records from which the next begin a new record of the journal.
const CHUNK: usize = 1 << 20;

/// What a start knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBoot {
    /// Identity of the data directory; a store of another directory is refused.
    pub directory: DirectoryId,
    /// Identity of the operating system's run.
    pub boot_id: String,
    /// A random number drawn for this start.
    pub nonce: u64,
}

/// The store cannot be opened.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum QStateError {
    /// Its journal is missing, damaged or on a failing disk. A lost store is never replaced by an empty one: that
    /// would forget votes; such a directory starts anew with an identity of its own (consensus rules, 2.1).
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record cannot be understood.
    #[error("{}: record {number}: {error}", path.display())]
    Record {
        /// The journal's file.
        path: PathBuf,
        /// Number of the journal's record, from 0.
        number: usize,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The store belongs to another data directory.
    #[error("the write-ahead store is of directory {found}, not of {expected}")]
    WrongDirectory {
        /// Identity of the data directory.
        expected: DirectoryId,
        /// Identity in the store.
        found: DirectoryId,
    },
}

impl From<DiskError> for QStateError {
    fn from(error: DiskError) -> Self {
        Self::Journal(JournalError::Disk(error))
    }
}

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QStateContents {
    /// The starts recorded in it, oldest first; the last eight of them.
    pub boots: Vec<BootRecord>,
    /// Every known partition.
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
    /// The newest start seen of each directory of other brokers.
    pub seen: Vec<SeenStart>,
    /// What its journal is like.
    pub report: JournalReport,
}

/// The state that `records`, read from `path`, add up to.
fn replay(path: &Path, records: &[Bytes]) -> Result<State, QStateError> {
    let mut state = State::default();
    for (number, bytes) in records.iter().enumerate() {
        let decoded =
            codec::decode_all(bytes).map_err(|error| QStateError::Record { path: path.to_owned(), number, error })?;
        decoded.iter().for_each(|record| state.apply(record));
    }
    Ok(state)
}

/// The open store.
#[derive(Debug)]
pub struct QState {
    pub(super) journal: Journal,
    pub(super) state: State,
    boot: BootState,
    report: JournalReport,
}

impl QState {
    /// Opens the store in `dir`, or makes it when `options.create` allows. When it returns, this start is recorded
    /// durably: its incarnation is one above the greatest recorded before.
    ///
    /// # Errors
    /// [`QStateError`].
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, options: JournalOptions, boot: NewBoot) -> Result<Self, QStateError> {
        disk.create_dir(dir)?;
        disk.sync_dir(dir.parent().unwrap_or_else(|| Path::new("")))?;
        let (journal, records, report) = Journal::open(disk, dir, NAME, options)?;
        let state = replay(journal.path(), &records)?;
        if let Some(known) = state.boots.last().filter(|known| known.directory != boot.directory) {
            return Err(QStateError::WrongDirectory { expected: boot.directory, found: known.directory });
        }
        let incarnation = state.boots.last().map_or(1, |known| known.incarnation + 1);
        let NewBoot { directory, boot_id, nonce } = boot;
        let current = BootRecord { directory, incarnation, boot_id, nonce };
        let earlier = state.boots[state.boots.len().saturating_sub(BOOTS_KEPT - 1)..].to_vec();
        let boot = BootState { current: current.clone(), earlier };
        let mut store = Self { journal, state, boot, report };
        store.put(&[QRecord::Boot(current)])?;
        if !broken(Mutation::IncarnationNotFlushed) {
            store.flush()?;
        }
        Ok(store)
    }

    /// What is in the store in `dir`, without changing anything: no start is recorded and nothing is cut.
    ///
    /// # Errors
    /// [`QStateError`].
    pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<QStateContents, QStateError> {
        let (records, report) = Journal::inspect(disk, dir, NAME)?;
        let State { boots, partitions, seen, told: _ } = replay(dir, &records)?;
        Ok(QStateContents { boots, partitions, seen: seen.into_values().collect(), report })
    }

    /// Appends `records`; they are durable after the next successful [`QState::flush`].
    ///
    /// # Errors
    /// A full disk leaves the store as it was; anything else closes it for writing.
    pub fn put(&mut self, records: &[QRecord]) -> Result<(), DiskError> {
        let chunks = self.encode(records)?;
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        self.journal.append(&chunks).map_err(|error| self.disk_error(error))?;
        records.iter().for_each(|record| self.state.apply(record));
        Ok(())
    }

    /// Makes everything put so far durable, and replaces the journal by a snapshot when it has outgrown the state.
    ///
    /// # Errors
    /// A failed flush; the store is then closed for writing.
    pub fn flush(&mut self) -> Result<(), DiskError> {
        self.flush_work().run()?;
        self.settle()
    }

    /// The flush of everything put so far, to be run anywhere; [`QState::settle`] follows when it succeeded.
    #[must_use]
    pub fn flush_work(&self) -> JournalFlush {
        self.journal.flush_work()
    }

    /// What is due after a flush: notes it in the journal, and snapshots a journal that has outgrown the state.
    ///
    /// # Errors
    /// The store is closed for writing. A snapshot that merely could not be written is tried again later.
    pub fn settle(&mut self) -> Result<(), DiskError> {
        self.journal.mark().map_err(|error| self.disk_error(error))?;
        if !self.journal.needs_snapshot() {
            return Ok(());
        }
        match self.snapshot() {
            Err(error) if self.is_closed() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the write-ahead store could not be snapshotted");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether a flush failed, so that nothing can be put any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.journal.poison().is_set()
    }

    /// The records as records of the journal, each of about [`CHUNK`] bytes at most.
    fn encode(&self, records: &[QRecord]) -> Result<Vec<Vec<u8>>, DiskError> {
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        for record in records {
            codec::encode(record, &mut chunk).map_err(|error| {
                DiskError::io(self.journal.path(), "encode", io::Error::new(io::ErrorKind::InvalidInput, error))
            })?;
            if chunk.len() >= CHUNK {
                chunks.push(std::mem::take(&mut chunk));
            }
        }
        chunks.extend((!chunk.is_empty()).then_some(chunk));
        Ok(chunks)
    }

    fn snapshot(&mut self) -> Result<(), DiskError> {
        let records: Vec<QRecord> = self.state.records().collect();
        let chunks = self.encode(&records)?;
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        self.journal.snapshot(&chunks).map_err(|error| self.disk_error(error))
    }

    fn disk_error(&self, error: JournalError) -> DiskError {
        match error {
            JournalError::Disk(error) => error,
            error => DiskError::io(self.journal.path(), "append", io::Error::new(io::ErrorKind::InvalidInput, error)),
        }
    }

    /// What is known about a partition; `None` when it was never mentioned, or forgotten.
    #[must_use]
    pub fn partition(&self, tp: TopicPartition) -> Option<&PartitionState> {
        self.state.partitions.get(&tp)
    }

    /// Every known partition, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionState)> {
        self.state.partitions.iter().map(|(tp, state)| (*tp, state))
    }

    /// What each other broker is known to remember of this directory.
    pub fn told(&self) -> impl Iterator<Item = ToldStart> {
        self.state.told.values().copied()
    }

    /// The newest start that was seen of each directory of other brokers.
    pub fn seen(&self) -> impl Iterator<Item = SeenStart> {
        self.state.seen.values().copied()
    }

    /// This start and those before.
    #[must_use]
    pub fn boot(&self) -> &BootState {
        &self.boot
    }

    /// What opening found.
    #[must_use]
    pub fn report(&self) -> &JournalReport {
        &self.report
    }
}
