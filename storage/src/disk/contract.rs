//! The two traits every disk implements; `tests/disk_contract.rs` holds each implementation to them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::DiskError;

/// A shared handle of an open file. The file is closed, and its mapping dropped, with the last handle and the last
/// [`Bytes`] read from it.
pub type FileRef = Arc<dyn File>;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Allocated length in bytes; 0 for a directory.
    pub len: u64,
}

/// Room of the filesystem the disk's root is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size in bytes.
    pub total: u64,
    /// Bytes an unprivileged process can still allocate.
    pub free: u64,
}

/// A directory tree on a disk. Paths are relative to its root and hold neither `..` nor a leading `/`.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Makes the file `path` with `len` allocated zero bytes, never sparse. It will be mapped once at `map_len`, which
    /// is at least any length it grows to, so that growing needs no other mapping.
    ///
    /// # Errors
    /// [`DiskError::Exists`], [`DiskError::Full`] (then there is no file), [`DiskError::NotFound`] without its parent.
    fn create(&self, path: &Path, len: u64, map_len: u64) -> Result<FileRef, DiskError>;

    /// Opens the file `path`. A `map_len` of 0 stands for the file's length. The mapping is made at the first read.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn open(&self, path: &Path, map_len: u64) -> Result<FileRef, DiskError>;

    /// The entries of `dir`, sorted by name. Names that are not UTF-8 are left out: nothing here makes such names.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError>;

    /// Makes `dir` and its missing parents; no error when it exists.
    ///
    /// # Errors
    /// [`DiskError::Io`], [`DiskError::Full`].
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Renames a file atomically, replacing the file `to`.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file's name; open handles go on working.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn remove_file(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes a directory with all it holds.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError>;

    /// Makes the names in `dir` durable; the empty path is the root.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::Io`].
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Makes everything on the filesystem durable (`syncfs`), files and names alike. It reports write-back errors of
    /// any file on the filesystem since the last call (Linux 5.8 and later), once; after a failure the next flush of
    /// each file concerned reports it too, another call of this does not.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn sync_all(&self) -> Result<(), DiskError>;

    /// Whether [`Disk::sync_all`] reports what could not be written. Where it does not, its success says nothing, and
    /// each file has to be flushed by itself.
    fn sync_all_reports(&self) -> bool {
        true
    }

    /// The room left.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn space(&self) -> Result<Space, DiskError>;
}

/// An open file: written by gathered writes, read through a shared mapping. Writes never leave the allocated length.
pub trait File: Send + Sync + std::fmt::Debug {
    /// The path it was opened by, relative to the disk's root.
    fn path(&self) -> &Path;

    /// The allocated length in bytes.
    fn len(&self) -> u64;

    /// Whether nothing is allocated.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows the file to `len` bytes, zero filled; no effect when it is that long already.
    ///
    /// # Errors
    /// [`DiskError::Full`]: the file is unchanged and a later call may succeed.
    fn allocate(&self, len: u64) -> Result<(), DiskError>;

    /// Writes `parts` one after the other from `pos` on.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`]: nothing was written.
    fn write_at(&self, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError>;

    /// The `len` bytes from `pos`, without a copy where the disk is real. A caller reads only bytes that nobody
    /// writes to any more, and holds none of them beyond a later [`File::truncate`].
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`], [`DiskError::Io`] when the process has no mapping left.
    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError>;

    /// Overwrites `range` with zeros, keeping it allocated.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`].
    fn zero(&self, range: Range<u64>) -> Result<(), DiskError>;

    /// Cuts the file to `len` bytes; no effect when it is that short already.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn truncate(&self, len: u64) -> Result<(), DiskError>;

    /// Makes contents and length durable (`fdatasync`). After an error nothing written since the last success may be
    /// relied upon, whatever a later call says.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn flush(&self) -> Result<(), DiskError>;

    /// Brings `range` into memory; may block on the device, so call it on a storage thread only.
    ///
    /// # Errors
    /// [`DiskError::Io`] where the device cannot deliver the bytes.
    fn warm(&self, range: Range<u64>) -> Result<(), DiskError>;

    /// Whether reading `range` needs no device; the simulated disk always says so.
    fn is_resident(&self, range: Range<u64>) -> bool;
}
