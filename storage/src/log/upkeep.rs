//! The log's side of upkeep: which segment is looked at next, and what is known to be damaged.

use std::sync::Arc;

use millrace_types::Offset;

use super::Log;
use crate::segment::Segment;
use crate::upkeep::{Cursor, Damage, Mend, Upkeep, UpkeepJob, Where};

impl Log {
    /// What all logs of the broker share of upkeep.
    #[must_use]
    pub const fn upkeep(&self) -> &Upkeep {
        &self.config.upkeep
    }

    /// The next look of the scrub, which goes round over all sealed segments; `None` when there is none.
    pub fn scrub(&mut self) -> Option<UpkeepJob> {
        let sealed = self.sealed();
        let cursor = self.scrub_at;
        let stays = sealed
            .iter()
            .find(|segment| cursor.is_some_and(|at| at.segment == segment.base() && at.position < segment.used()));
        let later = || sealed.iter().find(|segment| cursor.is_none_or(|at| segment.base() > at.segment));
        let segment = stays.or_else(later).or_else(|| sealed.first())?;
        let at = match (stays, cursor) {
            (Some(_), Some(at)) => (at.position, at.due),
            _ => (0, segment.base()),
        };
        Some(self.look(segment, Some(at), segment.base()))
    }

    /// A look at the sealed segment that holds `offset`, where something was met that is not as it was written.
    pub fn scrub_around(&mut self, offset: Offset) -> Option<UpkeepJob> {
        let sealed = self.sealed();
        let segment = sealed.iter().find(|segment| (segment.base()..segment.next()).contains(&offset))?;
        Some(self.look(segment, None, offset))
    }

    /// The scrub has come to `next`.
    pub fn scrubbed(&mut self, next: &Where) {
        let Where(cursor) = next;
        self.scrub_at = Some(*cursor);
    }

    /// Whether records at `offset` are in a sealed segment, whose checksums nobody has compared since they were written.
    #[must_use]
    pub fn is_sealed_at(&self, offset: Offset) -> bool {
        offset < self.active.base()
    }

    /// Readers are refused what is damaged, from now on. `None` when the log holds it no more; else the repair.
    pub fn mend(&self, damage: &Damage) -> Option<Mend> {
        let segment = self.sealed().into_iter().find(|segment| segment.base() == damage.segment)?;
        if damage.to <= self.log_start() || damage.position + damage.len > segment.used() {
            return None;
        }
        self.shared.open_hole(damage.from..damage.to);
        Some(Mend::new(self.home.clone(), self.shared.clone(), segment, damage.clone()))
    }

    /// The log holds no more what was damaged.
    pub fn forget_damage(&self, damage: &Damage) {
        self.shared.close_hole(damage.from..damage.to);
    }

    fn look(&self, segment: &Arc<Segment>, at: Option<(u64, Offset)>, from: Offset) -> UpkeepJob {
        let epochs = self.shared.epochs.read().clone();
        UpkeepJob::check(segment.clone(), at, from, epochs, self.config.upkeep.clone())
    }

    /// Segments that never change again: sealed and flushed.
    fn sealed(&self) -> Vec<Arc<Segment>> {
        let flushed = self.flushed_offset();
        let mut segments = self.segments();
        segments.retain(|segment| {
            segment.is_sealed() && segment.is_created() && segment.used() > 0 && segment.next() <= flushed
        });
        segments
    }
}

/// Where a log has come to with its scrub.
pub(super) type ScrubAt = Option<Cursor>;
