//! A disk whose files are out of memory until they are read in, to see what waits for that.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use millrace_storage::{DirEntry, Disk, DiskError, File, FileRef, Space};

/// Whether the files of a disk are in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Whether they are not.
    pub(crate) cold: AtomicBool,
    /// Whether reading one in brings all back.
    pub(crate) keeps: AtomicBool,
    /// How often one was read in.
    pub(crate) warmed: AtomicUsize,
}

/// Passes everything on to another disk but the question what is in memory.
#[derive(Debug)]
pub(crate) struct ColdDisk {
    pub(crate) inner: Arc<dyn Disk>,
    pub(crate) memory: Arc<Memory>,
}

#[derive(Debug)]
struct ColdFile {
    inner: FileRef,
    memory: Arc<Memory>,
}

impl ColdDisk {
    fn wrap(&self, inner: FileRef) -> FileRef {
        Arc::new(ColdFile { inner, memory: Arc::clone(&self.memory) })
    }
}

impl Disk for ColdDisk {
    fn create(&self, path: &Path, len: u64, map_len: u64) -> Result<FileRef, DiskError> {
        self.inner.create(path, len, map_len).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path, map_len: u64) -> Result<FileRef, DiskError> {
        self.inner.open(path, map_len).map(|file| self.wrap(file))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.inner.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.inner.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.inner.sync_dir(dir)
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.inner.sync_all()
    }

    fn space(&self) -> Result<Space, DiskError> {
        self.inner.space()
    }
}

impl File for ColdFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.inner.allocate(len)
    }

    fn write_at(&self, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        self.inner.write_at(pos, parts)
    }

    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        self.inner.read(pos, len)
    }

    fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.inner.zero(range)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.inner.truncate(len)
    }

    fn flush(&self) -> Result<(), DiskError> {
        self.inner.flush()
    }

    fn warm(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.memory.warmed.fetch_add(1, Ordering::Relaxed);
        if self.memory.keeps.load(Ordering::Relaxed) {
            self.memory.cold.store(false, Ordering::Relaxed);
        }
        self.inner.warm(range)
    }

    fn is_resident(&self, _: Range<u64>) -> bool {
        !self.memory.cold.load(Ordering::Relaxed)
    }
}
