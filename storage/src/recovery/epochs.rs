//! The leader epochs of a recovered log: what the write-ahead store knew, put right by what the batches say.

use millrace_types::{LeaderEpoch, Offset};

use super::Known;
use crate::epoch_cache::EpochCache;
use crate::mutation::{Mutation, broken};

/// Which leader epochs batches may have, by what the write-ahead store knows. The checksum of a batch does not cover its epoch, and one
/// that grew by a flipped bit would win elections for a log that lacks committed records.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epochs<'a> {
    known: Option<&'a Known>,
}

impl<'a> Epochs<'a> {
    pub(crate) const fn new(known: &'a Known) -> Self {
        Self { known: Some(known) }
    }

    /// Whether the batch at `offset` may be of `epoch`. Where the start of an epoch is known, it must be that one. Behind the last
    /// start that is known, and unless it was noted as flushed, it may be a later one, up to the term: the start is noted when the
    /// first batch has been appended, and before anything of the epoch is acknowledged. Notes of flushes do not overtake it.
    pub(crate) fn allow(&self, offset: Offset, epoch: LeaderEpoch) -> bool {
        let Some((known, term)) = self.known.and_then(|known| Some((known, known.term?))) else { return true };
        // Below the log start offset nothing is owed, and nothing is known.
        if offset < known.start.unwrap_or(0) || broken(Mutation::AcceptAnyEpoch) {
            return true;
        }
        let after = known.epochs.partition_point(|(_, start)| *start <= offset);
        let floor = after.checked_sub(1).and_then(|at| known.epochs.get(at)).map(|at| at.0);
        let may_be_later = after == known.epochs.len() && offset >= known.flushed.unwrap_or(0);
        floor == Some(epoch) || (may_be_later && floor.is_none_or(|floor| epoch > floor) && epoch <= term)
    }
}

/// Merges the epochs of the write-ahead store with the first offsets of the epochs found in batches, both in their
/// order. Epochs that begin above `end` are dropped; the flag says whether there were any (rule T2). The batches win:
/// an epoch that claims to begin where a later one has records already is dropped too.
pub(super) fn merge(
    known: &[(LeaderEpoch, Offset)],
    batches: &[(LeaderEpoch, Offset)],
    end: Offset,
) -> (EpochCache, bool) {
    let mut all: Vec<(LeaderEpoch, Offset)> = Vec::with_capacity(known.len() + batches.len());
    let mut dropped = false;
    for (epoch, start) in known {
        let later = batches.iter().any(|batch| batch.0 > *epoch && batch.1 < *start);
        let own = batches.iter().any(|batch| batch.0 == *epoch && batch.1 < *start);
        if *start > end || later {
            dropped = true;
        } else if !own {
            all.push((*epoch, *start));
        }
    }
    all.extend_from_slice(batches);
    all.sort_unstable();
    let mut cache = EpochCache::default();
    for (epoch, start) in all {
        let start = cache.entries().last().map_or(start, |last| start.max(last.1));
        cache.push(epoch, start);
    }
    (cache, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_of_the_epoch_that_is_known_or_of_one_whose_start_was_not_noted() {
        let epochs = vec![(1, 0), (2, 10), (4, 20), (5, 20)];
        let known = Known { term: Some(9), start: Some(3), flushed: Some(30), epochs, ..Known::default() };
        let allowed = |offset| (0..12).filter(|epoch| Epochs::new(&known).allow(offset, *epoch)).collect::<Vec<_>>();
        assert_eq!(allowed(2).len(), 12, "below the log start offset");
        assert_eq!((allowed(3), allowed(9), allowed(10)), (vec![1], vec![1], vec![2]));
        assert_eq!((allowed(20), allowed(29)), (vec![5], vec![5]), "the epoch that has records");
        assert_eq!(allowed(30), [5, 6, 7, 8, 9], "what was not noted as flushed, up to the term");
        let fresh = Known { term: Some(1), ..Known::default() };
        assert!(Epochs::new(&fresh).allow(0, 1) && !Epochs::new(&fresh).allow(0, 2));
        assert!(Epochs::default().allow(0, 7), "a log of which nothing is known");
    }

    #[test]
    fn markers_and_batches_are_merged() {
        let (cache, dropped) = merge(&[(1, 0), (2, 10), (4, 20)], &[(1, 0), (3, 12)], 20);
        assert_eq!(cache.entries(), [(1, 0), (2, 10), (3, 12), (4, 20)]);
        assert!(!dropped);
    }

    #[test]
    fn what_begins_above_the_end_is_dropped_and_said() {
        let (cache, dropped) = merge(&[(1, 0), (2, 10), (4, 20)], &[(1, 0)], 15);
        assert_eq!(cache.entries(), [(1, 0), (2, 10)]);
        assert!(dropped);
    }

    #[test]
    fn batches_win_over_what_contradicts_them() {
        let (cache, dropped) = merge(&[(5, 20)], &[(1, 0), (6, 13)], 30);
        assert_eq!(cache.entries(), [(1, 0), (6, 13)]);
        assert!(dropped);
        let (cache, _) = merge(&[(2, 9)], &[(2, 5)], 30);
        assert_eq!(cache.entries(), [(2, 5)]);
    }
}
