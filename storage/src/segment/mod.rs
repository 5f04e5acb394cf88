//! One segment of a log: a file of record batches, its index, and the broker-wide bound on open segments.

mod content;
mod durable;
mod file;
mod names;
mod open;
mod read;
mod seal;
mod search;
mod swap;
mod walk;
mod whole_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use millrace_types::{Offset, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskError, FileRef};

pub(crate) use content::Content;
pub(crate) use durable::DurableName;
pub(crate) use names::{FileKind, file_name, parse_file_name};
pub use open::OpenSegments;
pub(crate) use read::{Found, Range as ReadRange};
pub(crate) use search::{Pages, Searched, Stamped};
pub(crate) use walk::Walk;
pub(crate) use whole_file::{read_whole, remove_if_there, sidecar_head, write_whole};

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
    /// How often the file was cut or given up; held while another file takes its place.
    life: Mutex<u64>,
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
            life: Mutex::new(0),
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
}
