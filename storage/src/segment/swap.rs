//! Replacing the file of a sealed segment by a repaired one of the same content.

use std::path::Path;
use std::sync::Arc;

use millrace_types::Offset;

use super::Segment;
use crate::disk::DiskError;

impl Segment {
    /// Number of the file's life: a replacement that was begun in an earlier one comes too late.
    pub(crate) fn life(&self) -> u64 {
        *self.life.lock()
    }

    /// Makes every replacement begun before this harmless, and waits for one that is under way: the segment is cut, or its
    /// files are removed, and no file may come back under its name.
    pub(crate) fn end_life(&self) {
        *self.life.lock() += 1;
    }

    /// Puts the file `by`, which is durable, in the place of this segment's, durably. `false` when it comes too late.
    /// Readers that hold bytes of the old file keep them; later reads open the new one.
    ///
    /// # Errors
    /// The first is of the rename, which changed nothing. The second is of the directory's flush: the name is one of the
    /// two files', and what else was to become durable with the directory is unknown.
    pub(crate) fn replace_file(&self, by: &Path, life: u64) -> Result<Result<bool, DiskError>, DiskError> {
        let current = self.life.lock();
        if *current != life {
            return Ok(Ok(false));
        }
        self.disk.rename(by, &self.path)?;
        self.slot.lock().take();
        let synced = self.disk.sync_dir(&self.dir);
        drop(current);
        Ok(synced.map(|()| true))
    }

    /// The first batch behind `position` that the index knows: its position and base offset; `end` without one.
    pub(crate) fn resume_behind(&self, position: u64, end: (u64, Offset)) -> (u64, Offset) {
        let content = self.content().read();
        let entry = content.index().and_then(|index| index.above_position(position));
        entry.map_or(end, |entry| (u64::from(entry.position), self.base() + i64::from(entry.relative)))
    }

    /// The last batch that begins at or below `offset` that the index knows: its position and base offset.
    pub(crate) fn floor_of(self: &Arc<Self>, offset: Offset) -> (u64, Offset) {
        let content = self.content().read();
        let entry = content.index().map(|index| index.floor_offset(self.relative(offset)));
        entry.map_or_else(
            || (0, self.base()),
            |entry| (u64::from(entry.position), self.base() + i64::from(entry.relative)),
        )
    }
}
