//! What is counted and logged of elections and in-sync replicas.
//!
//! A broker that dies moves thousands of leaders at once, and a log of thousands of lines tells nobody what has happened: a few
//! lines of a moment name their partitions, the others are told as a number. What may have cost records is always told.

use metrics::Counter;
use millrace_raft::{RoleKind, Status, Tally};
use millrace_types::{Instant, TopicPartition};
use parking_lot::Mutex;

use crate::metrics as names;

/// Lines of one kind that name their partition, within [`MOMENT`].
const LINES: u64 = 16;
/// How long a moment is. After it, what was left out is told at the next look.
pub(crate) const MOMENT: std::time::Duration = std::time::Duration::from_secs(5);

/// What there are lines of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Elected,
    Ended,
    InSync,
}

/// The kinds, with what a sum of each is called.
const KINDS: [(Kind, &str); 3] = [
    (Kind::Elected, "further partitions are led here now"),
    (Kind::Ended, "further partitions are led here no longer"),
    (Kind::InSync, "further changes of in-sync replicas"),
];

/// The lines of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    begun: Instant,
    told: u64,
    left_out: u64,
}

impl Lines {
    /// Whether a line may be told now; else it is counted.
    fn admit(&mut self, now: Instant) -> bool {
        if self.begun.after(MOMENT) <= now && self.left_out == 0 {
            *self = Self { begun: now, ..Self::default() };
        }
        let may = self.told < LINES;
        if may {
            self.told += 1
        } else {
            self.left_out += 1
        }
        may
    }

    /// What was left out of a moment that is over.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let over = self.begun.after(MOMENT) <= now && self.left_out > 0;
        over.then(|| std::mem::take(self).left_out)
    }
}

/// The counters of replication, and the bounded log of it.
#[derive(Debug)]
pub(crate) struct Replication {
    begun: Counter,
    won: Counter,
    unclean: Counter,
    shrinks: Counter,
    expansions: Counter,
    lines: Mutex<[Lines; KINDS.len()]>,
}

impl Replication {
    /// As [`crate::metrics::Meters::new`].
    pub(crate) fn new() -> Self {
        Self {
            begun: metrics::counter!(names::ELECTIONS_BEGUN),
            won: metrics::counter!(names::ELECTIONS_WON),
            unclean: metrics::counter!(names::UNCLEAN_RECOVERY),
            shrinks: metrics::counter!(names::IN_SYNC_SHRINKS),
            expansions: metrics::counter!(names::IN_SYNC_EXPANSIONS),
            lines: Mutex::default(),
        }
    }

    fn may_tell(&self, kind: Kind, now: Instant) -> bool {
        let at = KINDS.iter().position(|(known, _)| *known == kind).unwrap_or(0);
        self.lines.lock().get_mut(at).is_some_and(|lines| lines.admit(now))
    }

    /// Tells how many lines were left out of moments that are over.
    pub(crate) fn summarise(&self, now: Instant) {
        for ((_, what), lines) in KINDS.iter().zip(self.lines.lock().iter_mut()) {
            if let Some(count) = lines.take(now) {
                tracing::info!(count, "{what}");
            }
        }
    }

    /// Counts and tells what has happened to a replica between two tallies.
    pub(crate) fn tell(&self, now: Instant, of: (&str, TopicPartition), before: &Tally, after: &Tally, state: &Status) {
        let (topic, TopicPartition { partition, .. }) = of;
        self.begun.increment(after.elections_begun - before.elections_begun);
        self.won.increment(after.elections_won - before.elections_won);
        self.unclean.increment(after.unclean_recoveries - before.unclean_recoveries);
        self.shrinks.increment(after.in_sync_shrinks - before.in_sync_shrinks);
        self.expansions.increment(after.in_sync_expansions - before.in_sync_expansions);
        let epoch = state.epoch;
        let in_sync: Vec<i32> = state.in_sync.iter().map(|replica| replica.broker.0).collect();
        if after.unclean_recoveries > before.unclean_recoveries
            && let Some((high_watermark, end)) = after.recovered
        {
            tracing::warn!(
                topic,
                partition,
                epoch,
                high_watermark,
                end,
                "led by the votes of all, since too few replicas are sure to hold all that they acknowledged: records from the high \
                 watermark to the end are kept, acknowledged ones from the end on may be lost"
            );
        }
        if after.elections_won > before.elections_won && self.may_tell(Kind::Elected, now) {
            let why = after.began.map_or("", millrace_raft::Begin::name);
            tracing::info!(topic, partition, epoch, why, ?in_sync, "leads");
        }
        if after.leaderships_ended > before.leaderships_ended && self.may_tell(Kind::Ended, now) {
            let why = after.ended.map_or("", millrace_raft::End::name);
            tracing::info!(topic, partition, epoch, why, "leads no longer");
        }
        let changes = |tally: &Tally| tally.in_sync_shrinks + tally.in_sync_expansions;
        if changes(after) > changes(before) && state.role == RoleKind::Leader && self.may_tell(Kind::InSync, now) {
            tracing::info!(topic, partition, epoch, ?in_sync, "the in-sync replicas have changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_of_a_moment_are_told_and_the_others_counted() {
        let mut lines = Lines::default();
        let start = Instant::ZERO.after(MOMENT);
        let told = (0..1_000).filter(|_| lines.admit(start)).count();
        assert_eq!(u64::try_from(told), Ok(LINES));
        assert_eq!(lines.take(start), None, "the moment lasts");
        let later = start.after(MOMENT);
        assert!(!lines.admit(later), "nothing is told before what was left out");
        assert_eq!(lines.take(later), Some(1_001 - LINES));
        assert_eq!(lines.take(later), None);
        assert!(lines.admit(later));
    }
}
