//! Upkeep as work for a storage thread, and what it comes to.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::Offset;

use super::check::{check, intact_prefix};
use super::{Damage, Mend, Upkeep};
use crate::disk::DiskError;
use crate::epoch_cache::EpochCache;
use crate::segment::Segment;
use crate::view::{LogView, Slice};

/// Bytes lent at once; one batch may be larger.
const LEND: usize = 1 << 20;
/// How often a range is read in that is not in memory: its pages may be lost again.
const MAX_WARM_ROUNDS: usize = 2;

/// Where the scrub has come to: a batch of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    /// Base offset of the segment.
    pub(crate) segment: Offset,
    /// Position of the batch.
    pub(crate) position: u64,
    /// Its base offset.
    pub(crate) due: Offset,
}

/// A piece of upkeep; it may block on the device.
#[derive(Debug)]
pub struct UpkeepJob(Task);

#[derive(Debug)]
enum Task {
    Check { segment: Arc<Segment>, at: Option<(u64, Offset)>, range: Range<Offset>, epochs: EpochCache, upkeep: Upkeep },
    Fill { mend: Mend, at: (u64, Offset), records: Bytes },
    Lend { id: u64, view: LogView, from: Offset, upto: Offset },
}

/// What a piece of upkeep came to.
#[derive(Debug)]
pub enum Upkept {
    /// A stretch of a segment was compared with what it must hold.
    Checked {
        /// Where the scrub goes on.
        next: Where,
        /// Everything in the segment was looked at from where the look began up to this offset.
        upto: Offset,
        /// The damage that was found.
        damage: Option<Damage>,
    },
    /// Records were written; those for this position and offset are due.
    Filled {
        /// Position in the segment's file, and offset.
        next: (u64, Offset),
    },
    /// Records were read for the repair of another replica's log.
    Lent {
        /// The caller's number for it.
        id: u64,
        /// Whole batches whose checksums hold, the first at the offset asked for; nothing when they cannot be had.
        records: Bytes,
        /// Where the next batch is damaged.
        damaged_at: Option<Offset>,
    },
    /// The segment is whole.
    Mended,
    /// The segment is no longer what it was: it was cut, or deleted.
    Late,
    /// The records are not those that are missing.
    Refused {
        /// Why not.
        reason: String,
    },
    /// The disk failed; the damaged file is in its place.
    Failed {
        /// The failure.
        error: DiskError,
        /// What other files need of the directory is in doubt: the log can take nothing more.
        fatal: bool,
    },
}

/// A place in a log that only the log reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Where(pub(crate) Cursor);

impl Where {
    /// Whether nothing of the segment is left to be looked at.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.0.position == u64::MAX
    }
}

impl UpkeepJob {
    /// A look at a segment from `at` on, or from the batch in front of the range that the index knows, no further than the
    /// range.
    pub(crate) fn check(
        segment: Arc<Segment>,
        at: Option<(u64, Offset)>,
        range: Range<Offset>,
        epochs: EpochCache,
        upkeep: Upkeep,
    ) -> Self {
        Self(Task::Check { segment, at, range, epochs, upkeep })
    }

    /// The next records of a repair.
    #[must_use]
    pub fn fill(mend: &Mend, at: (u64, Offset), records: Bytes) -> Self {
        Self(Task::Fill { mend: mend.clone(), at, records })
    }

    /// Reads whole batches from `from` on, below `upto`, for the repair of another replica's log.
    #[must_use]
    pub fn lend(id: u64, view: LogView, from: Offset, upto: Offset) -> Self {
        Self(Task::Lend { id, view, from, upto })
    }

    /// Does the work.
    #[must_use]
    pub fn run(self) -> Upkept {
        match self.0 {
            Task::Fill { mend, at, records } => mend.fill(at, &records),
            Task::Lend { id, view, from, upto } => {
                let (records, damaged_at) = lend(&view, from, upto);
                Upkept::Lent { id, records, damaged_at }
            }
            Task::Check { segment, at, range, epochs, upkeep } => look(&segment, at, range, &epochs, &upkeep),
        }
    }
}

fn lend(view: &LogView, from: Offset, upto: Offset) -> (Bytes, Option<Offset>) {
    for _ in 0..=MAX_WARM_ROUNDS {
        match view.read_kept((from, upto), LEND, true) {
            Ok(Slice { cold: Some(job), .. }) => job.run(),
            Ok(slice) if slice.first == from => {
                let (len, next) = intact_prefix(&slice.bytes, from);
                let damaged_at = (len < slice.bytes.len()).then_some(next);
                return (slice.bytes.slice(..len), damaged_at);
            }
            Ok(_) => return (Bytes::new(), None),
            Err(error) => {
                tracing::warn!(from, %error, "records cannot be lent");
                return (Bytes::new(), None);
            }
        }
    }
    (Bytes::new(), None)
}

fn look(
    segment: &Arc<Segment>,
    at: Option<(u64, Offset)>,
    range: Range<Offset>,
    epochs: &EpochCache,
    upkeep: &Upkeep,
) -> Upkept {
    let life = segment.life();
    let looked = segment.load_index().and_then(|()| {
        let at = at.unwrap_or_else(|| segment.floor_of(range.start));
        check(segment, at, range.end, epochs)
    });
    let rest = Cursor { segment: segment.base(), position: u64::MAX, due: range.end };
    match looked {
        Ok(checked) => {
            upkeep.scrubbed(checked.bytes);
            let next = if checked.due < range.end {
                Cursor { position: checked.next, due: checked.due, ..rest }
            } else {
                rest
            };
            // What was cut or removed meanwhile owes nothing.
            let damage = checked.damage.filter(|_| segment.life() == life);
            Upkept::Checked { next: Where(next), upto: checked.due, damage }
        }
        Err(error) => {
            tracing::warn!(%error, "a segment cannot be looked at");
            Upkept::Checked { next: Where(rest), upto: range.end, damage: None }
        }
    }
}
