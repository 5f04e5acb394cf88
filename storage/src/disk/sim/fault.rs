//! What the simulated disk does wrong, and when.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::DiskError;

/// A kind of call on the disk or on one of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `Disk::create`.
    Create,
    /// `Disk::open`.
    Open,
    /// `Disk::list`.
    List,
    /// `Disk::create_dir`.
    CreateDir,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove_file` and `Disk::remove_dir_all`.
    Remove,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `Disk::sync_all`.
    SyncAll,
    /// `File::allocate`.
    Allocate,
    /// `File::write_at`.
    Write,
    /// `File::read`.
    Read,
    /// `File::zero`.
    Zero,
    /// `File::truncate`.
    Truncate,
    /// `File::flush`.
    Flush,
    /// `File::warm`.
    Warm,
}

impl Operation {
    /// Whether the call can change what a power loss leaves behind.
    pub(super) fn changes_disk(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read | Self::Warm)
    }

    /// The name the real disk's errors give the call.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::List => "list",
            Self::CreateDir => "mkdir",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncDir => "fsync",
            Self::SyncAll => "syncfs",
            Self::Allocate => "fallocate",
            Self::Write => "pwritev",
            Self::Read => "read",
            Self::Zero => "zero",
            Self::Truncate => "ftruncate",
            Self::Flush => "fdatasync",
            Self::Warm => "madvise",
        }
    }
}

/// One call that fails: the `nth` of its kind, counted from when the fault is set, on a path that contains a text.
///
/// A failed flush leaves each dirty page written or not, and all of them clean, and the lengths to the next flush; a failed write leaves a prefix of its
/// bytes; everything else that fails has no effect.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: Operation,
    nth: u64,
    path: String,
    full: bool,
}

impl Fault {
    /// The `nth` call (1 is the next) fails with an I/O error, whatever its path.
    #[must_use]
    pub fn new(operation: Operation, nth: u64) -> Self {
        Self { operation, nth, path: String::new(), full: false }
    }

    /// Counts and fails only calls whose path contains `text`.
    #[must_use]
    pub fn on(mut self, text: &str) -> Self {
        text.clone_into(&mut self.path);
        self
    }

    /// Fails as if the disk were full.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.full = true;
        self
    }

    /// Counts the call; the error when it is the one to fail.
    pub(super) fn count(&mut self, operation: Operation, path: &Path) -> Option<DiskError> {
        if self.nth == 0 || self.operation != operation || !path.to_string_lossy().contains(&self.path) {
            return None;
        }
        self.nth -= 1;
        if self.nth > 0 {
            return None;
        }
        if self.full {
            return Some(DiskError::Full { path: path.to_owned() });
        }
        Some(failure(operation, path, "injected fault"))
    }

    pub(super) fn is_spent(&self) -> bool {
        self.nth == 0
    }
}

/// An I/O error of the simulated device.
pub(super) fn failure(operation: Operation, path: &Path, why: &'static str) -> DiskError {
    DiskError::Io { path: path.to_owned(), operation: operation.name(), source: Arc::new(io::Error::other(why)) }
}

/// How a simulated disk misbehaves. The default has no fault, no limit and writes some pages back early.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// Bytes that can be allocated in all; `None` is no limit.
    pub capacity: Option<u64>,
    /// Calls that fail.
    pub faults: Vec<Fault>,
    /// The power goes off in the call after this many changing calls: it and all later ones fail.
    pub power_off_after: Option<u64>,
    /// Percentage of flushes, of files and of the whole disk, that fail.
    pub flush_failure_percent: u8,
    /// Percentage of writes after which the kernel writes a dirty page of the file back by itself.
    pub write_back_percent: u8,
    /// Simulated time a flush takes, in microseconds; it adds up in `SimDisk::busy_micros`.
    pub flush_micros: u64,
    /// Whether a failed sync of the whole disk reports success, as that of Linux before 5.8 does.
    pub silent_sync_all: bool,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            capacity: None,
            faults: Vec::new(),
            power_off_after: None,
            flush_failure_percent: 0,
            write_back_percent: 10,
            flush_micros: 0,
            silent_sync_all: false,
        }
    }
}
