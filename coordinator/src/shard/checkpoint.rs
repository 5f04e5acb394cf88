//! The live state as records, in pieces, so that the log before them can go.
//!
//! Every record says all there is to say about its key, and a checkpoint walks over all keys in their order, writing
//! each with the value it has at that moment, in the stream of all other records. So, if the first record of the
//! checkpoint has offset C, for every key k: either k is not touched between C and the moment the walk reaches it, then
//! the walk writes its value behind C; or it is, then that record itself is behind C. What a key is at the end is
//! therefore known from the records at and behind C alone, and the log before C may be deleted. A key that is deleted
//! before the walk reaches it is not written, and no record of it at or behind C says otherwise.

use std::ops::Bound;
use std::sync::Arc;

use super::GroupShard;
use crate::outcome::Record;

/// How far a checkpoint has come: the last key written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointCursor {
    /// The group; empty for the beginning.
    group: Arc<str>,
    /// The last of the group's offsets; `None` when only its metadata is written.
    offset: Option<(Arc<str>, i32)>,
    started: bool,
}

impl GroupShard {
    /// Bytes of the records that hold the live state, about.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.weight.record_bytes
    }

    /// Adds records of the live state behind `cursor` to `records` until `max_bytes` are reached, at least one, and
    /// says where to go on; `None` when the whole state is written.
    #[must_use]
    pub fn checkpoint(
        &self,
        cursor: &CheckpointCursor,
        max_bytes: usize,
        records: &mut Vec<Record>,
    ) -> Option<CheckpointCursor> {
        let mut bytes = 0;
        if let Some(group) = self.groups.get(&cursor.group).filter(|_| cursor.started) {
            for (offset, record) in group.offset_records(cursor.offset.as_ref()) {
                bytes += record.size();
                records.push(record);
                if bytes >= max_bytes {
                    return Some(CheckpointCursor { offset: Some(offset), ..cursor.clone() });
                }
            }
        }
        let from = if cursor.started { Bound::Excluded(&*cursor.group) } else { Bound::Unbounded };
        for (id, group) in self.groups.range::<str, _>((from, Bound::Unbounded)) {
            let at = |offset| CheckpointCursor { group: id.clone(), offset, started: true };
            if let Some(record) = group.metadata_record() {
                bytes += record.size();
                records.push(record);
                if bytes >= max_bytes {
                    return Some(at(None));
                }
            }
            for (offset, record) in group.offset_records(None) {
                bytes += record.size();
                records.push(record);
                if bytes >= max_bytes {
                    return Some(at(Some(offset)));
                }
            }
        }
        None
    }
}
