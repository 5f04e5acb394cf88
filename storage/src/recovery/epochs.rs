//! The leader epochs of a recovered log: what the write-ahead store knew, put right by what the batches say.

use millrace_types::{LeaderEpoch, Offset};

use crate::epoch_cache::EpochCache;

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
