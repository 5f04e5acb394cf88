//! Reading by offset, of what consumers may see and of what is deleted and still there.

use std::sync::Arc;

use millrace_types::Offset;

use super::slice::{ReadError, Slice, WarmJob};
use super::{LogView, Segments};
use crate::recovery::Rot;
use crate::segment::{Found, ReadRange, Segment};

impl LogView {
    /// Whole batches of one segment: the first one contains `from`, the last one ends at or below `upto`, all together
    /// have at most `max_bytes` bytes unless `at_least_one` asks for a larger first one. Empty when `from == upto`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, from: Offset, upto: Offset, max_bytes: usize, at_least_one: bool) -> Result<Slice, ReadError> {
        self.read_since(self.log_start(), (from, upto), max_bytes, at_least_one)
    }

    /// As [`LogView::read`], of what is deleted and not removed yet too: another replica may need it to repair the segment
    /// that its log start lies in.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_kept(&self, range: (Offset, Offset), max_bytes: usize, at_least_one: bool) -> Result<Slice, ReadError> {
        self.read_since(self.first_kept(), range, max_bytes, at_least_one)
    }

    /// Offset of the first record that is not removed, deleted or not.
    #[must_use]
    pub fn first_kept(&self) -> Offset {
        let start = self.log_start();
        self.shared.segments.load().first().map_or(start, |segment| segment.base().min(start))
    }

    fn read_since(
        &self,
        start: Offset,
        (from, upto): (Offset, Offset),
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slice, ReadError> {
        let end = self.log_end();
        if let Some(rot) = &*self.shared.damage.load()
            && from >= rot.offset
        {
            return Err(ReadError::Damaged(Box::new(Rot::clone(rot))));
        }
        if from < start || from > end {
            return Err(ReadError::OutOfRange { start, end });
        }
        let upto = upto.min(end);
        let empty = Slice { first: from, next: from, ..Slice::default() };
        if from >= upto {
            return Ok(empty);
        }
        let upto =
            self.shared.readable(from, upto).map_err(|hole| ReadError::Hole { from: hole.start, to: hole.end })?;
        let segments = self.shared.segments.load();
        let Some(segment) = containing(&segments, from) else { return Ok(empty) };
        let range = ReadRange { from, upto, max_bytes, at_least_one };
        match segment.read(range)? {
            Found::Batches { bytes, first, next } => Ok(Slice { bytes, first, next, cold: None }),
            Found::Cold => Ok(Slice { cold: Some(WarmJob::new(segment.clone(), range)), ..empty }),
        }
    }
}

/// The segment whose range `offset` lies in.
fn containing(segments: &Segments, offset: Offset) -> Option<&Arc<Segment>> {
    let after = segments.partition_point(|segment| segment.base() <= offset);
    segments.get(after.checked_sub(1)?)
}
