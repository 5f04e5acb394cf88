//! The open data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_types::DirectoryId;
use rustix::fs::{FlockOperation, flock, fstatvfs};
use thiserror::Error;

use super::identity::{self, Identity, NewIdentity};
use super::names;
use crate::disk::{Disk, DiskError, OverlayDisk, RealDisk};

const LOCK: &str = "LOCK";

/// A data directory cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process uses it.
    #[error("{}: the data directory is in use by another process", root.display())]
    Locked {
        /// The directory.
        root: PathBuf,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is none.
    #[error("{}: not a data directory: it has no {file}", root.display())]
    Missing {
        /// The directory.
        root: PathBuf,
        /// The file that every data directory has.
        file: &'static str,
    },
    /// What says whose directory it is has been lost.
    #[error(
        "{file} is missing, but there are {held}: {file} names the cluster and the directory they belong to. Put it back \
         from a copy of this directory, or start on an empty directory; nothing was changed here"
    )]
    LostIdentity {
        /// The file.
        file: &'static str,
        /// What the directory holds.
        held: &'static str,
    },
    /// It was written by a version whose format is not known here.
    #[error("{file}: format version {found} is unknown; this program knows version {known}")]
    UnknownVersion {
        /// The file that says so.
        file: &'static str,
        /// The version it names.
        found: u64,
        /// The version this program writes and reads.
        known: u64,
    },
    /// A file in it cannot be understood.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// An open data directory. It is locked for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    disk: Arc<dyn Disk>,
    identity: Identity,
    boot_id: String,
    clean: bool,
    fresh: bool,
    /// The lock goes with the descriptor; a simulated directory has none.
    _lock: Option<fs::File>,
}

impl DataDir {
    /// Opens the data directory `root` and takes its lock; one that does not exist is made, with the identity `new`.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(root: &Path, new: NewIdentity) -> Result<Self, DataDirError> {
        let failed = |operation| move |error| DiskError::io(root, operation, error);
        let missing: Vec<&Path> =
            root.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        fs::create_dir_all(root).map_err(failed("mkdir"))?;
        for made in missing {
            let made = made.canonicalize().map_err(failed("resolve"))?;
            let parent = fs::File::open(made.parent().unwrap_or(&made)).map_err(failed("open"))?;
            parent.sync_all().map_err(failed("fsync"))?;
        }
        let lock = fs::File::options().write(true).create(true).truncate(false).open(root.join(LOCK));
        let lock = lock.map_err(failed("open"))?;
        take(&lock, root, FlockOperation::NonBlockingLockExclusive)?;
        let boot_id = boot_id(&lock).map_err(failed("read the boot id of"))?;
        let disk = Arc::new(RealDisk::open(root)?);
        Ok(Self { _lock: Some(lock), ..Self::open_on(disk, new, boot_id)? })
    }

    /// Opens the existing data directory `root` to look at it: whatever is done to its disk stays in memory and is
    /// forgotten. Until the value is dropped no broker can start on the directory; others can look at it as well.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn inspect(root: &Path) -> Result<Self, DataDirError> {
        let file = identity::IDENTITY;
        if !root.join(file).exists() {
            return Err(DataDirError::Missing { root: root.to_owned(), file });
        }
        let failed = |operation| move |error| DiskError::io(root, operation, error);
        // A lock needs no file of its own: where LOCK is gone, no broker has started since.
        let lock = fs::File::open(root.join(LOCK)).or_else(|_| fs::File::open(root.join(file)));
        let lock = lock.map_err(failed("open"))?;
        take(&lock, root, FlockOperation::NonBlockingLockShared)?;
        let boot_id = boot_id(&lock).map_err(failed("read the boot id of"))?;
        let disk = Arc::new(OverlayDisk::new(Arc::new(RealDisk::open_read_only(root)?)));
        // The directory has an identity already: this one is never given.
        let new = NewIdentity { directory_id: DirectoryId(uuid::Uuid::nil()), cluster_id: String::new() };
        Ok(Self { _lock: Some(lock), ..Self::open_on(disk, new, boot_id)? })
    }

    /// Opens the data directory that is the whole of `disk`, without a lock, for simulations. `boot_id` is the
    /// identity of the simulated operating system's run.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open_on(disk: Arc<dyn Disk>, new: NewIdentity, boot_id: String) -> Result<Self, DataDirError> {
        let (identity, created) = identity::load_or_create(&*disk, new)?;
        let clean = identity::consume_clean_marker(&*disk, &identity)?;
        let fresh = created || names::held(&*disk)?.is_none();
        Ok(Self { disk, identity, boot_id, clean, fresh, _lock: None })
    }

    /// The tree as a disk.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Whose directory it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the previous process stopped cleanly, having flushed everything.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// Identity of the operating system's run and of the filesystem: equal at two starts when everything written
    /// between them is still in the page cache or on the disk.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Whether the directory holds no state yet, so that a write-ahead store may be made in it. Otherwise a missing
    /// one has been lost, and must not be replaced by an empty one.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Records durably that everything is flushed; the last act of a clean stop.
    ///
    /// # Errors
    /// [`DiskError`]; the next start then recovers as after a crash.
    pub fn mark_clean(&self) -> Result<(), DiskError> {
        identity::write_clean_marker(&*self.disk, &self.identity)
    }
}

/// Takes a lock without waiting for it.
fn take(lock: &fs::File, root: &Path, operation: FlockOperation) -> Result<(), DataDirError> {
    match flock(lock, operation) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked { root: root.to_owned() }),
        result => Ok(result.map_err(|error| DiskError::io(root, "flock", error.into()))?),
    }
}

/// The kernel's random id of this boot, and the id of the filesystem `file` is on: a copy of the directory on another
/// filesystem has not its page cache.
fn boot_id(file: &fs::File) -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(format!("{}/{:x}", boot.trim(), fstatvfs(file)?.f_fsid))
}
