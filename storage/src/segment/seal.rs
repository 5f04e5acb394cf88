//! Sealing a segment: its file cut to what is used, its index put beside it and loaded when a read needs it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::whole_file::{read_whole, sidecar_head, write_whole};
use super::{Content, FileKind, Segment, Walk, file_name};
use crate::disk::DiskError;
use crate::index::{decode_sidecar, encode_sidecar};

impl Segment {
    /// Makes a sealed segment one that takes appends again; the file is mapped anew at its next use.
    pub(crate) fn reopen(&self, limit: u64) {
        self.set_sealed(false);
        self.limit.fetch_max(limit, Ordering::AcqRel);
        self.slot.lock().take();
    }

    /// Cuts the file to its used length and writes the sidecar; for a storage thread. A segment that was opened for
    /// appends again in the meantime is left alone.
    ///
    /// # Errors
    /// When the disk fails; the segment is whole without what this does.
    pub(crate) fn finish_seal(self: &Arc<Self>) -> Result<(), DiskError> {
        if self.is_sealed() {
            // It may have been idle for long enough to lose its index before its turn came.
            self.load_index()?;
        }
        let content = self.content.read();
        if !self.is_sealed() || !self.is_created() {
            return Ok(());
        }
        let (summary, Some(index)) = (content.summary(), content.index()) else {
            return Ok(());
        };
        if sidecar_head(&self.disk, &self.dir, self.base).is_some_and(|head| head.summary == summary) {
            // It was finished before.
            return Ok(());
        }
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
                let file = self.file()?;
                let used = summary.used.min(file.len());
                let bytes = file.read(0, usize::try_from(used).unwrap_or(usize::MAX))?;
                let mut rebuilt = Content::new(self.base, self.content.read().interval());
                // The segment may be damaged: what lies behind a batch that does not follow is not known.
                let mut due = self.base;
                for walked in Walk::new(&bytes) {
                    if walked.header.base_offset != due || walked.header.last_offset_delta < 0 {
                        break;
                    }
                    due = walked.header.last_offset() + 1;
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
