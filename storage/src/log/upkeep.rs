//! The log's side of upkeep: which segment is looked at next, and what is known to be damaged.

use std::ops::Range;
use std::sync::Arc;

use millrace_types::{Now, Offset};

use super::Log;
use crate::segment::Segment;
use crate::upkeep::{Cursor, Damage, Mend, Upkeep, UpkeepJob, Where};

/// Whether a stretch of the log can be looked at.
#[derive(Debug)]
pub enum Look {
    /// It can: the job looks.
    Ready(UpkeepJob),
    /// When everything in front of the active segment is flushed.
    Later,
    /// The log does not hold it any more.
    Gone,
}

impl Log {
    /// What all logs of the broker share of upkeep.
    #[must_use]
    pub const fn upkeep(&self) -> &Upkeep {
        &self.config.upkeep
    }

    /// The next look of the scrub, which goes round over everything that is flushed; `None` when nothing is.
    pub fn scrub(&mut self) -> Option<UpkeepJob> {
        let settled = self.settled();
        let cursor = self.scrub_at;
        let is_left = |at: &Cursor, segment: &Segment, upto: Offset| {
            at.segment == segment.base() && at.position < segment.used() && at.due < upto
        };
        let stays = settled.iter().find(|(segment, upto)| cursor.is_some_and(|at| is_left(&at, segment, *upto)));
        let later = || settled.iter().find(|(segment, _)| cursor.is_none_or(|at| segment.base() > at.segment));
        let (segment, upto) = stays.or_else(later).or_else(|| settled.first())?;
        let at = match (stays, cursor) {
            (Some(_), Some(at)) => (at.position, at.due),
            _ => (0, segment.base()),
        };
        Some(self.look(segment, Some(at), segment.base()..*upto))
    }

    /// A look from `offset` on at the segment that holds it, where something was met that is not as it was written; or
    /// where an earlier look has come to. Only what is sealed and durable can be repaired, so the active segment is sealed
    /// for it.
    pub fn look_around(&mut self, offset: Offset, next: Option<&Where>, now: Now) -> Look {
        let segments = self.segments();
        let holds = |segment: &&Arc<Segment>| (segment.base()..segment.next()).contains(&offset);
        let Some(segment) = segments.iter().find(holds).filter(|_| offset >= self.log_start()) else {
            return Look::Gone;
        };
        if Arc::ptr_eq(segment, &self.active) {
            let next = self.next_segment(now);
            self.enter(next);
        }
        if segment.next() > self.flushed_offset() {
            return Look::Later;
        }
        let goes_on = next.filter(|Where(at)| at.segment == segment.base() && at.position < segment.used());
        let at = goes_on.map(|Where(at)| (at.position, at.due));
        Look::Ready(self.look(segment, at, offset..segment.next()))
    }

    /// The scrub has come to `next`.
    pub fn scrubbed(&mut self, next: &Where) {
        let Where(cursor) = next;
        self.scrub_at = Some(*cursor);
    }

    /// Bytes that a look of the scrub reads at most, for a log that is not empty.
    #[must_use]
    pub fn scrub_cost(&self) -> Option<u64> {
        let is_flushed = self.flushed_offset() > self.log_start();
        is_flushed.then(|| self.size_bytes().clamp(SMALL_LOOK, crate::upkeep::STRETCH))
    }

    /// Whether records at `offset` may have come from the disk since somebody last compared their checksums: they are in a
    /// sealed segment, or were there when the log was opened or cut, or may have left the page cache.
    #[must_use]
    pub fn is_settled_at(&self, offset: Offset) -> bool {
        offset < self.active.base().max(self.grown_from) || self.active.may_be_cold(self.active.position_of(offset))
    }

    /// Whether the damaged segment still takes appends: it is looked at again when it is sealed.
    #[must_use]
    pub fn is_active(&self, damage: &Damage) -> bool {
        damage.segment == self.active.base()
    }

    /// What the log still holds of something damaged, after a cut or a deletion.
    #[must_use]
    pub fn rest_of(&self, damage: &Damage) -> Option<Range<Offset>> {
        let rest = damage.from.max(self.log_start())..damage.to.min(self.log_end());
        (!rest.is_empty()).then_some(rest)
    }

    /// Readers are refused what is damaged, from now on. `None` when the log holds it no more; else the repair.
    pub fn mend(&self, damage: &Damage) -> Option<Mend> {
        let segments = self.segments();
        let segment = segments.into_iter().find(|segment| segment.base() == damage.segment && segment.is_sealed())?;
        let is_there = segment.next() <= self.flushed_offset() && damage.position + damage.len <= segment.used();
        if damage.to <= self.log_start() || !is_there {
            return None;
        }
        self.shared.open_hole(damage.from..damage.to);
        Some(Mend::new(self.home.clone(), self.shared.clone(), segment, damage.clone()))
    }

    /// Readers are refused `range`, which nobody has looked at yet.
    pub fn hide(&self, range: Range<Offset>) {
        self.shared.open_hole(range);
    }

    /// Readers are refused `range` no more: the log holds it no longer, or it was looked at.
    pub fn show(&self, range: Range<Offset>) {
        self.shared.close_hole(range);
    }

    fn look(&self, segment: &Arc<Segment>, at: Option<(u64, Offset)>, range: Range<Offset>) -> UpkeepJob {
        let epochs = self.shared.epochs.read().clone();
        UpkeepJob::check(segment.clone(), at, range, epochs, self.config.upkeep.clone())
    }

    /// The segments with records that never change again, and up to where: what is flushed.
    fn settled(&self) -> Vec<(Arc<Segment>, Offset)> {
        let flushed = self.flushed_offset();
        let holds = |segment: &Arc<Segment>| segment.is_created() && segment.used() > 0 && segment.base() < flushed;
        let settled = self.segments().into_iter().filter(holds);
        settled.map(|segment| (segment.next().min(flushed), segment)).map(|(upto, segment)| (segment, upto)).collect()
    }
}

/// What a look of the scrub is reckoned with at least: the files of many small logs have to be opened for it.
const SMALL_LOOK: u64 = 256 << 10;

/// Where a log has come to with its scrub.
pub(super) type ScrubAt = Option<Cursor>;
