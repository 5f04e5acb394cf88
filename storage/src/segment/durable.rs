//! A file whose name is not durable yet: its flush makes the name durable too.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskError, File, FileRef};

/// Passes everything on to a file, and flushes its directory and all directories above with it.
#[derive(Debug)]
pub(crate) struct DurableName {
    file: FileRef,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl DurableName {
    /// `file` lies in `dir`, which may have been made with it.
    pub(crate) fn wrap(file: FileRef, disk: Arc<dyn Disk>, dir: PathBuf) -> FileRef {
        Arc::new(Self { file, disk, dir })
    }
}

impl File for DurableName {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.file.allocate(len)
    }

    fn write_at(&self, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        self.file.write_at(pos, parts)
    }

    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        self.file.read(pos, len)
    }

    fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.file.zero(range)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.file.truncate(len)
    }

    fn flush(&self) -> Result<(), DiskError> {
        self.file.flush()?;
        self.dir.ancestors().try_for_each(|dir| self.disk.sync_dir(dir))
    }

    fn warm(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.file.warm(range)
    }

    fn is_resident(&self, range: Range<u64>) -> bool {
        self.file.is_resident(range)
    }
}
