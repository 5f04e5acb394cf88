//! The repair of a damaged segment: another file beside it gets what is good of the old one and the records of another
//! replica, becomes durable, and takes the old one's place.
//!
//! A crash in between leaves the one or the other; a file that was not finished is removed by the next start.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::Offset;
use parking_lot::Mutex;

use super::check::judge;
use super::{Damage, Upkept};
use crate::disk::{DiskError, FileRef};
use crate::epoch_cache::EpochCache;
use crate::mutation::{Mutation, broken};
use crate::segment::{FileKind, Home, Segment, file_name, remove_if_there};
use crate::view::Shared;

/// Bytes copied in one go.
const COPY: u64 = 4 << 20;

/// A repair under way. Clones share it.
#[derive(Debug, Clone)]
pub struct Mend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: Home,
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    /// That of the segment's file when the repair began.
    life: u64,
    damage: Damage,
    epochs: EpochCache,
    /// The file that is being written.
    file: Mutex<Option<FileRef>>,
}

impl Mend {
    pub(crate) fn new(home: Home, shared: Arc<Shared>, segment: Arc<Segment>, damage: Damage) -> Self {
        let (life, epochs) = (segment.life(), shared.epochs.read().clone());
        Self(Arc::new(Inner { home, shared, segment, life, damage, epochs, file: Mutex::new(None) }))
    }

    /// What is repaired.
    #[must_use]
    pub fn damage(&self) -> &Damage {
        &self.0.damage
    }

    /// Whether the segment was cut or deleted since: nothing is left to repair.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.0.segment.life() != self.0.life && !broken(Mutation::RepairTooLate)
    }

    /// Takes `records`, whole batches as another replica stores them, for position and offset `at`. With the last of them
    /// the segment is repaired.
    pub(crate) fn fill(&self, at: (u64, Offset), records: &Bytes) -> Upkept {
        let mend = &*self.0;
        if self.is_late() {
            mend.abandon();
            return Upkept::Late;
        }
        let next = match mend.verify(at, records) {
            Ok(next) => next,
            Err(_) if broken(Mutation::TakeAnyRepair) => {
                let next = at.0 + records.len() as u64;
                (next, if next >= mend.end() { mend.damage.to } else { at.1 + 1 })
            }
            Err(reason) => return Upkept::Refused { reason },
        };
        match mend
            .write(at.0, records)
            .and_then(|()| if next.1 == mend.damage.to { mend.finish() } else { Ok(Upkept::Filled { next }) })
        {
            Ok(done) => done,
            Err(error) => {
                mend.abandon();
                Upkept::Failed { error, fatal: false }
            }
        }
    }
}

impl Inner {
    /// Position behind the damage.
    fn end(&self) -> u64 {
        self.damage.position + self.damage.len
    }

    fn path(&self) -> PathBuf {
        self.home.dir.join(format!("{}.tmp", file_name(self.damage.segment, FileKind::Log)))
    }

    /// Where the records end: behind batches of the known epochs that follow each other and whose checksums hold, no
    /// further than the damage. Logs that hold a record of the same offset and epoch hold the same bytes for it, so the
    /// last batch ends exactly where the damaged one did.
    fn verify(&self, at: (u64, Offset), records: &Bytes) -> Result<(u64, Offset), String> {
        let (mut position, mut offset) = at;
        let mut rest = records.clone();
        while !rest.is_empty() {
            let header = judge(&rest, offset, self.damage.to, &self.epochs)?;
            drop(rest.split_to(header.size()));
            (position, offset) = (position + header.size() as u64, header.last_offset() + 1);
        }
        let fits = if offset == self.damage.to { position == self.end() } else { position < self.end() };
        if offset == at.1 || !fits {
            return Err(format!("records up to offset {offset} end at position {position} of {}", self.end()));
        }
        Ok((position, offset))
    }

    fn write(&self, position: u64, records: &Bytes) -> Result<(), DiskError> {
        let mut slot = self.file.lock();
        let file = match &*slot {
            Some(file) => file.clone(),
            None => slot.insert(self.begin()?).clone(),
        };
        file.write_at(position, &[records])
    }

    /// Makes the file and copies what lies around the damage.
    fn begin(&self) -> Result<FileRef, DiskError> {
        let (path, used) = (self.path(), self.segment.used());
        remove_if_there(&self.home.disk, &path)?;
        let file = self.home.disk.create(&path, used, used)?;
        let old = match self.segment.file() {
            Ok(old) => old,
            Err(error) if error.is_not_found() => return Ok(file),
            Err(error) => return Err(error),
        };
        for (mut from, to) in [(0, self.damage.position), (self.end(), used)] {
            let to = to.min(old.len());
            while from < to {
                let len = (to - from).min(COPY);
                let bytes = old.read(from, usize::try_from(len).unwrap_or(usize::MAX))?;
                file.write_at(from, &[&bytes])?;
                from += len;
            }
        }
        Ok(file)
    }

    /// Makes the file durable and puts it in its place.
    fn finish(&self) -> Result<Upkept, DiskError> {
        let Some(file) = self.file.lock().take() else { return Ok(Upkept::Late) };
        if !broken(Mutation::RepairNotFlushed) {
            file.flush()?;
        }
        let life = if broken(Mutation::RepairTooLate) { self.segment.life() } else { self.life };
        match self.segment.replace_file(&self.path(), life)? {
            Ok(true) => {
                self.shared.close_hole(self.damage.from..self.damage.to);
                Ok(Upkept::Mended)
            }
            Ok(false) => {
                self.abandon();
                Ok(Upkept::Late)
            }
            Err(error) => Ok(Upkept::Failed { error, fatal: true }),
        }
    }

    /// Removes what was written.
    fn abandon(&self) {
        self.file.lock().take();
        if let Err(error) = remove_if_there(&self.home.disk, &self.path()) {
            tracing::warn!(%error, "what was written of a repair stays until the next start");
        }
    }
}
