//! One segment of a log: a file of record batches, its index, and the broker-wide bound on open segments.

mod content;
mod durable;
mod names;
mod open;
mod read;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use millrace_types::{Offset, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskError, FileRef};
use crate::index::{Summary, decode_sidecar, encode_sidecar};

pub(crate) use content::Content;
pub(crate) use durable::DurableName;
pub(crate) use names::{FileKind, file_name, parse_file_name};
pub use open::OpenSegments;
pub(crate) use read::{Found, Range as ReadRange};
pub(crate) use walk::Walk;

/// A segment. Its owner appends to it, any number of readers read; nothing it holds open survives without use, see
/// [`OpenSegments`].
#[derive(Debug)]
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    base: Offset,
    /// Length the file is mapped at: what it may grow to while this process runs.
    limit: AtomicU64,
    content: RwLock<Content>,
    sealed: AtomicBool,
    /// Whether the file exists; an empty segment has none before its first append.
    created: AtomicBool,
    pool: OpenSegments,
    slot: Mutex<Option<FileRef>>,
    /// Whether it was used since the pool last looked.
    touched: AtomicBool,
    /// Whether it holds unflushed bytes: a closed descriptor would lose the error of a failed write-back.
    pinned: AtomicBool,
    /// Why the latest warming failed; the read that would ask for another one reports it instead.
    warm_failure: Mutex<Option<DiskError>>,
    /// When the segment was made or opened, on the wall clock: the age of a segment without timestamps.
    opened_at: AtomicI64,
}

/// Where a segment lies and how it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) pool: OpenSegments,
}

impl Segment {
    /// A segment with `content`; `created` says whether its file exists.
    pub(crate) fn new(home: &Home, content: Content, limit: u64, created: bool, now: Timestamp) -> Arc<Self> {
        let base = content.base();
        Arc::new(Self {
            disk: home.disk.clone(),
            dir: home.dir.clone(),
            path: home.dir.join(file_name(base, FileKind::Log)),
            base,
            limit: AtomicU64::new(limit),
            content: RwLock::new(content),
            sealed: AtomicBool::new(false),
            created: AtomicBool::new(created),
            pool: home.pool.clone(),
            slot: Mutex::new(None),
            touched: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            warm_failure: Mutex::new(None),
            opened_at: AtomicI64::new(now),
        })
    }

    pub(crate) const fn base(&self) -> Offset {
        self.base
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The offset behind the last record.
    pub(crate) fn next(&self) -> Offset {
        self.content.read().next()
    }

    /// Bytes of batches.
    pub(crate) fn used(&self) -> u64 {
        self.content.read().used()
    }

    /// What the segment holds.
    pub(crate) const fn content(&self) -> &RwLock<Content> {
        &self.content
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(crate) fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Release);
    }

    pub(crate) fn is_created(&self) -> bool {
        self.created.load(Ordering::Acquire)
    }

    pub(crate) fn opened_at(&self) -> Timestamp {
        self.opened_at.load(Ordering::Relaxed)
    }

    /// Length the segment may grow to in this process.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// Lets the segment grow to `limit`: the file is mapped anew at its next use.
    pub(crate) fn raise_limit(&self, limit: u64) {
        if self.limit.fetch_max(limit, Ordering::AcqRel) < limit {
            self.slot.lock().take();
        }
    }

    /// The open file.
    ///
    /// # Errors
    /// When it cannot be opened again.
    pub(crate) fn file(self: &Arc<Self>) -> Result<FileRef, DiskError> {
        self.touched.store(true, Ordering::Relaxed);
        let mut slot = self.slot.lock();
        if let Some(file) = &*slot {
            return Ok(file.clone());
        }
        let map_len = if self.is_sealed() { 0 } else { self.limit() };
        let file = self.disk.open(&self.path, map_len)?;
        *slot = Some(file.clone());
        drop(slot);
        self.pool.opened(self);
        Ok(file)
    }

    /// Makes the file with `len` allocated bytes.
    ///
    /// # Errors
    /// As [`Disk::create`]; nothing is changed then.
    pub(crate) fn create(self: &Arc<Self>, len: u64) -> Result<FileRef, DiskError> {
        let file = self.disk.create(&self.path, len, self.limit())?;
        *self.slot.lock() = Some(file.clone());
        self.created.store(true, Ordering::Release);
        self.pool.opened(self);
        Ok(file)
    }

