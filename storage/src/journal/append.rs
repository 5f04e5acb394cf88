//! The open journal: appending, flushing, snapshotting.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::disk::{Disk, DiskError, FileRef};
use crate::poison::Poison;

use super::error::{JournalError, JournalOptions, JournalReport};
use super::file::{self, Writer};
use super::frame;
use super::recover::{self, Names};

/// An open journal. Methods that write fail for good once a flush has failed.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    names: Names,
    options: JournalOptions,
    pub(super) writer: Writer,
    /// Sequence of the next record; records are counted over the journal's whole life, from 0.
    pub(super) next_sequence: u64,
    /// Tail length from which a snapshot is worth its cost; raised after one that failed.
    snapshot_at: u64,
    poison: Poison,
}

/// A flush of a journal that another thread can run while more is appended.
#[derive(Debug)]
pub struct JournalFlush {
    file: FileRef,
    upto: u64,
    durable: Arc<AtomicU64>,
    poison: Poison,
}

impl JournalFlush {
    /// Makes everything durable that was appended before this work was taken.
    ///
    /// # Errors
    /// [`DiskError`]; the journal is then closed for writing.
    pub fn run(self) -> Result<(), DiskError> {
        self.poison.check(self.file.path())?;
        self.file.flush().inspect_err(|error| self.poison.set(error))?;
        self.durable.fetch_max(self.upto, Ordering::AcqRel);
        Ok(())
    }
}

impl Journal {
    /// Opens the journal `name` in the existing directory `dir`, or makes it when the options allow. A torn tail is
    /// cut durably; what is returned, the snapshot's records and then those appended since, is durable.
    ///
    /// # Errors
    /// [`JournalError`]: a missing or damaged file, or one of an unknown format version.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        name: &str,
        options: JournalOptions,
    ) -> Result<(Self, Vec<Bytes>, JournalReport), JournalError> {
        let names = Names { dir: dir.to_owned(), name: name.to_owned() };
        let opened = match names.newest(&**disk)? {
            Some(generation) => recover::open(&**disk, &names, generation)?,
            None if options.create => recover::create(&**disk, &names, &options)?,
            None => return Err(JournalError::Missing { path: names.file(1) }),
        };
        names.keep_a_spare(&**disk, opened.writer.generation, &options)?;
        // The process before may have been killed between giving the newest file its name and syncing the directory.
        disk.sync_dir(dir)?;
        let mut journal = Self {
            disk: Arc::clone(disk),
            names,
            snapshot_at: 0,
            next_sequence: opened.next_sequence,
            writer: opened.writer,
            poison: Poison::default(),
            options,
        };
        journal.snapshot_at = journal.snapshot_threshold();
        journal.flush()?;
        Ok((journal, opened.records, opened.report))
    }

    /// What [`Journal::open`] would find, without changing anything.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn inspect(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(Vec<Bytes>, JournalReport), JournalError> {
        let names = Names { dir: dir.to_owned(), name: name.to_owned() };
        let generation = names.newest(disk)?.ok_or_else(|| JournalError::Missing { path: names.file(1) })?;
        let found = recover::read(disk, &names, generation)?;
        let report = found.report(generation);
        Ok((found.scan.records, report))
    }

    /// Appends `records` to the page cache; they are durable after the next successful flush. Returns the sequence of
    /// the last one, or of the next one to come when there are none.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`] or a full disk: nothing was appended. Anything else closes the journal for writing.
    pub fn append(&mut self, records: &[&[u8]]) -> Result<u64, JournalError> {
        self.poison.check(self.path())?;
        if let Some(record) = records.iter().find(|record| record.len() > self.options.max_record) {
            return Err(JournalError::TooLarge { len: record.len(), max: self.options.max_record });
        }
        if records.is_empty() {
            return Ok(self.next_sequence);
        }
        self.writer.make_room(frame::total_len(records), &self.options)?;
        self.writer
            .write(frame::Kind::Record, self.next_sequence, records)
            .inspect_err(|error| self.poison.set(error))?;
        self.next_sequence += records.len() as u64;
        Ok(self.next_sequence - 1)
    }

    /// The flush of everything appended so far, to be run anywhere.
    #[must_use]
    pub fn flush_work(&self) -> JournalFlush {
        JournalFlush {
            file: Arc::clone(&self.writer.file),
            upto: self.writer.end,
            durable: Arc::clone(&self.writer.durable),
            poison: self.poison.clone(),
        }
    }

    /// Makes everything appended so far durable, and notes in the page cache that it is.
    ///
    /// # Errors
    /// [`JournalError::Disk`]; the journal is then closed for writing.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.flush_work().run()?;
        self.mark()
    }

    /// Notes, in the page cache, up to where the file is durable, so that damage below is found even if nothing is
    /// appended any more. Takes no room that records may need: without more on the disk it is left out.
    pub(crate) fn mark(&mut self) -> Result<(), JournalError> {
        if self.writer.is_marked() {
            return Ok(());
        }
        let len = frame::total_len(&[&[]]);
        match self.writer.make_room(len, &self.options) {
            Err(error) if error.is_full() => return Ok(()),
            result => result?,
        }
        if self.writer.end.saturating_add(len).saturating_add(self.options.reserve) > self.writer.file.len() {
            return Ok(());
        }
        self.writer.write(frame::Kind::Mark, self.next_sequence, &[&[]]).inspect_err(|error| self.poison.set(error))?;
        Ok(())
    }

    /// Whether the records since the snapshot have outgrown it, so that [`Journal::snapshot`] is due.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        !self.poison.is_set() && self.writer.tail_len() > self.snapshot_at
    }

    /// Replaces everything appended so far by `records`, durably.
    ///
    /// # Errors
    /// [`JournalError`]. A full disk, or a failure before the new file took the old one's place, leaves the journal as
    /// it was and is not tried again before the tail has grown; a later failure closes it for writing.
    pub fn snapshot(&mut self, records: &[&[u8]]) -> Result<(), JournalError> {
        self.poison.check(self.path())?;
        self.snapshot_at = self.writer.tail_len() + self.options.room / 4;
        let next = self.writer.generation + 1;
        let mut writer =
            file::write_snapshot(&*self.disk, &self.names, next, self.next_sequence, records, &self.options)?;
        // From here on either file may be the one a start finds, so a failure leaves no file that is safe to append to.
        writer.file = self.names.publish(&*self.disk, next).inspect_err(|error| self.poison.set(error))?;
        let old = std::mem::replace(&mut self.writer, writer);
        self.snapshot_at = self.snapshot_threshold();
        self.names.recycle(&*self.disk, old.generation);
        Ok(())
    }

    fn snapshot_threshold(&self) -> u64 {
        (self.options.room / 2).max(self.writer.snapshot_len().saturating_mul(2))
    }

    /// The failure that closed the journal for writing, if any.
    #[must_use]
    pub fn poison(&self) -> &Poison {
        &self.poison
    }

    /// The file in use.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.writer.file.path()
    }

    /// Bytes appended since the snapshot.
    #[must_use]
    pub fn tail_len(&self) -> u64 {
        self.writer.tail_len()
    }
}
