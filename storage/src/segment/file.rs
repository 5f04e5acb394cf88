//! The file of a segment: made, opened and mapped at need.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Segment;
use crate::disk::{DiskError, FileRef};

impl Segment {
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

    /// Marks the segment as one with unflushed bytes, or as one without.
    pub(crate) fn set_pinned(&self, pinned: bool) {
        if self.pinned.swap(pinned, Ordering::AcqRel) && !pinned {
            self.pool.unpinned();
        }
    }
}