    /// Makes a sealed segment one that takes appends again; the file is mapped anew at its next use.
    pub(crate) fn reopen(&self, limit: u64) {
        self.set_sealed(false);
        self.limit.fetch_max(limit, Ordering::AcqRel);
        self.slot.lock().take();
    }

    /// Marks the segment as one with unflushed bytes, or as one without.
    pub(crate) fn set_pinned(&self, pinned: bool) {
        if self.pinned.swap(pinned, Ordering::AcqRel) && !pinned {
            self.pool.unpinned();
        }
    }

    /// Cuts the file to its used length and writes the sidecar; for a storage thread. A segment that was opened for
    /// appends again in the meantime is left alone.
    ///
    /// # Errors
    /// When the disk fails; the segment is whole without what this does.
    pub(crate) fn finish_seal(self: &Arc<Self>) -> Result<(), DiskError> {
        let content = self.content.read();
        if !self.is_sealed() || !self.is_created() {
            return Ok(());
        }
        let (summary, Some(index)) = (content.summary(), content.index()) else {
            return Ok(());
        };
        // The lock is held over the cut, so that the owner cannot append between the test above and the cut.
        self.file()?.truncate(summary.used)?;
        let bytes = encode_sidecar(&summary, index);
        drop(content);
        write_whole(&self.disk, &self.dir, &file_name(self.base, FileKind::Index), &bytes)
    }

    /// Brings the index of a sealed segment into memory, from the sidecar or by a walk.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub(crate) fn load_index(self: &Arc<Self>) -> Result<(), DiskError> {
        if self.content.read().index().is_some() || !self.is_created() {
            return Ok(());
        }
        let summary = self.content.read().summary();
        let name = self.dir.join(file_name(self.base, FileKind::Index));
        let sidecar = read_whole(&self.disk, &name).ok().and_then(|bytes| decode_sidecar(&bytes).ok());
        let index = match sidecar {
            Some((found, index)) if found == summary => index,
            _ => {
                let bytes = self.file()?.read(0, usize::try_from(summary.used).unwrap_or(usize::MAX))?;
                let mut rebuilt = Content::new(self.base, self.content.read().interval());
                for walked in Walk::new(&bytes) {
                    rebuilt.add(&walked.header);
                }
                rebuilt.take_index()
            }
        };
        let mut content = self.content.write();
        if self.is_sealed() && content.summary() == summary {
            content.set_index(index);
        }
        Ok(())
    }

    /// Drops the index of a sealed segment that was not used since the last call.
    pub(crate) fn forget_idle_index(&self) {
        if self.is_sealed() && !self.touched.swap(false, Ordering::Relaxed) {
            self.content.write().drop_index();
        }
    }
}

/// Writes a small file so that it appears whole or not at all.
///
/// # Errors
/// When the disk fails.
pub(crate) fn write_whole(disk: &Arc<dyn Disk>, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = dir.join(format!("{name}.tmp"));
    match disk.remove_file(&temporary) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let len = bytes.len() as u64;
    let file = disk.create(&temporary, len, len)?;
    file.write_at(0, &[bytes])?;
    file.flush()?;
    disk.rename(&temporary, &dir.join(name))
}

/// Reads a small file.
///
/// # Errors
/// When the disk fails.
pub(crate) fn read_whole(disk: &Arc<dyn Disk>, path: &Path) -> Result<bytes::Bytes, DiskError> {
    let file = disk.open(path, 0)?;
    file.read(0, usize::try_from(file.len()).unwrap_or(usize::MAX))
}

/// Removes a file that may be gone already.
///
/// # Errors
/// When the disk fails.
pub(crate) fn remove_if_there(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), DiskError> {
    match disk.remove_file(path) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The summary a sidecar holds, where there is a good one.
pub(crate) fn sidecar_summary(disk: &Arc<dyn Disk>, dir: &Path, base: Offset) -> Option<Summary> {
    let bytes = read_whole(disk, &dir.join(file_name(base, FileKind::Index))).ok()?;
    crate::index::decode_summary(&bytes).ok()
}
