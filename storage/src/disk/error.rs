//! What can go wrong on a disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// A failed operation on a disk. It is cheap to clone: one failed flush is reported to everyone who waited for it.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no such file or directory.
    #[error("{}: not found", path.display())]
    NotFound {
        /// The missing path, relative to the disk's root.
        path: PathBuf,
    },
    /// The file exists already.
    #[error("{}: exists already", path.display())]
    Exists {
        /// The path, relative to the disk's root.
        path: PathBuf,
    },
    /// The disk, or the quota on it, is full. What existed before is unchanged.
    #[error("{}: no space left", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A read or write outside the allocated length of the file.
    #[error("{}: bytes {pos}..{} are outside the allocated {file_len} bytes", path.display(), pos.saturating_add(*len))]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// First byte asked for.
        pos: u64,
        /// How many bytes were asked for.
        len: u64,
        /// Bytes allocated.
        file_len: u64,
    },
    /// The operating system refused or failed the operation.
    #[error("{}: {operation} failed: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted.
        operation: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// An earlier flush failed, so nothing written since can be promised (consensus rules, 2.2).
    #[error("{}: closed for writing since a flush failed: {cause}", path.display())]
    Poisoned {
        /// What was to be written.
        path: PathBuf,
        /// The failure that closed it.
        cause: Box<DiskError>,
    },
}

impl DiskError {
    /// Whether space is all that is missing, so that the same call can succeed after some was freed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether the path does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The file or directory concerned, relative to the disk's root.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::NotFound { path }
            | Self::Exists { path }
            | Self::Full { path }
            | Self::OutOfRange { path, .. }
            | Self::Io { path, .. }
            | Self::Poisoned { path, .. } => path,
        }
    }

    /// The error the operating system's `source` means for `operation` on `path`.
    pub(crate) fn io(path: &Path, operation: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, operation, source: Arc::new(source) },
        }
    }
}
